# SPDX-License-Identifier: Apache-2.0
AGGREGATOR_MAIN := $(wildcard aggregator/main.c)
MIGRATIONS := $(sort $(wildcard aggregator/store/migrations/*.sql))
MIGRATIONS_C := $(GEN)/aggregator/migrations.c
$(eval $(call library,aggregator,$(filter-out $(AGGREGATOR_MAIN),$(wildcard aggregator/*.c aggregator/*/*.c)) \
	$(if $(MIGRATIONS),$(MIGRATIONS_C))))

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
