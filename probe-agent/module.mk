# SPDX-License-Identifier: Apache-2.0
AGENT_MAIN := $(wildcard probe-agent/main.c)
$(eval $(call library,agent,$(filter-out $(AGENT_MAIN),$(wildcard probe-agent/*.c probe-agent/*/*.c))))

$(OBJS_agent): | $(BPF_SKELS) $(PROTO_GEN).h $(GEN)/programs/syscalls.gen.h

# Names of system calls by number, as this architecture's headers have them.
$(GEN)/programs/syscalls.gen.h: probe-agent/programs/syscalls.awk
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)printf '#include <asm/unistd.h>\n' | $(CC) -E -dM - | awk -f $< >$@

ifneq ($(AGENT_MAIN),)
BINARIES += $(B)/redtap-agent
endif
# Objects, not the archive: a weak subcommand does not pull a member in.
$(B)/redtap-agent: $(B)/obj/probe-agent/main.o $(OBJS_agent) \
		$(B)/libproto.a $(B)/libcommon.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) $^ $(LIBS_agent) -o $@

# Headers that `program build` gives to clang.
PROGRAM_HEADERS := $(sort $(wildcard probe-agent/commands/include/*.inc))
$(OBJS_agent): | $(GEN)/commands/headers.gen.h
$(GEN)/commands/headers.gen.h: probe-agent/commands/headers.awk $(PROGRAM_HEADERS)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)awk -f $^ >$@
$(B)/obj/probe-agent/commands/build_headers.o: $(GEN)/commands/headers.gen.h
