#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# install.sh install|uninstall: what `make install` puts under DESTDIR, and takes
# away again. BUILD has the programs, PREFIX is where they go (/usr). Files in /etc
# that are there already are left alone; `uninstall` leaves those that were
# changed, and what the programs wrote to /var/lib.
set -eu
cd "$(dirname "$0")/.."
PREFIX=${PREFIX:-/usr} DESTDIR=${DESTDIR:-} BUILD=${BUILD:-build}

# Where systemd looks for units; elsewhere is only /etc left.
case $PREFIX in
/usr) units=/lib/systemd/system ;;
/usr/local) units=/usr/local/lib/systemd/system ;;
*) units=/etc/systemd/system ;;
esac
bin=$DESTDIR$PREFIX/bin
man=$DESTDIR$PREFIX/share/man/man8
units=$DESTDIR$units

# The units name programs under /usr/bin.
unit() {
	sed "s|^ExecStart=/usr/bin/|ExecStart=$PREFIX/bin/|" "deploy/systemd/$1"
}

# files FUNCTION: for each file of ours in /etc, FUNCTION SOURCE TARGET.
files() {
	for f in agent aggregator; do
		"$1" "deploy/etc/redtap-$f.default" "$DESTDIR/etc/default/redtap-$f"
		"$1" "deploy/etc/$f.yml" "$DESTDIR/etc/redtap/$f.yml"
	done
}

keep_or_install() {
	[ -e "$2" ] || install -D -m 644 "$1" "$2"
}

remove_if_ours() {
	if cmp -s "$1" "$2"; then
		rm -f "$2"
	elif [ -e "$2" ]; then
		echo "kept $2: it was changed"
	fi
}

case ${1:-} in
install)
	install -d "$bin" "$man" "$units" "$DESTDIR/etc/redtap"
	install -d -m 700 "$DESTDIR/etc/redtap/tls"
	for p in redtap-agent redtap-aggregator; do
		install -m 755 "$BUILD/$p" "$bin"
		install -m 644 "docs/man/$p.8" "$man"
		unit "$p.service" >"$units/$p.service"
		chmod 644 "$units/$p.service"
	done
	files keep_or_install
	;;
uninstall)
	for p in redtap-agent redtap-aggregator; do
		rm -f "$bin/$p" "$man/$p.8" "$units/$p.service"
	done
	files remove_if_ours
	rmdir "$DESTDIR/etc/redtap/tls" "$DESTDIR/etc/redtap" 2>/dev/null || true
	for state in redtap redtap-agent; do
		[ ! -e "$DESTDIR/var/lib/$state" ] ||
			echo "kept $DESTDIR/var/lib/$state: stored requests"
	done
	;;
*)
	echo "usage: $0 install|uninstall" >&2
	exit 2
	;;
esac
