# SPDX-License-Identifier: Apache-2.0
#
# One non-recursive Makefile. Every folder lists what it adds in a module.mk;
# sources are found by wildcard, so a new file needs no edit. Outputs go under
# build/, sanitizer variants (SAN=…) under build/san-*; generated code is shared
# by all variants. V=1 shows whole command lines, WERROR=1 makes warnings errors.

VERSION_BASE := 0.2.0

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang-14
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PROTOC_C ?= protoc-c
PREFIX ?= /usr
SAN ?=

comma := ,
GEN := build
PROTO_GEN := $(GEN)/proto/redtap.pb-c
ifeq ($(SAN),)
B := build
else
B := build/san-$(subst $(comma),-,$(SAN))
endif

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

# ---- version: the newest tag, or the base with -dev; and the commit
VERSION := $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//')
ifeq ($(VERSION),)
VERSION := $(VERSION_BASE)-dev
endif
REVISION := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# ---- flags
WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wstrict-prototypes \
	-Wmissing-prototypes -Wwrite-strings -Wcast-qual -Wpointer-arith \
	-Wformat=2 -Wimplicit-fallthrough
ifeq ($(WERROR),1)
WARN += -Werror
endif
CPPFLAGS += -D_GNU_SOURCE -I. -isystem $(GEN) -isystem $(GEN)/proto \
	-isystem $(GEN)/bpf
# The same bytes wherever the sources lie.
CFLAGS_ALL := -std=gnu11 -g -pthread -fno-strict-aliasing $(WARN) \
	-ffile-prefix-map=$(CURDIR)=.
LDFLAGS_ALL := -pthread -Wl,--as-needed

ifeq ($(SAN),)
CFLAGS_ALL += -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
LDFLAGS_ALL += -pie -Wl,-z,relro,-z,now
else ifeq ($(SAN),fuzz)
CC := $(CLANG)
CFLAGS_ALL += -O1 -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined
LDFLAGS_ALL += -fsanitize=address,undefined
else
# gcc's guesses on lengths go wrong in instrumented code.
CFLAGS_ALL += -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) \
	-fno-sanitize-recover=undefined -Wno-format-truncation \
	-Wno-stringop-overread -Wno-stringop-overflow -Wno-maybe-uninitialized
LDFLAGS_ALL += -fsanitize=$(SAN)
endif
# clang sees casts inside of protobuf-c's macros, which gcc takes for theirs.
ifneq ($(findstring clang,$(CC)),)
CFLAGS_ALL += -Wno-cast-qual
endif

LIBS_proto := -lprotobuf-c -lzstd
LIBS_agent := -lbpf -lelf -lz -lzstd -lnng -lmbedtls -lmbedx509 -lmbedcrypto -lsqlite3 \
	-lcyaml -lyaml -lcap-ng -ljansson -lpcre2-8 $(LIBS_proto) -lm
LIBS_aggregator := -lmicrohttpd -lsqlite3 -lcyaml -lyaml -ljansson -lgnutls -lz -lzstd \
	-lcrypt -lcurl $(LIBS_proto) -lm

# ---- what there is to build; module.mk files add to these
BINARIES :=
LIBRARIES :=
INSTALLS :=

.PHONY: all
all: ## Build the binaries (default goal)

# $(call library,NAME,SOURCES): $(B)/libNAME.a out of SOURCES
define library
OBJS_$(1) := $$(patsubst %.c,$(B)/obj/%.o,$(2))
LIBRARIES += $(B)/lib$(1).a
$(B)/lib$(1).a: $$(OBJS_$(1))
	@mkdir -p $$(@D)
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcsD $$@ $$^
endef

include $(wildcard */module.mk)

all: $(BINARIES) $(LIBRARIES)

# ---- generic rules
$(B)/obj/%.o: %.c | $(GEN)/proto/resource.gen.h
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(CFLAGS) -MD -MP -c $< -o $@

$(B)/obj/$(GEN)/%.o: $(GEN)/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) -Wno-cast-qual -w $(CFLAGS) \
		-MD -MP -c $< -o $@

# A file that changes when its content would: not on every build.
$(GEN)/version.gen.h: FORCE
	@mkdir -p $(@D)
	@printf '#define REDTAP_VERSION "%s"\n#define REDTAP_REVISION "%s"\n' \
		'$(VERSION)' '$(REVISION)' >$@.tmp
	@cmp -s $@.tmp $@ && rm -f $@.tmp || mv $@.tmp $@

$(B)/obj/common/version.o: $(GEN)/version.gen.h

.PHONY: FORCE
FORCE:
.SECONDARY:
.DELETE_ON_ERROR:

# ---- for people
.PHONY: help up deps clean fmt install uninstall
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-12s %s\n", $$1, $$2}' \
		Makefile */module.mk
	@echo '  Variables: V=1 WERROR=1 SAN=address,undefined|thread PAGE=no STATE=DIR PORT=9470 DESTDIR= PREFIX=/usr'

deps: ## Install the packages that are missing (apt, root)
	@deploy/install-deps.sh

up: ## Build, then run aggregator and agent on this host (root); Ctrl-C stops
	@STATE='$(STATE)' PORT='$(PORT)' MAKE='$(MAKE)' deploy/up.sh

fmt: ## Format all C sources in place
	$(call say,FMT,sources)
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | \
		xargs clang-format-14 -i

install: all ## Install binaries, man pages, units and default files under DESTDIR
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' BUILD='$(B)' deploy/install.sh install

uninstall: ## Remove what install put there; what was changed, and state, stay
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' BUILD='$(B)' deploy/install.sh uninstall

clean: ## Remove build/
	rm -rf build

-include $(shell [ -d $(B)/obj ] && find $(B)/obj $(GEN)/bpf -name '*.d' 2>/dev/null)
