#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# image.sh NAME ARCH BASE VERSION REVISION: builds the image with the first of
# docker buildx, buildah and podman that is here (ENGINE= names one), with all
# times set to SOURCE_DATE_EPOCH so that the same sources are the same image.
set -eu
cd "$(dirname "$0")/../.."
name=$1 arch=$2
epoch=${SOURCE_DATE_EPOCH:-0}
if [ -z "${ENGINE:-}" ]; then
	for ENGINE in docker buildah podman none; do
		command -v "$ENGINE" >/dev/null && break
	done
fi
set -- --platform "linux/$arch" -f deploy/docker/Dockerfile -t "$name" \
	--build-arg BASE="$3" --build-arg VERSION="$4" --build-arg REVISION="$5" \
	--build-arg SOURCE_DATE_EPOCH="$epoch"
# Old releases of buildah do not set it themselves.
native() {
	case $(uname -m) in x86_64) echo linux/amd64 ;; *) echo linux/arm64 ;; esac
}
case $ENGINE in
docker)
	exec docker buildx build "$@" \
		--output type=docker,rewrite-timestamp=true .
	;;
buildah | podman)
	# ISOLATION=chroot needs no container runtime below.
	set -- build ${ISOLATION:+--isolation "$ISOLATION"} --timestamp "$epoch" \
		--build-arg BUILDPLATFORM="$(native)" "$@" .
	exec "$ENGINE" "$@"
	;;
*)
	echo "no docker, buildah or podman here" >&2
	exit 1
	;;
esac
