#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks the house rules that a tool can check: formatting, which folder may
# include what, which file owns which foreign library, names, headers, scripts,
# man pages. Prints "ok - …" and "not ok - …" lines; status 1 if any is not ok.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
bad=0

mapfile -t sources < <(git ls-files -co --exclude-standard '*.c' '*.h' |
	while read -r f; do [ -f "$f" ] && echo "$f"; done)
mapfile -t ours < <(printf '%s\n' "${sources[@]}" |
	grep -E '^(bpf|proto|common|probe-agent|aggregator)/')

# check SENTENCE: what comes on standard input is wrong; nothing is right.
check() {
	local wrong
	wrong=$(cat)
	if [ -z "$wrong" ]; then
		echo "ok - $1"
	else
		bad=1
		echo "not ok - $1"
		printf '%s\n' "$wrong" | head -40 | sed 's/^/# /'
	fi
}

skip() {
	echo "skip - $1: $2"
}

# includes REGEX FILES…: FILE:LINE of includes of ours ("…") that match.
includes() {
	local what=$1
	shift
	[ $# -gt 0 ] && grep -HnE "^#[[:space:]]*include \"($what)" "$@"
}

in_folder() {
	printf '%s\n' "${ours[@]}" | grep "^$1/"
}

# ---- format
if command -v clang-format-14 >/dev/null; then
	printf '%s\0' "${sources[@]}" | xargs -0 -n 16 -P "$(nproc)" \
		clang-format-14 --dry-run 2>&1 |
		grep -E 'warning: code should' | cut -d: -f1 | sort -u |
		check "sources are formatted as make fmt formats them"
else
	skip "sources are formatted" "no clang-format-14"
fi

# ---- who may include what (the table of the house style)
{
	for f in $(in_folder bpf); do
		[[ $f == bpf/t[al][ps].h ]] || includes '[^"]*/' "$f" | grep -v '"bpf/'
		[[ $f == bpf/t[al][ps].h ]] && includes '' "$f" |
			grep -v '"proto/agent_counters\.def"'
	done
	for f in $(in_folder common); do
		includes '[^"]*/' "$f" | grep -v '"common/'
	done
	for f in $(in_folder proto); do
		includes '[^"]*/' "$f" | grep -vE '"(common|proto)/'
	done
	for f in $(in_folder probe-agent); do
		includes '[^"]*/' "$f" |
			grep -vE '"(common/|proto/|probe-agent/|bpf/(tap|tls)\.h")'
	done
	for f in $(in_folder aggregator); do
		includes '[^"]*/' "$f" | grep -vE '"(common|proto|aggregator)/'
	done
} | check "folders include only what they may"

# ---- rooms: FOLDER and the folders of the same program that it may include. The
# files beside the folders (main, run, serve …) may include any.
rooms() {
	cat <<-'TABLE'
		probe-agent/tap
		probe-agent/tls tap
		probe-agent/http
		probe-agent/gaps http identity tls
		probe-agent/identity http
		probe-agent/batch
		probe-agent/outbox batch
		probe-agent/replay batch identity outbox
		probe-agent/synth batch outbox
		probe-agent/config identity programs
		probe-agent/programs batch
		probe-agent/worker batch programs
		probe-agent/commands batch outbox programs worker
		aggregator/ingest
		aggregator/views
		aggregator/series views
		aggregator/ledger
		aggregator/graph series
		aggregator/fold graph series views
		aggregator/samples series
		aggregator/store fold graph ledger samples
		aggregator/snapshot fold graph ingest ledger samples series views
		aggregator/engine fold ingest ledger samples snapshot store views
		aggregator/expose ingest snapshot views
		aggregator/web expose fold series snapshot store
		aggregator/config expose views
		aggregator/cli config engine snapshot store web
	TABLE
}
{
	for f in "${ours[@]}"; do
		room=${f%/*}
		top=${f%%/*}
		[[ $room == */* ]] || continue
		may=$(rooms | awk -v r="$room" '$1 == r { $1 = ""; print "x" $0 }')
		if [ -z "$may" ]; then
			echo "$f: $room is not in the table of rooms"
			continue
		fi
		may=$(tr ' ' '|' <<<"${may#x }")
		includes "$top/[^\"]*" "$f" | grep -vE "\"($room|$top/($may))/[^/\"]+\""
	done
	rooms | awk '{ split($1, top, "/"); print $1, $1
		for (i = 2; i <= NF; i++) print $1, top[1] "/" $i }' | tsort 2>&1 >/dev/null |
		sed 's/$/   (a circle of rooms)/'
} | check "rooms include only the rooms that they may, and there is no circle"

