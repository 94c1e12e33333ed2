# SPDX-License-Identifier: GPL-2.0-or-later
#
# make          build/posada, build/kvm and build/posada-img
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

WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wundef \
	$(if $(findstring clang,$(CC)),-Wno-unknown-warning-option -Wno-gnu-variable-sized-type-not-at-end) -Wno-unused-parameter -Wno-missing-field-initializers \
	-Wno-format-truncation
ALL_CFLAGS = -std=gnu11 -Iinclude $(WARN) $(if $(WERROR),-Werror) -fPIE -fstack-protector-strong \
	-fno-strict-aliasing -pthread -DPOSADA_VERSION='"$(VERSION)"' -D_GNU_SOURCE -MMD -MP \
	$(CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)

# The libraries are linked into the program: loading them at each start costs
# more than the rest of posada's start-up. Zydis is loaded when first needed.
STATIC_LIBS = -ljansson -lnettle -lbz2 -llzma -llz4 -lzstd -luring -laio -lfdt -lpng16 -lz
LIBS = -Wl,-Bstatic $(STATIC_LIBS) -Wl,-Bdynamic -ldl -lm
LDFLAGS_ALL = -pie -pthread -Wl,-z,relro -Wl,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

# A window is built in when SDL's headers are there; displays.o knows, and is made anew when that changes.
SDL := $(if $(wildcard /usr/include/SDL2/SDL.h),sdl,none)

SRC := $(filter-out src/main.c src/img/% $(if $(filter none,$(SDL)),src/display/sdl%), \
	$(wildcard src/*.c src/*/*.c hw/*.c hw/*/*.c))
