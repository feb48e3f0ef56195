# SPDX-License-Identifier: Apache-2.0
# Each bpf/NAME.bpf.c is a front-end: built into an object, and a skeleton that
# carries it and is included as "NAME.skel.h". By which files: tests/lint.sh.
ARCH := $(shell uname -m)
BPF_ARCH := $(subst aarch64,arm64,$(subst x86_64,x86,$(ARCH)))
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(BPF_ARCH) \
	-D__bpf__ -I. -ffile-prefix-map=$(CURDIR)=. -Wall -Wextra -Wno-unused-parameter \
	-Wno-sign-compare -Wno-address-of-packed-member $(if $(filter 1,$(WERROR)),-Werror) \
	-idirafter /usr/include/$(ARCH)-linux-gnu
BPF_SOURCES := $(wildcard bpf/*.bpf.c)
BPF_SKELS := $(patsubst bpf/%.bpf.c,$(GEN)/bpf/%.skel.h,$(BPF_SOURCES))

$(GEN)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@

# bpftool may warn about constructs of older objects; only its failure matters.
$(GEN)/bpf/%.skel.h: $(GEN)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf >$@
