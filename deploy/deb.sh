#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# deb.sh VERSION REVISION: builds the Debian packages of the files that git knows
# into build/deb. The same sources give the same packages: times are those of the
# commit (SOURCE_DATE_EPOCH). VERSION is what git describe says.
set -eu
cd "$(dirname "$0")/.."
out=$PWD/build/deb
src=$out/src

# v1.2.3 is 1.2.3; five commits later is 1.2.3+5.gABCDEF, which sorts after it; and
# -dev, without any tag, is ~dev.
version=$(echo "$1" | sed -E 's/^([0-9.]+)-([0-9]+)-g/\1+\2.g/; s/-dev/~dev/; s/-rc/~rc/; s/-/./g')

dpkg-checkbuilddeps debian/control || {
	echo "make deb: install these first (apt build-dep .)" >&2
	exit 1
}
rm -rf "$src"
mkdir -p "$src"
# In a tree without git, as from a release's tar file, all but what was built.
if git rev-parse --git-dir >/dev/null 2>&1 && [ -z "${REDTAP_FILES:-}" ]; then
	git ls-files -z
else
	find . -path ./build -prune -o ! -type d -printf '%P\0'
fi | tar -c --null --ignore-failed-read -T - 2>/dev/null | tar -x -C "$src"
cat >"$src/debian/changelog" <<-END
	redtap ($version) unstable; urgency=medium

	  * See /usr/share/doc/*/CHANGELOG.md.gz.

	 -- The redtap authors <redtap@example.org>  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
END
[ ! -d build/page ] || { mkdir -p "$src/build" && cp -a build/page "$src/build/"; }
# A package keeps the times of files that are older than the commit.
find "$src" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
cd "$src"
REDTAP_REVISION=$2 dpkg-buildpackage -us -uc -b -rfakeroot >"$out/build.log" 2>&1 || {
	tail -40 "$out/build.log" >&2
	exit 1
}
rm -rf "$src"
ls "$out"/*_"$version"_*.deb
