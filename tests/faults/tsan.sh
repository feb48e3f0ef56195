#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Proof 7 of docs/GUARANTEES.md: the aggregator's unit tests and those of the
# outbox and uplink under the thread sanitizer. Libraries are not instrumented,
# but their locks are seen.
set -u
cd "$(dirname "$0")/../.." || exit 1
MAKE=${MAKE:-make}
names=()
for source in tests/unit/aggregator/*/test_*.c \
	tests/unit/probe-agent/outbox/test_{outbox,uplink}.c; do
	# It kills children with threads, which this sanitizer cannot follow.
	[ "$source" = tests/unit/aggregator/engine/test_crash.c ] && continue
	# It asks malloc for its size, and the sanitizer's has none.
	[ "$source" = tests/unit/aggregator/fold/test_cardinality.c ] && continue
	names+=("build/san-thread/${source%.c}")
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! $MAKE -j"$(nproc)" SAN=thread "${names[@]}" >"$log" 2>&1; then
	tail -40 "$log"
	echo "not ok - the build with the thread sanitizer"
	exit 1
fi
bad=0
for program in "${names[@]}"; do
	if timeout 300 "$program" >"$log" 2>&1 </dev/null; then
		echo "ok - no data race in ${program#build/san-thread/tests/unit/}"
	else
		grep -A25 'WARNING: ThreadSanitizer\|FAILED\|ERROR' "$log" |
			head -80 | sed 's/^/# /'
		echo "not ok - ${program#build/san-thread/tests/unit/}"
		bad=1
	fi
done
exit $bad
