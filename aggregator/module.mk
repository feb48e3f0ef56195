# SPDX-License-Identifier: Apache-2.0
AGGREGATOR_MAIN := $(wildcard aggregator/main.c)
MIGRATIONS := $(sort $(wildcard aggregator/store/migrations/*.sql))
MIGRATIONS_C := $(GEN)/aggregator/migrations.c

# The page (aggregator/web/page) travels inside the binary, too: npm brings its
# libraries by the lock file, esbuild bundles. PAGE=no builds without it.
PAGE ?= yes
ESBUILD ?= esbuild
PAGE_SRC := aggregator/web/page
PAGE_MODULES := $(GEN)/page/node_modules
ifeq ($(PAGE),no)
PAGE_C := $(GEN)/page-no/assets.c
$(PAGE_C):
	@mkdir -p $(@D)
	$(Q)printf '%s\n' '#include "aggregator/web/page.h"' \
		'const struct page_asset page_assets[] = { { 0 } };' \
		'const size_t page_assets_n = 0;' \
		'const char page_index[] = "";' >$@
else
PAGE_C := $(GEN)/page-yes/assets.c
$(PAGE_C): $(wildcard $(PAGE_SRC)/src/*) $(PAGE_SRC)/build.sh $(PAGE_MODULES)/.done
	$(call say,PAGE,$@)
	$(Q)command -v $(ESBUILD) >/dev/null || { \
		echo "the page needs esbuild: make deps, or make PAGE=no" >&2; exit 1; }
	$(Q)ESBUILD=$(ESBUILD) $(PAGE_SRC)/build.sh $(PAGE_MODULES) $(@D)
endif

$(PAGE_MODULES)/.done: $(PAGE_SRC)/package.json $(PAGE_SRC)/package-lock.json $(PAGE_SRC)/.npmrc
	@mkdir -p $(GEN)/page
	$(call say,NPM,$(PAGE_MODULES))
	$(Q)command -v npm >/dev/null || { \
		echo "the page needs npm: make deps, or make PAGE=no" >&2; exit 1; }
	$(Q)cp $^ $(GEN)/page && cd $(GEN)/page && npm ci --silent --no-fund --no-audit
	$(Q)touch $@

$(eval $(call library,aggregator,$(filter-out $(AGGREGATOR_MAIN),$(wildcard aggregator/*.c aggregator/*/*.c)) \
	$(if $(MIGRATIONS),$(MIGRATIONS_C)) $(PAGE_C)))

$(OBJS_aggregator): | $(PROTO_GEN).h

# The schema travels inside the binary: see aggregator/store/migrations.h.
$(MIGRATIONS_C): $(MIGRATIONS) aggregator/store/migrations.awk
	@mkdir -p $(@D)
	$(call say,SQL,$@)
	$(Q)awk -f aggregator/store/migrations.awk $(MIGRATIONS) >$@

ifneq ($(AGGREGATOR_MAIN),)
BINARIES += $(B)/redtap-aggregator
endif
# Objects, not the archive: a weak subcommand does not pull a member in.
$(B)/redtap-aggregator: $(B)/obj/aggregator/main.o $(OBJS_aggregator) \
		$(B)/libproto.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) $^ $(LIBS_aggregator) -o $@
