#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# rootfs.sh ARCH OUT: builds both programs for ARCH (amd64, arm64; empty: this
# machine's) and puts them into the folder OUT with the libraries that they load,
# those libraries' licences, and a list of the packages that they come from.
set -eu
cd "$(dirname "$0")/../.."
host=$(dpkg --print-architecture)
arch=${1:-$host}
out=$2
case $arch in
amd64) triplet=x86_64-linux-gnu loader=lib64/ld-linux-x86-64.so.2 ;;
arm64) triplet=aarch64-linux-gnu loader=lib/ld-linux-aarch64.so.1 ;;
*)
	echo "$0: '$arch' is neither amd64 nor arm64" >&2
	exit 2
	;;
esac

[ -n "${VERSION:-}" ] || unset VERSION
[ -n "${REVISION:-}" ] || unset REVISION
make -j"$(nproc)" ${VERSION:+VERSION="$VERSION"} ${REVISION:+REVISION="$REVISION"} \
	ARCH="${triplet%%-*}" CC="$triplet-gcc" all

rm -rf "$out"
mkdir -p "$out/usr/bin" "$out/usr/lib/$triplet" "$out/usr/share/doc/redtap" \
	"$out/etc" "$out/tmp" "$out/var/lib/redtap" "$out/var/lib/redtap-agent"
ln -s usr/lib "$out/lib"
for p in redtap-agent redtap-aggregator; do
	llvm-strip-14 -o "$out/usr/bin/$p" "build/$p"
done

# needs FILE…: the names of the libraries that they load.
needs() {
	readelf -dW "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u
}

# libgcc_s is loaded when a thread ends, and named nowhere.
todo="$(needs "$out"/usr/bin/*) libgcc_s.so.1"
while [ -n "$todo" ]; do
	next=
	for lib in $todo; do
		to=$out/usr/lib/$triplet/$lib
		[ ! -e "$to" ] || continue
		for from in "/usr/lib/$triplet/$lib" "/lib/$triplet/$lib" \
			"/usr/$triplet/lib/$lib"; do
			[ -e "$from" ] && break
		done
		cp -L "$from" "$to"
		# Packages know their files with or without /usr.
		real=$(readlink -f "$from")
		dpkg -S "$real" "${real#/usr}" 2>/dev/null |
			head -1 | cut -d: -f1 >>"$out/packages"
		next="$next $(needs "$to" | tr '\n' ' ')"
	done
	todo=$(echo $next)
done
case $loader in
lib64/*)
	mkdir -p "$out/usr/lib64"
	ln -s usr/lib64 "$out/lib64"
	;;
esac
ln -sf "$triplet/${loader##*/}" "$out/usr/lib/${loader##*/}"
[ "${loader%%/*}" = lib ] || ln -sf "../lib/$triplet/${loader##*/}" "$out/usr/$loader"

cp LICENSE "$out/usr/share/doc/redtap/"
sort -u "$out/packages" | while read -r package; do
	name=${package%-"$arch"-cross} # the cross compiler's own libraries
	doc=/usr/share/doc/$package/copyright
	[ -e "$doc" ] || doc=/usr/share/doc/$name/copyright
	install -D -m 644 "$(readlink -f "$doc")" "$out/usr/share/doc/$name/copyright"
	dpkg-query -W -f '${Package} ${Version}\n' "$package:$arch" 2>/dev/null ||
		dpkg-query -W -f '${Package} ${Version}\n' "$package"
done | sort -u >"$out/usr/share/doc/redtap/packages.txt"
rm "$out/packages"

cat >"$out/etc/passwd" <<-'END'
	root:x:0:0:root:/:/sbin/nologin
	redtap:x:65532:65532:redtap:/var/lib/redtap:/sbin/nologin
END
printf 'root:x:0:\nredtap:x:65532:\n' >"$out/etc/group"
chmod 1777 "$out/tmp"
chmod 700 "$out/var/lib/redtap" "$out/var/lib/redtap-agent"
chown 65532:65532 "$out/var/lib/redtap"
find "$out" -exec touch -hd "@${SOURCE_DATE_EPOCH:-0}" {} +
