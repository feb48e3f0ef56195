#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# arm64.sh [FRONT…]: builds everything for arm64 with a cross compiler, boots the
# stock 6.12 kernel for it under QEMU, and runs suite.sh there. The Debian that it
# runs on, unpacked and never configured, is kept in build/vm/arm64.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD/build/vm/arm64

DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
	qemu-system-arm mmdebstrap gcc-aarch64-linux-gnu kmod >/dev/null 2>&1 || {
	echo "skip - the suite on arm64: QEMU or the cross compiler can't be installed"
	exit 0
}
if [ ! -d "$root" ]; then
	rm -rf "$root.new"
	mkdir -p "$root.new"
	# shellcheck disable=SC2046 # names of files without spaces
	mmdebstrap --quiet --architectures=arm64 --variant=extract --include="$(
		tr '\n' ',' <<-'END'
			libc6-dev,libgcc-12-dev,libbpf-dev,libelf-dev,zlib1g-dev,libzstd-dev
			libmbedtls-dev,libnng-dev,libprotobuf-c-dev,libmicrohttpd-dev,libsqlite3-dev
			libcyaml-dev,libyaml-dev,libjansson-dev,libcap-ng-dev,libcrypt-dev
			libcurl4-gnutls-dev,libcmocka-dev,bash,coreutils,gawk,grep,sed,mount
			procps,iproute2,util-linux,busybox-static,python3,openssl,gnutls-bin
			nginx-light,curl,wget,redis-server,redis-tools,linux-image-6.12-arm64
		END
	)" bookworm "$root.new" \
		$(find /etc/apt/sources.list* -name "*.list" -o -name "*.sources")
	# What the packages' scripts would have done.
	ln -sf bash "$root.new/bin/sh"
	ln -sf gawk "$root.new/usr/bin/awk"
	cp /etc/hosts /etc/passwd /etc/group /etc/nsswitch.conf "$root.new/etc/"
	mv "$root.new" "$root"
fi
mkdir -p "$root/src"
git ls-files -z | tar -c --null -T - | tar -x -C "$root/src"
cd "$root/src"
echo "# building for arm64"
make -s -j"$(nproc)" ARCH=aarch64 CC="aarch64-linux-gnu-gcc --sysroot=$root" \
	CLANG="clang-14 -idirafter $root/usr/include/aarch64-linux-gnu" \
	all integration-build build/tests/vm/verifier
tests/vm/guest.py --root "$root" --timeout 3000 "$root" -- \
	tests/vm/suite.sh 6.12 "$*" | sed -u '/^verifier /d; s/ - 6.12/ - arm64 6.12/'
