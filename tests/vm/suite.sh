#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# suite.sh KERNEL ["FRONT…"|none], inside a guest: every front-end, or those
# named, must load, attach and count exactly. Prints
# "ok - …" lines, and "verifier OBJECT PROGRAM N", which run.sh compares.
set -u
cd "$(dirname "$0")/../.." || exit 1
export REDTAP_PATIENCE=${REDTAP_PATIENCE:-5}
kernel=$1
fronts=${2:-fentry kprobe syscall}
bad=0

if costs=$(build/tests/vm/verifier build/bpf/{syscall,fentry,kprobe}.bpf.o); then
	echo "ok - $kernel: the kernel takes every program"
else
	echo "not ok - $kernel: the kernel takes every program"
	bad=1
fi
while read -r line; do echo "verifier $line"; done <<<"$costs"

picked=$(build/redtap-agent check 2>/dev/null | grep 'uses ')
if [[ $picked == *"capture=auto uses fentry"* ]]; then
	echo "ok - $kernel: capture=auto takes fentry"
else
	echo "not ok - $kernel: capture=auto takes fentry: $picked"
	bad=1
fi

for front in $fronts; do
	[ "$front" != none ] || continue
	export REDTAP_CAPTURE=$front
	for test in "10_http_cases.py" "15_edges.py syscalls"; do
		# shellcheck disable=SC2086 # a name and its arguments
		tests/integration/$test | sed -E \
			"s/^(ok|not ok|skip) - /\1 - $kernel $front: /"
		[ "${PIPESTATUS[0]}" = 0 ] || bad=1
	done
done
exit $bad
