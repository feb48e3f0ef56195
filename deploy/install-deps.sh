#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian 12 packages that are missing. Quiet if none is missing.
# REDTAP_DEPS=build leaves out packages that only the tests need.
set -eu

build="gcc make git ca-certificates clang-14 llvm-14 bpftool libbpf-dev libelf-dev
 zlib1g-dev libzstd-dev libnng-dev libprotobuf-c-dev protobuf-c-compiler
 libmicrohttpd-dev libsqlite3-dev libcyaml-dev libjansson-dev libcap-ng-dev
 libcrypt-dev libcurl4-gnutls-dev curl libpcre2-dev"
tests="libcmocka-dev libclang-rt-14-dev clang-format-14 shellcheck mandoc nginx-light
 gnutls-bin wget wrk jq xxd socat openssl python3 nodejs redis-server prometheus procps
 iproute2 pci.ids libfaketime valgrind util-linux sqlite3 qemu-system-x86 busybox-static kmod
 zstd lz4"

command -v dpkg-query >/dev/null || {
	echo "not a Debian system: install the packages named in $0 yourself" >&2
	exit 1
}

installed() {
	dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

# Whether a package, or another one that serves as well, is installed.
have() {
	installed "$1" && return 0
	case $1 in
	nginx-light) installed nginx-core || installed nginx-full ||
		installed nginx-extras || installed nginx ;;
	*) false ;;
	esac
}

missing=
[ "${REDTAP_DEPS:-all}" = build ] && tests=
for p in $build $tests; do
	have "$p" || missing="$missing $p"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" != 0 ]; then
	echo "missing packages (run as root to install them):$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# Services in the packages must not start, as they would take ports.
guard=
if [ ! -e /usr/sbin/policy-rc.d ]; then
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	guard=1
fi
log=$(mktemp)
trap 'rm -f "$log"; [ -z "$guard" ] || rm -f /usr/sbin/policy-rc.d' EXIT
# shellcheck disable=SC2086 # a list of names
install() {
	apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends $missing >"$log" 2>&1
}
if ! install; then
	apt-get update -q >/dev/null 2>&1 || true
	if ! install; then
		cat "$log" >&2
		exit 1
	fi
fi
