#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian 12 packages that are missing. Quiet if none is missing.
# REDTAP_DEPS=build leaves out packages that only the tests need.
# REDTAP_DEPS_ARCH names the architecture to build for (amd64, arm64) if it is not
# this machine's: its libraries are installed beside, and a cross compiler.
set -eu

build="
	bpftool
	ca-certificates
	clang-14
	curl
	esbuild
	gcc
	git
	libbpf-dev
	libcap-ng-dev
	libcrypt-dev
	libcurl4-gnutls-dev
	libcyaml-dev
	libelf-dev
	libgnutls28-dev
	libjansson-dev
	libmbedtls-dev
	libmicrohttpd-dev
	libnng-dev
	libpcre2-dev
	libprotobuf-c-dev
	libsqlite3-dev
	libyaml-dev
	libzstd-dev
	llvm-14
	make
	nodejs
	npm
	protobuf-c-compiler
	zlib1g-dev
"
tests="
	apache2-bin
	busybox-static
	caddy
	chromium
	clang-format-14
	default-jdk-headless
	fonts-dejavu-core
	g++
	gnutls-bin
	haproxy
	iproute2
	jq
	kmod
	libclang-rt-14-dev
	libcmocka-dev
	libfaketime
	libgrpc++-dev
	libnghttp2-dev
	lighttpd
	lz4
	mandoc
	nghttp2-client
	nghttp2-server
	nginx-light
	openssl
	pci.ids
	procps
	prometheus
	python3
	python3-grpcio
	python3-h2
	python3-hypercorn
	qemu-system-x86
	redis-server
	runc
	shellcheck
	socat
	sqlite3
	squid
	util-linux
	valgrind
	varnish
	wget
	wrk
	xxd
	zstd
"

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
	npm) command -v npm >/dev/null ;; # nodejs of others brings it
	*) false ;;
	esac
}

# cross ARCH: what a build for ARCH needs in place of $build.
cross() {
	case $1 in
	amd64) echo gcc-x86-64-linux-gnu ;;
	arm64) echo gcc-aarch64-linux-gnu ;;
	*)
		echo "$0: no cross build for '$1'" >&2
		exit 1
		;;
	esac
	for p in $build; do
		case $p in *-dev) echo "$p:$1" ;; *) echo "$p" ;; esac
	done
	echo "libc6-dev:$1"
}

missing=
[ "${REDTAP_DEPS:-all}" = build ] && tests=
arch=${REDTAP_DEPS_ARCH:-}
if [ -n "$arch" ] && [ "$arch" != "$(dpkg --print-architecture)" ]; then
	dpkg --add-architecture "$arch"
	build=$(cross "$arch")
fi
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