IMG := $(patsubst %.c,$(B)/%.o,$(wildcard src/img/*.c))
OBJ := $(SRC:%.c=$(B)/%.o)
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))

all: $(B)/posada $(B)/kvm $(B)/posada-img
	@:

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(Q),,echo "  CC $<")
	@$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Not by a rule: with .SECONDARY a file that is missing is made for nobody's sake.
$(if $(wildcard $(B)/window-$(SDL)),,$(shell mkdir -p $(B) && rm -f $(B)/window-* && touch $(B)/window-$(SDL)))
$(B)/src/displays.o: $(B)/window-$(SDL)
$(B)/src/displays.o: ALL_CFLAGS += $(if $(filter sdl,$(SDL)),-DPOSADA_SDL)

$(B)/libposada.a: $(OBJ)
	@rm -f $@ && ar rcs $@ $^

$(B)/posada: $(B)/src/main.o $(B)/libposada.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--whole-archive $(B)/libposada.a -Wl,--no-whole-archive $(LIBS)

# Only what it calls: nothing of hw/ and no KVM.
$(B)/posada-img: $(IMG) $(B)/libposada.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $(IMG) $(B)/libposada.a $(LIBS)

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

# --- the web display's page is part of the program ---
$(B)/src/display/web_page.o: $(wildcard src/display/web/*)

# --- unit tests: one Check program a file in tests/unit ---------------------
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libposada.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $< $(B)/libposada.a -lcheck -lsubunit -lrt $(LIBS)

unit-bin: $(UNIT)
# What several threads use.
tsan-bin: $(patsubst %,$(B)/tests/unit/test_%,bus loop chardev virtqueue virtio_threads pci aio block_io co co_pool rfb)
unit: $(UNIT)
	@for t in $(UNIT); do CK_VERBOSITY=minimal $$t || exit 1; done

# --- bare-metal guests: guests/NAME.c is build/guests/NAME.elf, a PVH kernel ---
# Integer code only: a KVM in software does not carry out SSE in kernel mode.
GUEST_CFLAGS = -std=gnu11 -O2 -g0 $(WARN) $(if $(WERROR),-Werror) -ffreestanding -nostdinc \
	-isystem $(shell $(CC) -print-file-name=include) -Iguests/lib -m64 -march=x86-64 \
	-mgeneral-regs-only -mno-red-zone -mcmodel=small -fno-pie -fno-stack-protector \
	-fcf-protection=none -fno-asynchronous-unwind-tables -fno-strict-aliasing \
	-fno-tree-loop-distribute-patterns -MMD -MP
GUEST_LD = $(CC) -nostdlib -static -no-pie -Wl,-T,guests/lib/guest.ld -Wl,--build-id=none \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments

GUEST_LIB := $(patsubst guests/%,$(B)/guests/%.o,$(filter-out %_note.S %_header.S, \
	$(wildcard guests/lib/*.[cS])))
GUEST_NAMES := $(patsubst guests/%.c,%,$(wildcard guests/*.c))
GUESTS := $(GUEST_NAMES:%=$(B)/guests/%.elf) \
	$(foreach n,hello memmap,$(B)/guests/$n-elf64.elf $(B)/guests/$n-mb.elf) \
	$(B)/guests/hello-mb.bin $(B)/guests/oneinsn.elf $(B)/guests/oneinsn.rom \
	$(B)/guests/iret32.elf $(B)/guests/vgaboot.bin \
	$(patsubst guests/boot16/%.S,$(B)/guests/%.img,$(wildcard guests/boot16/*.S))

# The guests, and the programs that the boot tests and benchmarks need.
TEST_PROGRAMS := $(patsubst %,$(B)/tests/%,boot/talk boot/dirty boot/screen boot/vbe_picture boot/same_picture bench/observe \
	$(if $(filter sdl,$(SDL)),boot/xclose))
guests: $(GUESTS) $(TEST_PROGRAMS) $(B)/tests/boot/browser $(B)/tests/boot/vncclient
$(B)/tests/boot/xclose: TEST_LIBS = -lX11
$(B)/tests/boot/same_picture: TEST_LIBS = $(LIBS)
$(TEST_PROGRAMS): $(B)/%: %.c
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ $< -lutil $(TEST_LIBS)

$(B)/tests/boot/browser: tests/boot/browser.c
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ $< $(LIBS)

$(B)/tests/boot/vncclient: tests/boot/vncclient.c
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS_ALL) -o $@ $< -lvncclient

$(B)/guests/%.c.o: guests/%.c
	@mkdir -p $(@D)
	@$(CC) $(GUEST_CFLAGS) -c -o $@ $<
$(B)/guests/%.S.o: guests/%.S
	@mkdir -p $(@D)
	@$(CC) $(GUEST_CFLAGS) -c -o $@ $<
$(B)/guests/lib/multiboot_raw.o: guests/lib/multiboot_header.S
	@mkdir -p $(@D)
	@$(CC) $(GUEST_CFLAGS) -DMB_RAW -c -o $@ $<
$(B)/guests/%.elf: $(B)/guests/%.c.o $(GUEST_LIB) $(B)/guests/lib/pvh_note.S.o guests/lib/guest.ld
	@$(GUEST_LD) -o $@ $(filter %.o,$^)
# No note: entered in 64-bit mode at its ELF entry.
$(B)/guests/%-elf64.elf: $(B)/guests/%.c.o $(GUEST_LIB) guests/lib/guest.ld
	@$(GUEST_LD) -Wl,-e,start64 -o $@ $(filter %.o,$^)
# Multiboot kernels are 32-bit ELF files (or flat ones), whatever they run.
$(B)/guests/%-mb.elf: $(B)/guests/%.c.o $(GUEST_LIB) $(B)/guests/lib/multiboot_header.S.o guests/lib/guest.ld
	@$(GUEST_LD) -o $@.64 $(filter %.o,$^)
	@objcopy -O elf32-i386 $@.64 $@ && rm $@.64
$(B)/guests/%-mb.bin: $(B)/guests/%.c.o $(GUEST_LIB) $(B)/guests/lib/multiboot_raw.o guests/lib/guest.ld
	@$(GUEST_LD) -o $@.64 $(filter %.o,$^)
	@objcopy -O binary $@.64 $@ && rm $@.64
# Without the runtime: 32-bit code.
$(B)/guests/iret32.elf: guests/iret32.S guests/lib/guest.ld
	@mkdir -p $(@D)
	@$(GUEST_LD) -m32 -Wl,-e,start -o $@ $<
# A boot sector.
$(B)/guests/vgaboot.bin: guests/vgaboot.S
	@mkdir -p $(@D)
	@$(GUEST_LD) -m32 -Wl,-m,elf_i386 -Wl,-N -Wl,-Ttext=0x7c00 -Wl,-e,start -Wl,--oformat=binary -o $@ $<
# The smallest guests, for the benchmarks: a kernel, and a ROM with a reset vector.
$(B)/guests/oneinsn.elf: $(B)/guests/oneinsn.S.o
	@$(CC) -nostdlib -static -no-pie -Wl,-Ttext=0x100000 -Wl,--build-id=none \
		-Wl,-z,noexecstack -Wl,-N -Wl,--no-warn-rwx-segments -o $@ $<
$(B)/guests/oneinsn.rom: $(B)/guests/oneinsn_rom.S.o
	@objcopy -O binary $< $@
# What a BIOS starts: guests/boot16/NAME.S is build/guests/NAME.img, flat real-mode code for 0:7c00.
$(B)/guests/%.img: guests/boot16/%.S
	@mkdir -p $(@D)
	@$(CC) -m32 -nostdlib -static -no-pie -Wl,-Ttext=0x7c00 -Wl,--build-id=none \
		-Wl,-z,noexecstack -Wl,-N -Wl,--no-warn-rwx-segments -o $@.elf $<
	@objcopy -O binary -j .text $@.elf $@ && rm $@.elf
bench-bin: guests $(B)/tests/bench/blkio
# Programs of benchmarks and of tests of images that use the block layer alone.
img-bin: $(B)/tests/img/diskops
$(B)/tests/bench/blkio $(B)/tests/img/diskops: %: %.o $(B)/libposada.a
	@$(CC) $(LDFLAGS_ALL) -o $@ $< $(B)/libposada.a $(LIBS)
# --- end of bare-metal guests ---

# --- fuzz targets: tests/fuzz/fuzz_NAME.c, built by clang with its own objects ---
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(B)/libposada.a
	@mkdir -p $(B)/corpus-$(*F:fuzz_%=%)
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(B)/libposada.a $(LIBS)
fuzz-objects: $(FUZZ)
fuzz-bin:
	+@$(MAKE_ALL) B=build/fuzz CC=$(CLANG) SAN=address,undefined,fuzzer-no-link fuzz-objects

# A make of its own for targets that do all set-up themselves, on all CPUs unless -j says otherwise.
MAKE_ALL = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# --- for people ------------------------------------------------------------------
deps:
	@scripts/deps build guest
run:
	@scripts/deps build guest
	+@$(MAKE_ALL) Q=1 all
	@scripts/run-guest $(RUNFLAGS)

# What "make check" runs: see tests/run. Set by .ci/run.
SUITES ?= deps unit fuzz img boot
check:
	@scripts/deps build guest test
	+@$(MAKE_ALL) Q=1 WERROR=1 all guests unit-bin img-bin
	@for s in $(filter fuzz san tsan,$(SUITES)); do $(MAKE) --no-print-directory Q=1 $$s-suite || exit 1; done
	@tests/run $(SUITES)
fuzz-suite: fuzz-bin
san-suite:
	+@$(MAKE_ALL) B=build/san SAN=address,undefined unit-bin
tsan-suite:
	+@$(MAKE_ALL) B=build/tsan SAN=thread tsan-bin
check-deps:
	@scripts/check-deps
# Debian's own kernel and iPXE under the assist: minutes where KVM is software.
check-stock:
	@scripts/deps build guest test
	+@$(MAKE_ALL) Q=1 all guests
	@LONG_TESTS=1 tests/boot/run -j 1 'ipxe_*'
	@tests/boot/stock
bench:
	@scripts/deps build guest test
	+@$(MAKE_ALL) Q=1 all bench-bin
	@tests/bench/run
# Longer than a test run may take.
fuzz-long: fuzz-bin
	@FUZZ_SEED=0 FUZZ_RUNS=-1 FUZZ_SECONDS=600 tests/run fuzz
tidy:
	@scripts/deps build lint
	@clang-tidy --quiet $(SRC) $(wildcard src/img/*.c) -- -std=gnu11 -Iinclude -I$(B)/firmware -D_GNU_SOURCE -DPOSADA_VERSION='"x"'
	@cppcheck --quiet --enable=warning,portability --inline-suppr -Iinclude --std=c11 src hw
format:
	@scripts/deps lint
	@clang-format -i --style=file $(shell git ls-files '*.c' '*.h')

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(B)/posada $(B)/posada-img $(DESTDIR)$(PREFIX)/bin
	ln -sf posada $(DESTDIR)$(PREFIX)/bin/kvm
	install -m 644 docs/posada.1 docs/posada-img.1 $(DESTDIR)$(PREFIX)/share/man/man1
	ln -sf posada.1 $(DESTDIR)$(PREFIX)/share/man/man1/kvm.1
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/posada bin/kvm bin/posada-img \
		share/man/man1/posada.1 share/man/man1/kvm.1 share/man/man1/posada-img.1)

help:
	@echo "make               build/posada, build/kvm and build/posada-img"
	@echo "make run           install what is missing, build, boot a Linux guest to a shell"
	@echo "make check         install what is missing, build, run every test"
	@echo "make deps          only install what building and the guest need"
	@echo "make unit          unit tests            make check-deps   include rules"
	@echo "make check-stock   boot iPXE and Debian's own kernel (minutes on a software KVM)"
	@echo "make bench         side by side with QEMU (tests/bench/run says what there is)"
	@echo "make fuzz-long     fuzz each target for 10 minutes"
	@echo "make tidy, format  clang-tidy and cppcheck, clang-format"
	@echo "make install       PREFIX=$(PREFIX), DESTDIR="

clean:
	rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
.PHONY: all bench-bin img-bin unit unit-bin tsan-bin guests fuzz-objects fuzz-bin deps run check fuzz-suite san-suite tsan-suite check-deps check-stock bench \
	fuzz-long tidy format install uninstall help clean