# Not <…> for ours, and rooted at the repository.
{
	for f in "${ours[@]}"; do
		grep -HnE '^#[[:space:]]*include "[^/"]+"' "$f" |
			grep -vE '\.skel\.h"'
		grep -HnE '^#[[:space:]]*include "\.\.?/' "$f"
	done
} | check "includes are rooted at the repository"

# ---- one file per foreign library: REGEX of the header, and who may
{
	while read -r header allowed; do
		[ -n "$header" ] || continue
		grep -nE "^#[[:space:]]*include [<\"]$header" "${ours[@]}" |
			grep -vE "^($allowed)\.(c|h):" |
			sed "s#^#$allowed owns it: #"
	done <<-'TABLE'
	nng/ probe-agent/outbox/uplink(_state|_tls)?
	mbedtls/ probe-agent/outbox/uplink_trial_tls
	sqlite3 probe-agent/outbox/outbox_disk|aggregator/store/store(_[a-z_]+)?
	microhttpd aggregator/web/web(_[a-z]+)?
	gnutls aggregator/(web/web_(auth|tls)|ingest/gate_(tls|credentials))
	crypt\.h aggregator/web/web_auth
	cyaml probe-agent/config/config|aggregator/config/config(_[a-z]+)?
	yaml\.h aggregator/web/web_config|common/conffile_walk|probe-agent/programs/spec_yaml
	pcre2 probe-agent/programs/decode_regexp
	(libelf|gelf)\.h probe-agent/worker/elf_code
	jansson aggregator/(web/api(_[a-z]+)?|cli/report)|probe-agent/commands/(verbs_talk|run_view)
	zstd proto/trace
	curl/ aggregator/cli/client
	zlib aggregator/(expose/render(_stream)?|web/web_page)
	cap-ng probe-agent/(check|privileges)
	nghttp2/ tests/[a-z_/]+
	bpf/(libbpf|bpf|btf)\.h probe-agent/(tap/(tap(_front(_list)?|_bpf_maps)?|bpf_attach)|tls/tls(_files|_programs|_thread)?|worker/(bpf_log|object(_[a-z]+)?|map_reader|events|cgroup_ids|cost|layout_types)|commands/build_types)
	[a-z_]*\.skel\.h probe-agent/(tap/(tap(_front(_list)?)?|bpf_attach)|tls/tls(_programs|_thread)?)
	(proto/)?redtap\.pb-c proto/(batch|batch_[a-z]+|envelope)
	bpf/bpf_ bpf/[a-z_.]+
	TABLE
} | check "each foreign library has its file"

# ---- words
grep -nE '(^|[^A-Za-z])(TODO|FIXME|XXX|HACK)([^A-Za-z]|$)' "${sources[@]}" |
	check "nothing is left to do in comments"
