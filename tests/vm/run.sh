#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh [KERNEL…]: boots the stock kernels of the distribution, all at once,
# and runs suite.sh in each. 5.10, 6.1, 6.12 and the newest one, as far as apt
# has them, if none is named. FRONTS names the front-ends, none: only the
# verifier. VERIFIER=write makes docs/VERIFIER.md anew from
# what these kernels say; else what they say must be near what is there.
# BENCH names workloads of tests/bench/capture.py to be run instead of the suite,
# with fentry if FRONTS names none, and two processors that CLOCK=parallel makes
# run at the same time. CLOCK=count counts instead: one processor, on which an
# instruction takes 1 ns, so that two runs differ by less than 1 %.
set -u
cd "$(dirname "$0")/../.." || exit 1
cache=build/vm
table=docs/VERIFIER.md
bad=0
seen=$(mktemp)
trap 'rm -f "$seen" "$seen".*' EXIT

skip() {
	echo "skip - the suite on other kernels: $1"
	exit 0
}

need() {
	local p missing=
	for p in qemu-system-x86 busybox-static kmod zstd lz4; do
		dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null |
			grep -q '^ii' || missing="$missing $p"
	done
	[ -z "$missing" ] && return
	# shellcheck disable=SC2086 # a list of names
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q \
		--no-install-recommends $missing >/dev/null 2>&1
}

# Name of the package with the kernel: the one that the meta-package of the
# series depends on.
package_of() {
	local meta=linux-image-$1-amd64
	case $1 in
	6.1) meta=linux-image-amd64 ;;
	newest)
		apt-cache search --names-only '^linux-image-[0-9.]+[+~a-z0-9.-]*-amd64$' |
			awk '{print $1}' | grep -vE 'unsigned|-(rt|cloud)-' |
			sort -V | tail -1
		return
		;;
	esac
	apt-cache depends "$meta" 2>/dev/null |
		awk '/Depends: linux-image/ {print $2; exit}'
}

# Downloads and unpacks; prints where.
kernel_dir() {
	local package dir
	package=$(package_of "$1")
	[ -n "$package" ] || return 1
	dir=$cache/$package
	if [ ! -d "$dir" ]; then
		mkdir -p "$cache/cache" && rm -rf "$dir.new" || return 1
		(cd "$cache/cache" &&
			{ ls "$package"_*.deb || apt-get download "$package"; }) \
			>/dev/null 2>&1
		dpkg-deb -x "$cache/cache/$package"_*.deb "$dir.new" || return 1
		mv "$dir.new" "$dir"
	fi
	echo "$dir"
}

# run KERNEL FRONTS: what the guest says, with the verifier's figures put aside.
run() {
	local dir
	if ! dir=$(kernel_dir "$1"); then
		echo "skip - the suite on $1: apt has no such kernel here"
		return 0
	fi
	if [ "$1" = newest ] && [ "$dir" = "$(kernel_dir 6.12)" ]; then
		echo "skip - the suite on the newest kernel: apt has none newer" \
			"than 6.12 here (backports would)"
		return 0
	fi
	local command=(env "PART=${PART:-}" tests/vm/suite.sh "$1" "$2") clock=turns smp=1
	if [ -n "${BENCH:-}" ]; then
		clock=${CLOCK:-turns}
		command=(tests/bench/capture.py "--capture=${2:-fentry}")
		if [ "$clock" = count ]; then
			# A thread that wakes up interrupts no other, agent or none.
			command=(chrt --batch 0 "${command[@]}" --rounds=2 --seconds=1)
		else
			smp=2
		fi
		# shellcheck disable=SC2206 # a list of names
		command=(env REDTAP_PATIENCE=10 "${command[@]}" $BENCH)
	fi
	tests/vm/guest.py --smp "$smp" --clock "$clock" --timeout 1700 "$dir" \
		-- "${command[@]}" |
		awk -v k="$1" -v f="$seen.$1.costs" '$1 == "verifier" {
			print k, $2, $3, $4 >>f; next } {print; fflush()}'
	[ "${PIPESTATUS[0]}" = 0 ] && return 0
	echo "not ok - $1: the guest's suite ended with status 0"
	return 1
}

# A guest has one processor, so several take no longer than one.
run_all() {
	local kernel fronts i=0 pids=()
	for kernel in "$@"; do
		fronts=${FRONTS:-}
		[ "${kernel#*:}" = "$kernel" ] || fronts=${kernel#*:}
		kernel=${kernel%%:*}
		run "$kernel" "${fronts//,/ }" >"$seen.$kernel.out" 2>&1 &
		pids+=($!)
	done
	for kernel in "${@%%:*}"; do
		wait "${pids[i++]}" || bad=1
		cat "$seen.$kernel.out"
		cat "$seen.$kernel.costs" >>"$seen" 2>/dev/null
	done
}

write_table() {
	{
		cat <<-'END'
			# What the verifier makes of our programs

			Instructions that a kernel's verifier goes through for each program
			(it gives up at 1,000,000), on the stock kernels of Debian 12. Made
			by `make vm VERIFIER=write`; `make vm` fails if a program has become
			dearer by more than a quarter, or can't be loaded.

			| kernel | front-end | program | instructions |
			|---|---|---|---:|
		END
		awk '{printf "| %s | %s | %s | %d |\n", $1, $2, $3, $4}' "$seen"
	} >"$table"
	echo "# wrote $table"
}

# Each figure against the table's; a new program has none yet.
compare() {
	local sentence="no program has become dearer to verify by a quarter"
	if [ ! -f "$table" ]; then
		echo "not ok - $sentence: there is no $table"
		bad=1
		return
	fi
	awk -F '[ |]+' -v table="$table" '
		BEGIN { while ((getline line <table) > 0) {
			split(line, c, /[ |]+/); was[c[2] c[3] c[4]] = c[5] } }
		!(($1 $2 $3) in was) { print $1, $2, $3 ": not in the table" }
		($1 $2 $3) in was && $4 > was[$1 $2 $3] * 1.25 + 100 {
			print $1, $2, $3 ": " $4 " instructions, " \
				was[$1 $2 $3] " in the table" }' "$seen" >"$seen.worse"
	if [ -s "$seen.worse" ]; then
		echo "not ok - $sentence: see below"
		sed 's/^/# /' "$seen.worse"
		bad=1
	else
		echo "ok - $sentence"
	fi
}

[ "$(uname -m)" = x86_64 ] || skip "the guests are x86_64"
need || skip "QEMU can't be installed here"
[ $# -gt 0 ] || set -- 5.10 6.1 6.12 newest
for kernel in "${@%%:*}"; do kernel_dir "$kernel" >/dev/null; done # not at the same time
run_all "$@"
if [ -s "$seen" ]; then
	if [ "${VERIFIER:-}" = write ]; then write_table; else compare; fi
fi
exit $bad
