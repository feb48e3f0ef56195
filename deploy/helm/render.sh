#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# render.sh [OUT]: what the chart gives, into deploy/kustomize and tests/golden/helm
# below OUT (the repository itself). HELM names the program.
set -eu
cd "$(dirname "$0")/../.."
out=${1:-.}
mkdir -p "$out/deploy/kustomize/base" "$out/deploy/kustomize/overlays/tls" \
	"$out/tests/golden/helm"

# That files are links into deploy/ gets on standard error.
render() {
	"${HELM:-helm}" template redtap deploy/helm/redtap -n redtap "$@" 2>"$out/.said" ||
		{ cat "$out/.said" >&2; return 1; }
	rm -f "$out/.said"
}

render >"$out/deploy/kustomize/base/redtap.yaml"
render -f deploy/helm/redtap/ci/cert-manager-values.yaml \
	>"$out/deploy/kustomize/overlays/tls/redtap.yaml"
for values in secret monitoring small; do
	render -f "deploy/helm/redtap/ci/$values-values.yaml" \
		>"$out/tests/golden/helm/$values.yaml"
done
