# SPDX-License-Identifier: GPL-2.0-or-later
#
# make          build/posada and build/kvm
# make run      install what is missing, build, boot a Linux guest
# make check    install what is missing, build, run every test
# make help     the other targets

B ?= build
CC = gcc
CLANG = clang
VERSION := 0.1.0
PREFIX ?= /usr/local
CFLAGS ?= -O2 -g
WERROR ?=

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter \
	-Wformat=2 -Wundef
ALL_CFLAGS = -std=gnu11 -Iinclude $(WARN) $(if $(WERROR),-Werror) -fPIE -fstack-protector-strong \
	-fno-strict-aliasing -pthread -DPOSADA_VERSION='"$(VERSION)"' -D_GNU_SOURCE -MMD -MP \
	$(CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)

# The libraries are linked into the program: loading them at each start costs
# more than the rest of posada's start-up. Zydis is loaded when first needed.
STATIC_LIBS = -ljansson -lz -lbz2 -llzma -llz4 -lzstd
LIBS = -Wl,-Bstatic $(STATIC_LIBS) -Wl,-Bdynamic -ldl -lm
LDFLAGS_ALL = -pie -pthread -Wl,-z,relro -Wl,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

SRC := $(filter-out src/main.c,$(wildcard src/*.c src/*/*.c hw/*.c hw/*/*.c))
OBJ := $(SRC:%.c=$(B)/%.o)
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))

all: $(B)/posada $(B)/kvm

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(Q),,echo "  CC $<")
	@$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/libposada.a: $(OBJ)
	@rm -f $@ && ar rcs $@ $^

$(B)/posada: $(B)/src/main.o $(B)/libposada.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--whole-archive $(B)/libposada.a -Wl,--no-whole-archive $(LIBS)

$(B)/kvm: $(B)/posada
	@ln -sf posada $@

# --- ACPI: firmware/*.asl compiled to C arrays (iasl is in package acpica-tools) ---
$(B)/firmware/%.h: firmware/%.asl
	@mkdir -p $(@D)
	@command -v iasl >/dev/null || { echo "iasl is missing: install acpica-tools" >&2; exit 1; }
	@$(if $(Q),,echo "  IASL $<")
	@iasl -we -tc -p $(B)/firmware/$* $< >$(B)/firmware/$*.log || { cat $(B)/firmware/$*.log >&2; exit 1; }
	@mv $(B)/firmware/$*.hex $@

$(B)/hw/acpi/tables.o: $(B)/firmware/dsdt.h
$(B)/hw/acpi/tables.o: ALL_CFLAGS += -I$(B)/firmware

# --- unit tests: one Check program a file in tests/unit ---------------------
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libposada.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $< $(B)/libposada.a -lcheck -lsubunit -lrt $(LIBS)

unit-bin: $(UNIT)
unit: $(UNIT)
	@for t in $(UNIT); do CK_VERBOSITY=minimal $$t || exit 1; done

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
.PHONY: all unit unit-bin clean
