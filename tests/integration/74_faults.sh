#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Short runs of the proofs of docs/GUARANTEES.md; each has a target of its own
# for the long one (make help).
cd "$(dirname "$0")/../faults" || exit 1
bad=0
if [ "$(id -u)" != 0 ]; then
	echo "skip - faults of network, disk and memory: not root"
	exit 0
fi
./crash.py 8 5 || bad=1
./disk.py || bad=1
./peers.py 5 || bad=1
./memcheck.py || bad=1
./soak.py 1 || bad=1
exit $bad
