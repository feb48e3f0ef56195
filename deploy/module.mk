# SPDX-License-Identifier: Apache-2.0
# Ways to install: images and packages. docs/INSTALL.md is for people.

# The time of the commit: what is built from it says so.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH

IMAGE ?= redtap:$(VERSION)
IMAGE_ARCH ?= $(subst x86_64,amd64,$(subst aarch64,arm64,$(ARCH)))
BASE ?= debian:12-slim

# The page's libraries, brought here rather than where there may be no network.
PAGE_READY := $(if $(filter no,$(PAGE)),,$(PAGE_MODULES)/.done)

.PHONY: image
image: $(PAGE_READY) ## Build the container image IMAGE for IMAGE_ARCH (docker, podman or buildah)
	@deploy/docker/image.sh '$(IMAGE)' '$(IMAGE_ARCH)' '$(BASE)' '$(VERSION)' '$(REVISION)'

HELM ?= helm
.PHONY: manifests
manifests: ## Render the chart into deploy/kustomize and tests/golden/helm (HELM=)
	@HELM='$(HELM)' deploy/helm/render.sh

.PHONY: chart
chart: ## Package the chart with this version into build/chart (HELM=)
	@mkdir -p build/chart
	@'$(HELM)' package deploy/helm/redtap -d build/chart --version '$(VERSION)' --app-version '$(VERSION)'

.PHONY: deb
deb: $(PAGE_READY) ## Build the Debian packages into build/deb
	@deploy/deb.sh '$(VERSION)' '$(REVISION)'

.PHONY: print-version
print-version:
	@echo '$(VERSION)'

.PHONY: deploy-test k8s
deploy-test: ## Test images, chart, manifests, packages, units and the demo with the real tools (root, 15 min)
	@MAKE='$(MAKE)' tests/run.sh deploy

# Any cluster that one has: make k8s KUBECONFIG=FILE IMAGE=registry/redtap:tag
k8s: ## Install the chart in the cluster of KUBECONFIG and check 1,009 = 1,009 there
	@KUBECONFIG='$(KUBECONFIG)' IMAGE='$(IMAGE)' tests/deploy/k8s.py
