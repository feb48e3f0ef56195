#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs tests and counts them: run.sh all|unit|integration|fuzz|deploy|vm. Shows what fails
# in full and ends with "N passed, N failed, N skipped". Status 0 if none failed.
# Every program gets a temporary folder of its own and a time-out. `all` boots
# the guests beside the rest, and says what each part took.
set -u
cd "$(dirname "$0")/.." || exit 1

MAKE=${MAKE:-make}
SAN=${SAN:-}
UNIT_TIMEOUT_S=${UNIT_TIMEOUT_S:-120}
INTEGRATION_TIMEOUT_S=${INTEGRATION_TIMEOUT_S:-300}
FUZZ_SECONDS=${FUZZ_SECONDS:-3}
VM_TIMEOUT_S=${VM_TIMEOUT_S:-1500}
unset MAKEFLAGS MFLAGS MAKELEVEL
export PYTHONDONTWRITEBYTECODE=1 # outputs belong under build/

work=$(mktemp -d "${TMPDIR:-/tmp}/redtap-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0
failures=()

say() {
	printf '%s\n' "$*"
}

# fail NAME [FILE]: counts it; FILE has what there is to see.
fail() {
	failed=$((failed + 1))
	failures+=("$1")
	say "FAIL $1"
	[ -z "${2:-}" ] || sed 's/^/    /' "$2"
}

# build NAME MAKE-ARGUMENTS…
build() {
	local name=$1
	shift
	if ! $MAKE -k -j"$(nproc)" WERROR="${WERROR:-}" "$@" >"$work/build" 2>&1; then
		grep -v '^  [A-Z]* ' "$work/build" | tail -60 >"$work/build.short"
		fail "build of $name" "$work/build.short"
		return 1
	fi
}

# run NAME TIMEOUT_S COMMAND…: output to $work/out, status in $status.
run() {
	local dir
	dir=$(mktemp -d "$work/tmp.XXXXXX")
	TMPDIR=$dir timeout -k 10 "$2" "${@:3}" >"$work/out" 2>&1 </dev/null
	status=$?
	chmod -R u+rwX "$dir" 2>/dev/null
	rm -rf "$dir"
}

# failing FILE: what failed and why comes first, for a log may be cut; what was
# fine is left out.
failing() {
	awk '/^not ok / && !/# SKIP/ { print; why = 1; next }
		!/^#/ { why = 0 } why' "$1" | sed 's/^/    /'
	say "    all but what was fine:"
	grep -vE '^(ok|skip) ' "$1" | sed 's/^/    /'
}

# tally NAME: adds up "ok", "not ok" and "skip" lines of $work/out. cmocka's
# TAP says "not ok N # SKIP" for a skip and announces its cases as "1..N".
tally() {
	local name=$1 good bad skips planned
	good=$(grep -c '^ok ' "$work/out")
	skips=$(grep -cE '^(skip - |not ok [0-9]+ # SKIP)' "$work/out")
	bad=$(grep '^not ok ' "$work/out" | grep -cv '# SKIP')
	planned=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$work/out" |
		awk '{n += $1} END {print n + 0}')
	passed=$((passed + good))
	skipped=$((skipped + skips))
	grep '^skip - ' "$work/out" | sed "s#^skip - #SKIP $name: #"
	grep '# SKIP' "$work/out" | sed "s@^.*# SKIP@SKIP $name:@"
	if [ "$bad" -gt 0 ]; then
		failed=$((failed + bad))
		failures+=("$name: $bad")
		say "FAIL $name: $bad of $((good + bad + skips))"
		failing "$work/out"
	elif [ "$status" = 124 ] || [ "$status" = 137 ]; then
		fail "$name: timed out" "$work/out"
	elif [ "$planned" -gt $((good + skips)) ]; then
		fail "$name: ended after $good of $planned (status $status)" \
			"$work/out"
	elif [ "$status" != 0 ]; then
		fail "$name: status $status" "$work/out"
	elif [ $((good + skips)) = 0 ]; then
		fail "$name: ran nothing" "$work/out"
	else
		say "ok   $name: $good"
	fi
}

