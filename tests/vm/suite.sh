#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# suite.sh KERNEL ["FRONT…"|none], inside a guest: every front-end must load and
# attach, and all of them, or those named, must count exactly; with PART=1 in a
# representative part of the cases. Prints "ok - …" lines, and
# "verifier OBJECT PROGRAM N", which run.sh compares.
set -u
cd "$(dirname "$0")/../.." || exit 1
export REDTAP_PATIENCE=${REDTAP_PATIENCE:-10}
kernel=$1
fronts=${2:-fentry kprobe socket syscall}
bad=0
# One of each kind: heads in pieces and pipelined, bodies by length, in chunks, by
# sendfile and in parts, ends by close and reset, interim answers, tunnels.
part="keepalive pipelineone coalescedsegments linesplit chunked slowbody sendfile
 takenpartly untouched hundredcontinue upgrade serverhangsup reset cutchunks
 halfclosed prefork"

if costs=$(build/tests/vm/verifier build/bpf/*.bpf.o); then
	echo "ok - $kernel: the kernel takes every program"
else
	echo "not ok - $kernel: the kernel takes every program"
	bad=1
fi
while read -r line; do echo "verifier $line"; done <<<"$costs"

checked=$(build/redtap-agent check 2>/dev/null)
picked=$(grep 'uses ' <<<"$checked")
for front in fentry kprobe socket syscall; do
	[ "$front" = socket ] && [ "$kernel" = 6.1 ] && continue
	if grep -q "capture  *$front can be used" <<<"$checked"; then
		echo "ok - $kernel: every hook of $front attaches"
	else
		echo "not ok - $kernel: every hook of $front attaches: $(
			grep "capture  *$front" <<<"$checked")"
		bad=1
	fi
done
if [[ $picked == *"capture=auto uses fentry"* ]]; then
	echo "ok - $kernel: capture=auto takes fentry"
else
	echo "not ok - $kernel: capture=auto takes fentry: $picked"
	bad=1
fi

# run FRONT TEST [SUITE…]
run() {
	export REDTAP_CAPTURE=$1
	"tests/integration/$2" "${@:3}" |
		sed -E "s/^(ok|not ok|skip) - /\1 - $kernel $1: /"
	[ "${PIPESTATUS[0]}" = 0 ] || bad=1
}

for front in $fronts; do
	[ "$front" != none ] || exit $bad
	# Tracepoints of 6.3.
	if [ "$front" = socket ] && [ "$kernel" = 6.1 ]; then
		echo "skip - $kernel socket: the kernel has no sock_send_length"
		continue
	fi
	if [ "${PART:-}" = 1 ]; then
		# shellcheck disable=SC2086 # a list of names
		run "$front" 10_http_cases.py $part
		run "$front" 15_edges.py syscalls
		continue
	fi
	run "$front" 10_http_cases.py
	run "$front" 15_edges.py syscalls malformed http2
	run "$front" 17_uring.py
	run "$front" 19_compat.py
done
if [ "${PART:-}" = 1 ]; then
	run auto 60_tls.py nginx_curl
	exit $bad
fi
# What does not depend on the front-end, once.
run auto 15_edges.py routes redis tls
run auto 60_tls.py nginx_curl late gnutls python off
exit $bad
