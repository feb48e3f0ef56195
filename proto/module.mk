# SPDX-License-Identifier: Apache-2.0
# The wire. The generated code is included as "proto/redtap.pb-c.h".
$(eval $(call library,proto,$(wildcard proto/*.c) $(PROTO_GEN).c))

# Headers of ours include it, so every object waits for it: see the Makefile.
RESOURCE_GEN := $(GEN)/proto/resource.gen.h

$(PROTO_GEN).c $(PROTO_GEN).h $(RESOURCE_GEN) &: proto/redtap.proto proto/resource.awk
	@mkdir -p $(@D)
	$(call say,PROTO,$(PROTO_GEN).c)
	$(Q)$(PROTOC_C) --c_out=$(GEN) $<
	$(Q)awk -f proto/resource.awk $< >$(RESOURCE_GEN)

$(OBJS_proto): | $(PROTO_GEN).h

# These have loops over columns, which -O3 unrolls and vectorises.
ifeq ($(SAN),)
$(B)/obj/proto/varints.o $(B)/obj/proto/varints_bmi2.o $(B)/obj/proto/batch.o: CFLAGS_ALL += -O3
endif
