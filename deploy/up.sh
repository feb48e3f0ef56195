#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# make up: builds, then runs an aggregator and an agent with default settings on
# this host until Ctrl-C. STATE=DIR is the folder for the store and the logs
# (state/ here). PORT=N is the port for metrics (9470); agents use port N + 1.
set -u
cd "$(dirname "$0")/.." || exit 1

STATE=${STATE:-state}
PORT=${PORT:-9470}
MAKE=${MAKE:-make}
unset MAKEFLAGS MFLAGS MAKELEVEL

die() {
	echo "make up: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || die "must run as root: the agent loads BPF programs"
case $PORT in
*[!0-9]* | '') die "PORT=$PORT is not a number" ;;
esac
if [ "$PORT" -lt 1 ] || [ "$PORT" -gt 65534 ]; then
	die "PORT=$PORT is not from 1 to 65534"
fi
INGEST=$((PORT + 1))

REDTAP_DEPS=build deploy/install-deps.sh || die "packages are missing"
# Quiet on success. On failure, a second run shows the errors alone.
$MAKE -k -j"$(nproc)" all >/dev/null 2>&1 || $MAKE all || die "the build failed"

for p in "$PORT" "$INGEST"; do
	# Another program listens on the port.
	if (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; then
		die "port $p is in use; choose other ports with PORT=N (N and N+1)"
	fi
done
mkdir -p "$STATE" || die "cannot create $STATE"

agg_log=$STATE/aggregator.log agent_log=$STATE/agent.log
agg='' agent='' stopping=''

# Stops the agent first, so that the aggregator can acknowledge its last batches.
stop() {
	[ -z "$stopping" ] || return
	stopping=1
	for pid in $agent $agg; do
		kill -TERM "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
}
trap 'echo; echo "stopping"; stop; exit 0' INT TERM
trap stop EXIT

# Both run in sessions of their own, so that Ctrl-C reaches only this script,
# which stops them in the right order.
setsid build/redtap-aggregator serve --store.dir="$STATE" \
	--web.listen-address=":$PORT" \
	--ingest.listen="tcp://127.0.0.1:$INGEST" \
	--ingest.token-file="$STATE/ingest.token" >"$agg_log" 2>&1 &
agg=$!
for _ in $(seq 100); do
	kill -0 "$agg" 2>/dev/null || {
		tail -5 "$agg_log" >&2
		die "the aggregator did not start (see $agg_log)"
	}
	curl -fso /dev/null "http://127.0.0.1:$PORT/-/ready" && break
	sleep 0.1
done

setsid build/redtap-agent run --to="tcp://127.0.0.1:$INGEST" \
	--token-file="$STATE/ingest.token" \
	--outbox.given-up="$STATE/agent-given-up" \
	>"$agent_log" 2>&1 &
agent=$!
for _ in $(seq 100); do
	kill -0 "$agent" 2>/dev/null || {
		tail -5 "$agent_log" >&2
		die "the agent did not start (see $agent_log)"
	}
	grep -q 'msg="\?ready' "$agent_log" && break
	sleep 0.1
done

# The agent's log line that says what it captures and by which hooks.
ready=$(sed -n 's/.*msg="\?\(ready[^"]*\).*/\1/p' "$agent_log" | tail -1)
echo "page      http://127.0.0.1:$PORT/"
echo "metrics   http://127.0.0.1:$PORT/metrics"
echo "agent     ${ready:-no ready line yet, see $agent_log}"
echo "state     $STATE (logs: aggregator.log, agent.log)"
echo "Any HTTP request on this host shows up within 2 s. Ctrl-C stops both."

wait -n "$agg" "$agent"
status=$?
[ -n "$stopping" ] || {
	tail -n 3 "$agg_log" "$agent_log" >&2
	echo "make up: a program exited with status $status" >&2
	exit 1
}