grep -nE '^[[:space:]]*typedef' "${ours[@]}" | grep -vE '_fn\)?[;(]|vector_size|kernel\.h:' |
	check "typedefs are for callbacks (_fn) and vectors only"
{
	for f in "${sources[@]}"; do
		head -3 "$f" | grep -q 'SPDX-License-Identifier: ' || echo "$f"
	done
	for f in $(in_folder bpf); do
		head -3 "$f" | grep -q 'GPL-2.0-only OR BSD-2-Clause' || echo "$f"
	done
} | check "every source says its licence"
for f in $(printf '%s\n' "${ours[@]}" | grep '\.h$'); do
	guard=$(echo "$f" | tr 'a-z./-' 'A-Z___')
	grep -q "^#ifndef $guard$" "$f" && grep -q "^#define $guard$" "$f" ||
		echo "$f: $guard"
done | check "headers are guarded by their path"
grep -nE '[[:space:]]$' "${sources[@]}" | check "lines end without blanks"

# ---- modules export under their own name; needs a build. proto has the types
# of the wire, some files make smaller things too.
objects=()
for f in "${ours[@]}"; do
	o=build/obj/${f%.c}.o
	[[ $f == *.c && -f $o ]] && objects+=("$o")
done
if [ ${#objects[@]} -gt 0 ]; then
	nm -A -g --defined-only "${objects[@]}" 2>/dev/null |
		sed 's|^build/obj/||' | while IFS=' ' read -r where _ name; do
		file=${where%%.o:*}
		base=${file##*/}
		base=${base%%_*}
		# A module and what it makes (window, windows) share a stem.
		case $name in
		main | cmd_* | "${base:0:6}"* | [a-z]*_"$base"_*) ;;
		*) echo "$file.c exports $name" ;;
		esac
	done | grep -vE '^(common/cli|proto/)|exports label_key_name' | sort -u |
		check "modules export only under their own name"
else
	skip "modules export only under their own name" "nothing is built"
fi

# ---- types are named after their module, too. Left out: the wire's (proto/),
# the kernel's own (bpf/kernel.h), both programs' configurations, and the words
# that parsers, protocols and the engine share (exchange.h).
for f in $(printf '%s\n' "${ours[@]}" | grep '\.h$' |
	grep -vE '^(proto/[a-uw-z]|bpf/kernel\.h|.*/(config/config|http/exchange)\.h)'); do
	base=${f##*/}
	base=${base%%[_.]*}
	grep -nE '^(struct|enum|union) [a-z0-9_]+ \{' "$f" |
		grep -vE "^[0-9]+:[a-z]+ (${base:0:6}|${base%s}[_ ]|tap_)" |
		sed "s#^#$f:#"
done | check "types are named after their module"

# ---- a static function of one word says nothing in a stack trace
grep -HoE '^static [a-z_0-9 *]+ \*?[a-z0-9]+\(' "${ours[@]}" | grep '\.c:' |
	sed -E 's/^([^:]*):.*[ *]([a-z0-9]+)\($/\2 \1/' | sort -u |
	awk '{ n[$1]++; where[$1] = where[$1] " " $2 }
	END { for (f in n) if (n[f] > 2) print f ":" where[f] }' |
	check "no three files have a static function of the same one word"

# ---- one hand: how we write what can be written in several ways
{
	grep -nE '[^!=<>]== NULL|(if|while) \([^&|?]* != NULL\)|!= NULL (&&|\|\||\?)' "${ours[@]}" "${sources[@]}" |
		sed 's/$/   (write !p, or p)/'
	grep -nE '\berr == 0\b|(if|while) \(err != 0\b' "${sources[@]}" |
		sed 's/$/   (write !err, or err)/'
	grep -nE '_Static_assert' "${sources[@]}" | grep -v '^bpf/' |
		sed 's/$/   (write static_assert)/'
	grep -nE '^/\*( -{2}|-{2,}| -{4,}| ={2,}|={2,})' "${sources[@]}" |
		grep -vE '/\* --- .+[^-] --- \*/$' |
		sed 's/$/   (a ruler is: --- name ---)/'
} | sort -u | check "idioms are those of CONTRIBUTING"

# ---- English: phrases that read as translated (CONTRIBUTING). The ceiling is
# what is left, and may only fall.
ceiling=1 # a user called nobody
phrases='[Nn]obody|[Ss]omebody else|[Ww]ho (is|has|can|waits|asks|needs|gets|wants|sends|reads)'
phrases+='|(is|are|was|were) to be|[Ss]o (many|long|much) (as|that|of)?|of which|looked at'
phrases+='|(is|are|was|were|be) told( of)?|let go( of)?|[Tt]o him|[Hh]as to (come|go)'
translated=$(git ls-files -co --exclude-standard '*.[ch]' '*.def' '*.proto' '*.py' '*.sh' '*.md' \
	'*.[1-9]' Makefile '*.mk' | grep -vE '^(tests/fuzz/corpus/|docs/measurements/|CONTRIBUTING.md|tests/lint.sh)' |
	while read -r f; do [ -f "$f" ] && echo "$f"; done |
	xargs grep -HnowE "$phrases" | sort -u)
n=$(printf '%s' "$translated" | grep -c .)
{
	[ "$n" -le "$ceiling" ] || {
		echo "$n such phrases, the ceiling is $ceiling:"
		printf '%s\n' "$translated"
	}
	[ "$n" -ge "$ceiling" ] ||
		echo "$n such phrases are left: lower the ceiling in tests/lint.sh"
} | check "no more phrases read as translated than before"

# ---- scripts, man pages, units
mapfile -t scripts < <(git ls-files -co --exclude-standard |
	while read -r f; do
		[ -f "$f" ] && head -c 20 "$f" | grep -qE '^#!/bin/(ba)?sh' && echo "$f"
	done)
if command -v shellcheck >/dev/null; then
	shellcheck -S warning "${scripts[@]}" 2>&1 | check "shellcheck is silent"
else
	skip "shellcheck is silent" "not installed"
fi
if command -v mandoc >/dev/null; then
	for f in docs/man/*.[1-9]; do
		[ -f "$f" ] && mandoc -Tlint -W warning "$f"
	done | check "mandoc is silent"
else
	skip "mandoc is silent" "not installed"
fi
# What --help tells of a program's commands, and its man page; argp's own aside.
flags_of() {
	grep -oE -- '(^|[ ,])-?-[a-z][a-z.-]*[a-z]' | grep -oE -- '--[a-z.-]+' |
		grep -vxE -- '--(help|usage|version)' | sort -u
}
if [ -x build/redtap-agent ] && [ -x build/redtap-aggregator ]; then
	while read -r program commands; do
		for command in $commands; do
			"build/$program" "$command" --help
		done | flags_of | diff - <(sed 's/Fl -/ --/g' \
			"docs/man/$program.8" | flags_of) |
			sed -n "s/^</$program --help only:/p; s/^>/$program.8 only:/p"
	done <<-'TABLE' | check "man pages have the flags that --help has"
	redtap-agent run replay synth check
	redtap-aggregator serve rebuild export top query
	TABLE
else
	skip "man pages have the flags that --help has" "nothing is built"
fi
tsc=build/page/node_modules/typescript/bin/tsc
if [ -e $tsc ]; then
	node $tsc -p aggregator/web/page/tsconfig.json |
		check "the page's types are right"
else
	skip "the page's types are right" "make has not built the page"
fi
python3 - <<-'PY' | check "python parses"
	import ast, subprocess, sys
	for f in subprocess.run(["git", "ls-files", "-co", "--exclude-standard",
	                         "*.py"], capture_output=True,
	                        text=True).stdout.split():
	    try:
	        ast.parse(open(f).read(), f)
	    except FileNotFoundError:
	        pass
	    except SyntaxError as e:
	        print(e)
PY

# ---- size is a question, not an error
wc -l "${ours[@]}" | awk '$1 > 500 && $2 != "total" {
	printf "# note: %s has %d lines; over 500 wants a reason\n", $2, $1 }'

exit "$bad"