# units FOLDER [NOTE]: every unit test program of a build.
units() {
	local program name
	for program in "$1"/tests/unit/*/test_* "$1"/tests/unit/*/*/test_*; do
		[ -x "$program" ] || continue
		name=${program#"$1"/tests/}
		[ -f "tests/$name.c" ] || continue # its source went away
		export CMOCKA_MESSAGE_OUTPUT=TAP
		export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0
		export UBSAN_OPTIONS=print_stacktrace=1
		run "$name" "$UNIT_TIMEOUT_S" "$program"
		tally "$name${2:-}"
	done
}

fuzz() {
	local program name corpus
	build fuzzers SAN=fuzz fuzz-build || return
	for program in build/san-fuzz/tests/fuzz/fuzz_*; do
		[ -x "$program" ] || continue
		name=$(basename "$program")
		[ -f "tests/fuzz/$name.c" ] || continue
		corpus=tests/fuzz/corpus/${name#fuzz_}
		mkdir -p "$work/corpus"
		[ -d "$corpus" ] || corpus=
		run "$name" $((FUZZ_SECONDS + 60)) "$program" -timeout=10 \
			-rss_limit_mb=2048 -max_total_time="$FUZZ_SECONDS" \
			-artifact_prefix="$work/" "$work/corpus" \
			${corpus:+"$corpus"}
		if [ "$status" = 0 ]; then
			passed=$((passed + 1))
			say "ok   $name: $(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' \
				"$work/out") runs"
		else
			fail "$name (status $status)" "$work/out"
			for f in "$work"/crash-* "$work"/timeout-* "$work"/oom-*; do
				[ -f "$f" ] && say "    input:" && xxd "$f" | head -40
			done
		fi
		rm -rf "$work"/corpus "$work"/crash-* "$work"/timeout-* "$work"/oom-*
	done
}

integration() {
	local script name
	build programs all integration-build || return
	for script in tests/integration/*; do
		if [ ! -f "$script" ] || [ ! -x "$script" ]; then
			continue
		fi
		name=${script#tests/}
		run "$name" "$INTEGRATION_TIMEOUT_S" "$script"
		tally "$name"
	done
}

# Ways to install, with real runtimes, helm, dpkg and systemd: a quarter of an hour.
deploy() {
	local script name
	build programs all integration-build || return
	for script in tests/deploy/[0-9]*.py; do
		name=${script#tests/}
		run "$name" "${DEPLOY_TIMEOUT_S:-1200}" "$script"
		tally "$name"
	done
}

# Other kernels, under QEMU: every program loads and attaches, and each front-end
# runs a representative part of its cases once. `make vm` runs all of them.
vm() {
	run "other kernels" "$VM_TIMEOUT_S" env PART=1 tests/vm/run.sh 5.10 \
		6.1:kprobe,syscall 6.12:fentry,socket newest:none
}

instructions() {
	build "benchmarks" bench-build || return
	run "instructions per event" 120 tests/bench/instructions.py
	tally "instructions per event"
}

lint() {
	run lint 120 tests/lint.sh
	tally lint
}

# part NAME COMMAND…: runs it, and notes what it took.
took=()
part() {
	local began=$SECONDS
	"${@:2}"
	took+=("$((SECONDS - began)) s $1")
}

unit() {
	build "unit tests" SAN="$SAN" all unit-build || return
	dir=build
	[ -z "$SAN" ] || dir=build/san-${SAN//,/-}
	units "$dir" "${SAN:+ ($SAN)}"
}

# The guests work on their own, beside what mostly waits: their output and status
# go to files, which vm_end adds up.
vm_begin() {
	build "programs for guests" all integration-build build/tests/vm/verifier ||
		return
	mkdir "$work/vm"
	(
		work=$work/vm
		vm
		echo "$status" >"$work/status"
		echo "$SECONDS" >"$work/took"
	) &
	guests=$!
}

vm_end() {
	[ -n "${guests:-}" ] || return
	wait "$guests"
	mv "$work/vm/out" "$work/out"
	status=$(cat "$work/vm/status")
	tally "other kernels"
	took+=("$(cat "$work/vm/took") s other kernels, beside the others")
}

case ${1:-all} in
unit) unit ;;
integration) integration ;;
fuzz) fuzz ;;
deploy) deploy ;;
vm)
	vm_begin
	vm_end
	;;
all)
	SECONDS=0
	part "building" build "programs and unit tests" all unit-build
	vm_begin
	part "unit tests" unit
	SAN=address,undefined part "unit tests with sanitizers" unit
	part "fuzzing" fuzz
	part "integration tests" integration
	part "instruction counts" instructions
	part "lint" lint
	part "waiting for other kernels" vm_end
	printf 'took %s\n' "${took[@]}"
	say "took $SECONDS s in all"
	;;
*)
	say "usage: $0 all|unit|integration|fuzz|deploy|vm" >&2
	exit 2
	;;
esac

if [ "$failed" -gt 0 ]; then
	say "failed:"
	printf '  %s\n' "${failures[@]}"
fi
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
