# SPDX-License-Identifier: Apache-2.0
# tests/unit/FOLDER/test_*.c are one program each, linked with what the folder
# may use. tests/fuzz/fuzz_*.c are libFuzzer programs, built with SAN=fuzz.
UNIT_LIBS_common := common
UNIT_LIBS_proto := proto common
UNIT_LIBS_probe-agent := agent proto common
UNIT_LIBS_aggregator := aggregator proto common
UNIT_EXTRA_common := -lyaml
UNIT_EXTRA_proto := $(LIBS_proto) -lm
# nghttp2: the oracle of our header compression, in tests only.
UNIT_EXTRA_probe-agent := $(LIBS_agent) -lnghttp2
UNIT_EXTRA_aggregator := $(LIBS_aggregator) -lnng
UNIT_TESTS :=

define unit_folder
UNIT_$(1) := $$(patsubst %.c,$(B)/%,$$(wildcard tests/unit/$(1)/test_*.c tests/unit/$(1)/*/test_*.c))
UNIT_TESTS += $$(UNIT_$(1))
$$(UNIT_$(1)): $(B)/%: $(B)/obj/%.o $(patsubst %,$(B)/lib%.a,$(UNIT_LIBS_$(1)))
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $$(LDFLAGS) $$(filter %.o,$$^) $$(filter %.a,$$^) -lcmocka $$(UNIT_EXTRA_$(1)) -o $$@
endef
$(foreach f,common proto probe-agent aggregator,$(eval $(call unit_folder,$(f))))

# The scripted kernel side that these feed the engine with.
$(UNIT_probe-agent): $(B)/obj/tests/unit/probe-agent/tap_script.o

# The programs of bpf/ themselves, with a kernel of their own around them.
CORE := $(B)/obj/tests/unit/probe-agent/tap_core.o
# It holds code of the kernel side, where any address will do.
$(CORE): CFLAGS_ALL += -fno-sanitize=alignment
$(CORE): CPPFLAGS := -Itests/unit/probe-agent/stub $(CPPFLAGS)
$(B)/tests/unit/probe-agent/tap/test_core: $(CORE) $(B)/obj/tests/unit/probe-agent/talk.o
$(B)/tests/unit/probe-agent/tap/test_identity: $(CORE)

# Conversations in HTTP/2, and the kernel side of them.
$(filter %/test_h2 $(B)/tests/unit/probe-agent/http/test_h2_%,$(UNIT_probe-agent)): \
		$(B)/obj/tests/unit/probe-agent/http/h2_script.o \
		$(B)/obj/tests/unit/probe-agent/http/h2_kernel.o

$(patsubst $(B)/%,$(B)/obj/%.o,$(UNIT_TESTS)): | $(PROTO_GEN).h $(BPF_SKELS)

FUZZERS := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
$(patsubst $(B)/%,$(B)/obj/%.o,$(FUZZERS)): | $(PROTO_GEN).h
# A fuzzer may include the .c it tests; the libraries give it the rest.
$(FUZZERS): $(B)/%: $(B)/obj/%.o $(B)/libagent.a $(B)/libaggregator.a \
		$(B)/libproto.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) \
		$(LIBS_agent) $(LIBS_aggregator) -lnghttp2 -o $@

# Small programs that drive the integration tests.
DRIVERS := $(patsubst tests/integration/src/%.c,$(B)/tests/integration/%,\
	$(wildcard tests/integration/src/*.c))
$(DRIVERS): $(B)/tests/integration/%: $(B)/obj/tests/integration/src/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) $^ $(DRIVER_LIBS) -o $@
$(B)/obj/tests/integration/src/push.o: | $(PROTO_GEN).h
$(B)/tests/integration/push: $(B)/libproto.a $(B)/libcommon.a
$(B)/tests/integration/push: DRIVER_LIBS := -lnng $(LIBS_proto)
$(B)/obj/tests/integration/src/shop.o: | $(PROTO_GEN).h
$(B)/tests/integration/shop: $(B)/libproto.a $(B)/libcommon.a
$(B)/tests/integration/shop: DRIVER_LIBS := $(LIBS_proto) -lm

# What changes a program from inside (LD_PRELOAD).
PRELOADS := $(patsubst tests/integration/preload/%.c,$(B)/tests/integration/%.so,\
	$(wildcard tests/integration/preload/*.c))
$(PRELOADS): $(B)/tests/integration/%.so: tests/integration/preload/%.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) -D_GNU_SOURCE -O2 -g -fPIC -shared -Wall -Wextra \
		$(if $(filter 1,$(WERROR)),-Werror) $< -o $@

# The browser's driver of the page's tests, by its lock file.
PAGE_TEST_MODULES := build/page-tests/node_modules
.PHONY: page-tests
page-tests: $(PAGE_TEST_MODULES)/.done
$(PAGE_TEST_MODULES)/.done: tests/page/package.json tests/page/package-lock.json tests/page/.npmrc
	@mkdir -p build/page-tests
	$(call say,NPM,$(PAGE_TEST_MODULES))
	$(Q)cp $^ build/page-tests && cd build/page-tests && npm ci --silent --no-fund --no-audit
	$(Q)touch $@

# Peers that speak HTTP/2 and gRPC: tests/integration/peers.
PEER_MODULES := build/peers/node_modules
PEERS := $(PEER_MODULES)/.done build/peers/grpc_client build/peers/Client.class
$(PEER_MODULES)/.done: tests/integration/peers/package.json tests/integration/peers/package-lock.json \
		tests/integration/peers/.npmrc
	@mkdir -p build/peers
	$(call say,NPM,$(PEER_MODULES))
	$(Q)cp $^ build/peers && cd build/peers && npm ci --silent --no-fund --no-audit
	$(Q)touch $@
build/peers/grpc_client: tests/integration/peers/grpc_client.cc
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) -O1 $< -lgrpc++ -lgrpc -lgpr -labsl_synchronization -o $@
build/peers/Client.class: tests/integration/peers/Client.java
	@mkdir -p $(@D)
	$(call say,JAVAC,$@)
	$(Q)javac -d $(@D) $<

.PHONY: unit-build fuzz-build integration-build test unit integration lint fuzz
unit-build: $(UNIT_TESTS)
fuzz-build: $(FUZZERS)
integration-build: $(DRIVERS) $(PRELOADS) $(PEERS) page-tests $(B)/tests/crash/crash

test: ## Install what is missing, build, run everything
	@deploy/install-deps.sh
	@MAKE='$(MAKE)' WERROR='$(WERROR)' tests/run.sh all

unit: ## Unit tests only (SAN= gives a sanitizer build)
	@MAKE='$(MAKE)' SAN='$(SAN)' tests/run.sh unit

integration: ## Integration tests only (root)
	@MAKE='$(MAKE)' tests/run.sh integration

fuzz: ## Fuzz each parser for a few seconds, starting from its corpus
	@MAKE='$(MAKE)' tests/run.sh fuzz

lint: ## Check formatting, include rules, names, scripts, man pages
	@tests/lint.sh

# tests/bench/*.c are programs that print `bench: NAME VALUE UNIT goal=G ok`.
.PHONY: bench bench-scrape bench-fold bench-ingest bench-growth bench-agent \
	bench-fleet bench-build bench-instructions
BENCHES := $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))
BENCHES_AGENT := $(B)/tests/bench/agent $(B)/tests/bench/hooks $(B)/tests/bench/h2 \
	$(B)/tests/bench/backlog
$(BENCHES_AGENT): $(B)/obj/tests/unit/probe-agent/tap_script.o $(B)/libagent.a
$(B)/tests/bench/h2: $(B)/obj/tests/unit/probe-agent/http/h2_kernel.o
$(filter-out $(BENCHES_AGENT) $(B)/tests/bench/samples,$(BENCHES)): $(B)/%: $(B)/obj/%.o $(B)/libaggregator.a \
		$(B)/libproto.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) $^ $(LIBS_aggregator) -o $@

$(BENCHES_AGENT): $(B)/%: $(B)/obj/%.o $(B)/libproto.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) $(filter %.o,$^) \
		$(B)/libagent.a $(B)/libproto.a $(B)/libcommon.a \
		-lcmocka -lnghttp2 $(LIBS_agent) -o $@

$(B)/tests/bench/samples: $(B)/obj/tests/bench/samples.o $(B)/libagent.a $(B)/libaggregator.a \
		$(B)/libproto.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) $^ $(LIBS_agent) $(LIBS_aggregator) -o $@

bench-build: $(BENCHES)

.PHONY: bench-programs
bench-programs: all integration-build $(B)/tests/bench/samples ## What user programs cost: reading maps, the wire, counting (root)
	@$(B)/tests/bench/samples
	@tests/bench/programs.py

bench-scrape: $(B)/tests/bench/scrape $(B)/tests/bench/scrape_full ## What a scrape costs: rendering, memory, stalls
	@$(B)/tests/bench/scrape
	@$(B)/tests/bench/scrape_full

bench-fold: $(B)/tests/bench/fold ## What decoding and counting an event costs
	@$<

bench-ingest: $(B)/redtap-aggregator $(B)/redtap-agent ## Events a second, acknowledged after commit
	@tests/bench/ingest.py --build=$(B) speed

bench-growth: $(B)/redtap-aggregator $(B)/redtap-agent ## The same by series and agents; restart, stalls, peers
	@tests/bench/ingest.py --build=$(B) series agents crowd restart stalls peers

bench-fleet: all $(B)/tests/bench/small $(B)/tests/bench/backlog ## Many agents with small batches; a restart under them; catching up
	@$(B)/tests/bench/small
	@tests/bench/fleet.py --build=$(B)

bench-agent: $(B)/tests/bench/agent $(B)/tests/bench/h2 ## From a recorded tap to encoded batches; HTTP/2
	@$(B)/tests/bench/agent
	@$(B)/tests/bench/h2

.PHONY: page-pictures
page-pictures: all integration-build ## Make docs/pictures from a made fleet
	@tests/page/pictures.py

.PHONY: bench-page
bench-page: all integration-build ## What the page costs with 10,000 routes: answers, first paint, ingest beside it
	@tests/bench/page.py

# WRITE=1 writes down what is, for later comparisons.
WRITE ?=
bench-instructions: $(BENCHES) ## Instructions per event against tests/bench/instructions.txt (WRITE=1 renews it)
	@tests/bench/instructions.py --build=$(B) $(if $(WRITE),--write)

bench: bench-ingest bench-growth bench-agent bench-fold bench-scrape ## All of them, some four minutes

# Kills programs while a known number of requests is on its way.
KILLS ?= 50
.PHONY: crash
$(B)/tests/crash/crash: $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/crash/*.c)) $(B)/libagent.a \
		$(B)/libproto.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) $^ $(LIBS_agent) -o $@

crash: $(B)/tests/crash/crash all ## Kill programs KILLS times each, cut the network, lose replies; nothing lost or twice
	@tests/faults/crash.py $(KILLS)

# The other proofs of docs/GUARANTEES.md.
SOAK_MINUTES ?= 10
.PHONY: disk overload peers damage soak valgrind tsan bench-retention
disk: $(B)/tests/crash/crash all ## Full and read-only disks: readiness red, nothing lost (root)
	@tests/faults/disk.py

overload: $(B)/tests/crash/crash all ## Ten times more than the aggregator can take, 30 s long
	@tests/faults/overload.py

soak: $(B)/tests/crash/crash all ## Memory, files and threads stay flat for SOAK_MINUTES (root)
	@tests/faults/soak.py $(SOAK_MINUTES)

peers: $(B)/tests/crash/crash all ## Two agents with one id, rubbish, strangers, crowds of scrapers and slow ones
	@tests/faults/peers.py
	@tests/faults/strangers.py

damage: all ## Files of the store that are lost, cut or overwritten, and bits that flip
	@tests/faults/damage.py

valgrind: $(B)/tests/crash/crash all ## A short run from agent to scrape under valgrind: no leaks
	@tests/faults/memcheck.py

.PHONY: attack
attack: $(B)/tests/unit/aggregator/fold/test_cardinality ## Ten million made-up paths, hosts and methods: memory flat, totals exact
	@REDTAP_ATTACK=10000000 $<

tsan: ## Unit tests of the aggregator under the thread sanitizer
	@tests/faults/tsan.sh

.PHONY: bench-capture
bench-capture: all $(B)/tests/bench/hooks ## What capture costs nginx, wrk, Redis and a bulk transfer (root)
	@tests/bench/capture.py

bench-retention: all ## The longest stall of ingest while retention runs
	@tests/faults/retention.py

# Made from metrics.def and the default views; a unit test keeps it true.
.PHONY: docs/METRICS.md
docs/METRICS.md: $(B)/tests/unit/aggregator/expose/test_metrics ## Make the page of metrics
	$(Q)REDTAP_GOLDEN=write $< >/dev/null

.PHONY: README.md
README.md: $(B)/tests/unit/probe-agent/gaps/test_unseen ## Make the list of what is not seen
	$(Q)REDTAP_GOLDEN=write $< >/dev/null

# Other kernels: their verifier, every front-end, exact counts.
KERNEL ?=
.PHONY: vm
$(B)/tests/vm/verifier: $(B)/obj/tests/vm/verifier.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) $^ -lbpf -lelf -lz -o $@

vm: all integration-build $(B)/tests/vm/verifier ## Boot stock kernels and run the suite on each (KERNEL=6.12, FRONTS=kprobe|none, VERIFIER=write)
	@VERIFIER='$(VERIFIER)' FRONTS='$(FRONTS)' tests/vm/run.sh $(KERNEL)

.PHONY: vm-bench
vm-bench: all $(B)/tests/bench/hooks ## What fentry costs, on stock 6.12 with two processors (BENCH="redis bulk", FRONTS=kprobe, CLOCK=count|parallel)
	@BENCH='$(or $(BENCH),saturation)' FRONTS='$(FRONTS)' CLOCK='$(CLOCK)' \
		tests/vm/run.sh $(or $(KERNEL),6.12)

.PHONY: vm-arm64
vm-arm64: ## Build for arm64, boot its stock 6.12 and run the suite there (FRONTS=fentry)
	@tests/vm/arm64.sh $(FRONTS)
