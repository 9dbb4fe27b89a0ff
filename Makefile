# modelmq: builds the daemons, the command line and the tests. `make help` lists what there is.
# CC CFLAGS CPPFLAGS LDFLAGS LDLIBS belong to the user and are used last.

VERSION := $(shell cat VERSION)
PREFIX  ?= /usr/local
SAN     ?=
comma   := ,
BUILD   := build/$(if $(SAN),san-$(subst $() ,-,$(subst $(comma), ,$(SAN))),plain)

PC_MSGPACK := $(shell pkg-config --exists msgpack 2>/dev/null && echo msgpack || echo msgpack-c)
PACKAGES   := libzmq libczmq $(PC_MSGPACK) openblas sqlite3 libsodium zlib jansson libmicrohttpd
PC_CFLAGS  := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PC_LIBS    := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)

CFLAGS ?= -O2 -g
OURS   := -std=c11 -D_GNU_SOURCE -DMMQ_VERSION='"$(VERSION)"' -I. -Ilib -Wall -Wextra -Wshadow -Wstrict-prototypes \
          -Wmissing-prototypes -Wconversion -Wno-sign-conversion -Wvla -Wno-psabi -fno-math-errno -fno-trapping-math -pthread -MMD -MP \
          $(if $(WERROR),-Werror) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
LINK   := $(if $(SAN),-fsanitize=$(SAN)) -pthread
LIBS   := $(PC_LIBS) -lm

# Every folder is picked up by wildcard: a new file needs no edit here.
lib_src    := $(sort $(wildcard lib/*/*.c lib/*/*/*.c))
daemon_src  = $(sort $(filter-out $(1)/main.c,$(wildcard $(1)/*.c)))
test_src   := $(sort $(wildcard tests/*/test_*.c))
helper_src := $(sort $(filter-out $(test_src),$(wildcard tests/*/*.c)))
bench_src  := $(sort $(wildcard bench/bench_*.c))
bench_help := $(sort $(filter-out $(bench_src),$(wildcard bench/*.c)))
example_src := $(sort $(wildcard examples/c/*.c))
objects     = $(patsubst %.c,$(BUILD)/%.o,$(1))

LIBRARY  := $(BUILD)/libmodelmq.a
INNER    := $(BUILD)/libdaemons.a
BINARIES := $(if $(wildcard cli/main.c),modelmq) $(foreach d,broker trainer predictor,$(if $(wildcard $(d)/main.c),modelmq-$(d)))
BIN      := $(if $(SAN),$(BUILD)/bin,build/bin)
TESTS    := $(patsubst %.c,$(BUILD)/%,$(test_src))
BENCHES  := $(patsubst %.c,$(BUILD)/%,$(bench_src))
EXAMPLES := $(patsubst %.c,$(BUILD)/%,$(example_src))

.PHONY: all help setup check check-built lint demo demo-run bench benches fuzz fuzzers install clean tests examples
all: $(addprefix $(BIN)/,$(BINARIES)) $(EXAMPLES)

help:
	@echo "make demo    set up, build, run the whole service on real data and print its table"
	@echo "make check   set up, build, run all tests (T=wire: only those whose path holds 'wire')"
	@echo "make         build only, into build/bin;  SAN=address,undefined or SAN=thread for sanitized builds"
	@echo "make lint | bench [B=name] | fuzz (clang) | install [DESTDIR= PREFIX=/usr/local] | clean"

# Two commands must work on a bare machine: set-up comes first and the rest runs in a fresh make that sees what it installed.
setup:
	@scripts/setup
demo: setup
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@$(MAKE) --no-print-directory demo-run
demo-run: all
	@/usr/bin/python3 examples/demo.py
check: setup
	@scripts/check $(T)
tests: $(TESTS) all
examples: $(EXAMPLES)
lint:
	@tests/lint/run

bench: all benches
	@bench/run $(B)
benches: $(BENCHES)

# libFuzzer's entries, each with a corpus in the tree to start from: see the head of tests/fuzz/fuzz_wire.c.
FUZZ_SAN := address,undefined,fuzzer-no-link
FUZZERS  := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
fuzz:
	@$(MAKE) --no-print-directory CC="$(or $(FUZZ_CC),clang)" SAN=$(FUZZ_SAN) CFLAGS="-O1 -g" fuzzers
fuzzers: $(FUZZERS)
$(FUZZERS): $(BUILD)/%: $(BUILD)/%.o $(LIBRARY)
	@$(CC) -fsanitize=address,undefined,fuzzer -pthread $(LDFLAGS) -o $@ $^ $(LIBS) $(LDLIBS)

# `modelmq journal` and `doctor` look into the journal's file with the code that writes it.
$(BIN)/modelmq: $(call objects,$(wildcard cli/*.c broker/journal_*.c)) $(LIBRARY)
	@mkdir -p $(@D); $(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS) $(LDLIBS)
define daemon_rule
$(BIN)/modelmq-$(1): $(call objects,$(wildcard $(1)/*.c)) $(LIBRARY)
	@mkdir -p $$(@D); $(CC) $(LINK) $(LDFLAGS) -o $$@ $$^ $(LIBS) $(LDLIBS)
endef
$(foreach d,broker trainer predictor,$(eval $(call daemon_rule,$(d))))

$(LIBRARY): $(call objects,$(lib_src))
	@rm -f $@; $(AR) rcs $@ $^
$(INNER): $(call objects,$(foreach d,broker trainer predictor,$(call daemon_src,$(d))) $(helper_src))
	@rm -f $@; $(AR) rcs $@ $^
$(TESTS): $(BUILD)/%: $(BUILD)/%.o $(INNER) $(LIBRARY)
	@mkdir -p $(@D); $(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka $(LDLIBS)
$(BUILD)/examples/%.o: OURS += -Ilib/client
$(BENCHES): $(BUILD)/%: $(BUILD)/%.o $(call objects,$(bench_help)) $(INNER) $(LIBRARY)
	@mkdir -p $(@D); $(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS) $(LDLIBS)
$(EXAMPLES): $(BUILD)/%: $(BUILD)/%.o $(INNER) $(LIBRARY)
	@mkdir -p $(@D); $(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS) $(LDLIBS)
$(BUILD)/%.o: %.c
	@mkdir -p $(@D); echo "  cc $<"; $(CC) $(OURS) $(PC_CFLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

install: all
	scripts/install-files "$(DESTDIR)" "$(PREFIX)" "$(BIN)" "$(LIBRARY)" "$(VERSION)"

clean:
	rm -rf build

.SECONDARY:
-include $(shell find build -name '*.d' 2>/dev/null)
