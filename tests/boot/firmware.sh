# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The BIOS: guests/boot16 started from each device, the order of booting, resets, what cannot boot.

BIOS=(-nographic -m 64 -device isa-debug-exit,iobase=0x501,iosize=2)
need_bios() {
	need_kvm
	[ -e /usr/share/seabios/bios-256k.bin ] || skip 'no SeaBIOS (package seabios)'
}
boot_disk() { # FILE [COMMAND]: 8 MiB, started by a boot sector that does COMMAND (see guests/boot16/sector.S)
	cp $G/sector.img "$1"
	truncate -s 8M "$1"
	[ -z "${2:-}" ] || printf %s "$2" | dd of="$1" bs=1 seek=$((0x1b0)) conv=notrunc status=none
}
boot_cd() { # FILE [COMMAND]
	need xorriso
	mkdir "$1.tree"
	boot_disk "$1.tree/boot.img" "${2:-}"
	truncate -s 4096 "$1.tree/boot.img"
	xorriso -as mkisofs -quiet -o "$1" -b boot.img -no-emul-boot -boot-load-size 8 "$1.tree" >/dev/null 2>&1 ||
		fail 'xorriso made no ISO image'
}
# The BIOS with these options; the boot sector's lines are in $T/log.
bios() {
	need_bios
	seconds=${seconds:-50} vm "${BIOS[@]}" -debugcon "file:$T/debug" "$@"
	sed -n '/^boot sector/,$p' "$T/debug" >"$T/log"
}
# All of its services.
services() {
	bios "$@"
	expect_not "$T/log" FAIL
	expect_in "$T/log" '^all is well' '^e820 0000000000000000 000000000009fc00 01' '^e820 0000000000100000 0000000003[a-f0-9]{6} 01'
	[ "$(grep -c '^ok' "$T/log")" -ge "${want:-25}" ] || fail "too few checks: $(cat "$T/log")"
	expect_status 33
	expect_out 'Teletype output'
}
wrote_sector_100() {
	dd if="$T/disk" bs=512 skip=100 count=1 status=none | grep -q '^\(TIT!\)\{128\}$' || fail 'sector 100 is not what the guest wrote'
}

t_bios_ide() {
	boot_disk "$T/disk"
	services -drive "file=$T/disk,format=raw"
	expect_out 'Booting from Hard Disk'
	wrote_sector_100
}
t_bios_virtio() {
	boot_disk "$T/disk"
	services -drive "file=$T/disk,format=raw,if=virtio"
	expect_out 'Booting from Hard Disk'
	wrote_sector_100
}
t_bios_qcow2() {
	need qemu-img
	boot_disk "$T/disk"
	qemu-img convert -q -f raw -O qcow2 "$T/disk" "$T/disk.qcow2"
	services -hda "$T/disk.qcow2"
	qemu-img convert -q -f qcow2 -O raw "$T/disk.qcow2" "$T/disk"
	wrote_sector_100
}
t_bios_cd() {
	boot_cd "$T/iso"
	want=18 services -cdrom "$T/iso"
	expect_out 'Booting from DVD/CD'
	expect_in "$T/log" 'drive e0'
}
t_bios_smp() {
	boot_disk "$T/disk"
	services -smp 3 -drive "file=$T/disk,format=raw"
	expect_in "$T/debug" 'Found 3 cpu'
}
t_bios_other_file() { # the small SeaBIOS, by -L and by its path
	boot_disk "$T/disk" q
	mkdir "$T/rom"
	cp /usr/share/seabios/bios.bin "$T/rom/mine.bin" 2>/dev/null || skip 'no bios.bin'
	bios -L "$T/rom" -bios mine.bin -hda "$T/disk"
	expect_status 33
	bios -bios "$T/rom/mine.bin" -drive "file=$T/disk,format=raw"
	expect_status 33
}

# --- resets: the second start of the boot sector ends
bios_reset() { # COMMAND
	boot_disk "$T/disk" "$1"
	bios -drive "file=$T/disk,format=raw"
	expect_status 33
	[ "$(grep -ac '^boot sector' "$T/log")" = 2 ] || fail 'not started twice'
}
t_bios_reset_cf9() { bios_reset c; }
t_bios_reset_92() { bios_reset 9; }
t_bios_reset_8042() { bios_reset k; }
t_bios_no_reboot() {
	boot_disk "$T/disk" c
	bios -drive "file=$T/disk,format=raw" -no-reboot
	expect_status 0
	[ "$(grep -ac '^boot sector' "$T/log")" = 1 ] || fail 'not started once'
}

# --- the order
order_is() { # FIRST [SECOND...]: what the BIOS tries
	local got
	got=$(tr -d '\r' <"$T/out" | grep -aoE 'Booting from [A-Za-z/ ]*' | sed 's/Booting from //' | tr '\n' ,)
	[ "$got" = "$1" ] || fail "booted from $got, not $1"
}
t_bios_order() {
	boot_disk "$T/disk" q
	boot_cd "$T/iso" q
	local both=(-drive "file=$T/disk,format=raw" -cdrom "$T/iso")
	bios "${both[@]}"
	order_is 'Hard Disk,'
	bios "${both[@]}" -boot d
	order_is 'DVD/CD,'
	bios "${both[@]}" -boot order=dc
	order_is 'DVD/CD,'
	bios "${both[@]}" -boot c
	order_is 'Hard Disk,'
	expect_status 33
}
t_bios_once() { # the CD's boot sector resets, and then it is the disk's turn
	boot_disk "$T/disk" q
	boot_cd "$T/iso" c
	bios -drive "file=$T/disk,format=raw" -cdrom "$T/iso" -boot once=d
	expect_status 33
	order_is 'DVD/CD,Hard Disk,'
}
t_bios_bootindex() {
	boot_disk "$T/disk" q
	truncate -s 1M "$T/empty"
	local both=(-drive "file=$T/empty,format=raw" -drive "file=$T/disk,format=raw,if=none,id=v")
	bios "${both[@]}" -device virtio-blk-pci,drive=v,bootindex=0
	expect_status 33
	order_is 'Hard Disk,'
	boot_cd "$T/iso" q
	bios "${both[@]}" -device virtio-blk-pci,drive=v,bootindex=7 -drive "file=$T/iso,format=raw,if=none,media=cdrom,id=c" \
		-device ide-cd,drive=c,bus=ide.1,unit=1,bootindex=3
	order_is 'DVD/CD,'
	bios -nodefaults -serial stdio -drive "file=$T/empty,format=raw,if=none,id=e" -device ide-hd,drive=e,bootindex=1 \
		-drive "file=$T/iso,format=raw,if=none,media=cdrom,id=c" -device ide-cd,drive=c,bootindex=2
	expect_status 33
	expect_out 'not a bootable disk'
	order_is 'Hard Disk,DVD/CD,'
}
t_bios_strict() {
	boot_disk "$T/disk" q
	truncate -s 1M "$T/empty"
	in=/dev/null start_vm "${BIOS[@]}" -drive "file=$T/disk,format=raw" -drive "file=$T/empty,format=raw,if=none,id=v" \
		-device virtio-blk-pci,drive=v,bootindex=0 -boot strict=on
	need_bios
	wait_out 'No bootable device'
	kill "$vm"
	wait_vm
	order_is 'Hard Disk,'
}
t_bios_menu() {
	need_bios
	boot_disk "$T/disk" q
	boot_cd "$T/iso" q
	status=0
	"$TALK" -t 50 -e 'Press ESC for boot menu' -s '\x1b' -e 'Select boot device' -e '2\. DVD/CD' -s 2 -e 'Booting from DVD/CD' -e . \
		"$POSADA" "${BIOS[@]}" -drive "file=$T/disk,format=raw" -cdrom "$T/iso" -boot menu=on,splash-time=20000 >"$T/out" 2>"$T/err" || status=$?
	expect_status 33
}

# --- what cannot boot: told by the BIOS on its console, and by posada on the terminal
does_not_boot() { # REGEX OPTION...
	local why=$1
	shift
	need_bios
	start_vm "${BIOS[@]}" "$@"
	wait_out 'No bootable device'
	kill "$vm"
	wait_vm
	expect_status 0
	expect_err "found nothing to boot from.*$why"
	expect_not "$T/out" 'Retrying'
}
t_bios_not_bootable() {
	truncate -s 1M "$T/empty"
	does_not_boot 'Hard Disk: not a bootable disk' -drive "file=$T/empty,format=raw"
	expect_out 'Boot failed: not a bootable disk'
	does_not_boot 'Hard Disk: not a bootable disk' -drive "file=$T/empty,format=raw,if=virtio"
}
t_bios_empty_cd() { does_not_boot 'DVD/CD: Could not read from CDROM' -boot d; }
t_bios_no_disk() { does_not_boot '' -nodefaults -serial stdio; }
t_bios_truncated_iso() { # with its volume descriptors, without what they name; and without these
	boot_cd "$T/iso"
	cp "$T/iso" "$T/short"
	truncate -s 36K "$T/short"
	does_not_boot 'DVD/CD: Could not read from CDROM' -cdrom "$T/short"
	truncate -s 20K "$T/short"
	does_not_boot 'DVD/CD: Could not read from CDROM' -cdrom "$T/short"
}
t_bios_reboot_timeout() {
	need_bios
	truncate -s 1M "$T/empty"
	start_vm "${BIOS[@]}" -drive "file=$T/empty,format=raw" -boot reboot-timeout=500 -no-reboot
	wait_vm # ends by the BIOS's reset
	expect_status 0
	expect_out 'Rebooting'
}

# --- option ROMs
# A ROM that says so on port 0x402 and has nothing to boot: 55 aa, length in 512 bytes, code, checksum.
tiny_rom() { # FILE
	printf '%s\n' '.code16' '.byte 0x55,0xaa,1' 'jmp 1f' '.org 0x18' '.word pcir' '1: push %ax' 'push %dx' 'push %si' 'push %cs' 'pop %ds' \
		'mov $text,%si' 'mov $0x402,%dx' '2: lodsb' 'test %al,%al' 'jz 3f' 'out %al,%dx' 'jmp 2b' '3: pop %si' 'pop %dx' 'pop %ax' 'lret' \
		'text: .asciz "option ROM of ours runs\n"' '.balign 4' 'pcir: .ascii "PCIR"' '.word 0x1234,0x7e57,0,24' '.byte 0,0,0,0xff' \
		'.word 1,1' '.byte 0,0x80' '.word 0' '.org 512' >"$T/rom.S"
	gcc -m32 -c -o "$T/rom.o" "$T/rom.S" && objcopy -O binary -j .text "$T/rom.o" "$1" || fail 'the ROM does not assemble'
	local sum
	sum=$(od -An -v -tu1 "$1" | awk '{ for (i = 1; i <= NF; i++) s += $i } END { print (256 - s % 256) % 256 }')
	# shellcheck disable=SC2059
	printf "\\$(printf %03o "$sum")" | dd of="$1" bs=1 seek=511 conv=notrunc status=none
}
t_bios_option_rom() {
	need gcc objcopy
	tiny_rom "$T/rom"
	boot_disk "$T/disk" q
	bios -drive "file=$T/disk,format=raw" -device "pci-testdev,romfile=$T/rom"
	expect_status 33
	expect_in "$T/debug" '^option ROM of ours runs'
	bios -drive "file=$T/disk,format=raw" -device "pci-testdev,romfile=$T/rom,rombar=0"
	expect_not "$T/debug" '^option ROM of ours runs'
}

# --- -bios, -L
t_bios_bad_file() {
	boot_disk "$T/disk"
	vm "${BIOS[@]}" -bios "$T/nothing"
	refused 66 '-bios .*nothing: no such firmware file'
	vm "${BIOS[@]}" -bios OVMF-of-mine.fd
	refused 66 'OVMF-of-mine.fd: no such firmware file' 'package ovmf'
	vm "${BIOS[@]}" -bios vgabios-mine.bin -L "$T"
	refused 66 'no such firmware file' 'package seabios'
	: >"$T/empty"
	vm "${BIOS[@]}" -bios "$T/empty"
	refused 66 'empty is empty'
	truncate -s 70000 "$T/odd"
	vm "${BIOS[@]}" -bios "$T/odd"
	refused 66 'odd: its size of 70000 bytes is not a multiple of 64 KiB' '64 KiB to 16 MiB'
	truncate -s 17M "$T/large"
	vm "${BIOS[@]}" -bios "$T/large"
	refused 66 'large.* 16384 KiB'
	vm "${BIOS[@]}" -kernel $G/hello.elf -bios bios-256k.bin
	refused 66 'hello.elf: firmware starts Linux bzImages only' 'leave out -bios'
	vm "${BIOS[@]}" -bios "$T"
	refused 66 'no such firmware file|regular file'
}
t_bios_bad_boot() {
	vm "${BIOS[@]}" -boot cx
	refused 64 "-boot cx: order=cx: there is no boot device 'x'" 'order=dc'
	vm "${BIOS[@]}" -boot order=cc
	refused 64 "'c' is there twice"
	vm "${BIOS[@]}" -boot menu=maybe
	refused 64 'menu=maybe: on or off'
	vm "${BIOS[@]}" -boot splash-time=100000
	refused 64 'splash-time=100000: at most 65535'
	vm "${BIOS[@]}" -boot ordr=c
	refused 64 'ordr' 'order'
	truncate -s 1M "$T/1" "$T/2"
	vm "${BIOS[@]}" -drive "file=$T/1,format=raw,if=none,id=a" -drive "file=$T/2,format=raw,if=none,id=b" \
		-device ide-hd,drive=a,bootindex=1 -device virtio-blk-pci,drive=b,bootindex=1
	refused 64 'bootindex=1: ide-hd.* has that place already' 'bootindex of its own'
}
t_bios_bad_fw_cfg() {
	vm "${BIOS[@]}" -fw_cfg name=opt/x
	refused 64 '-fw_cfg name=opt/x'
	vm "${BIOS[@]}" -fw_cfg "name=opt/x,file=$T/nothing"
	refused 66 'nothing'
}

# --- files without options
t_auto_disk() {
	need_bios
	boot_disk "$T/disk" q
	vm -device isa-debug-exit,iobase=0x501,iosize=2 "$T/disk"
	expect_status 33
	expect_err "the same as: posada -device isa-debug-exit,iobase=0x501,iosize=2 -hda $T/disk -m 512"
	order_is 'Hard Disk,'
}
t_auto_iso_and_disk() { # from the CD first, then from the disk
	need_bios
	boot_disk "$T/disk" q
	boot_cd "$T/iso" c
	bios "$T/iso" "$T/disk"
	expect_status 33
	expect_err "the same as: posada .* -cdrom $T/iso -hda $T/disk -boot once=d"
	order_is 'DVD/CD,Hard Disk,'
}
t_auto_iso() {
	need_bios
	boot_cd "$T/iso" q
	bios "$T/iso"
	expect_status 33
	expect_err "the same as: posada .* -cdrom $T/iso -boot d"
	order_is 'DVD/CD,'
}
t_auto_kernel() {
	need_kvm
	echo 070701 >"$T/initrd"
	vm -device isa-debug-exit,iobase=0x501,iosize=2 -nographic $G/hello.elf "$T/initrd"
	expect_status 33
	expect_err "the same as: posada .* -kernel $G/hello.elf -initrd $T/initrd"
	expect_out 'Hello from 64-bit mode'
}
t_auto_refused() {
	echo 'just text' >"$T/text"
	vm "$T/text"
	refused 66 "$T/text is no ISO image.*a text file" '-hda'
	vm "$T"
	refused 66 'is a directory' 'fsdev'
	vm hda
	refused 66 'hda: No such file' '-help'
}

# --- flash
ovmf_files() { # $T/code, $T/vars
	local dir=/usr/share/OVMF
	[ -e $dir/OVMF_CODE.fd ] || skip 'no OVMF (package ovmf)'
	cp $dir/OVMF_CODE.fd "$T/code"
	cp $dir/OVMF_VARS.fd "$T/vars"
	FLASH=(-drive "if=pflash,format=raw,unit=0,readonly=on,file=$T/code" -drive "if=pflash,format=raw,unit=1,file=$T/vars")
}
t_flash_bios() { # SeaBIOS in a flash; below a -bios
	need_bios
	boot_disk "$T/disk" q
	cp /usr/share/seabios/bios-256k.bin "$T/bios"
	bios -drive "if=pflash,format=raw,file=$T/bios" -drive "file=$T/disk,format=raw"
	expect_status 33
	bios -bios "$T/bios" -drive "if=pflash,format=raw,unit=1,file=$T/bios" -drive "file=$T/disk,format=raw"
	expect_status 33
	cmp "$T/bios" /usr/share/seabios/bios-256k.bin || fail 'the file was changed'
}
t_flash_refused() {
	truncate -s 64K "$T/1" "$T/2" "$T/3"
	truncate -s 5000 "$T/odd"
	truncate -s 17M "$T/large"
	vm "${BIOS[@]}" -drive "if=pflash,format=raw,unit=1,file=$T/1"
	refused 64 'unit=1: there is no unit 0' 'OVMF_CODE.fd'
	vm "${BIOS[@]}" -drive "if=pflash,format=raw,file=$T/1" -drive "if=pflash,format=raw,unit=0,file=$T/2"
	refused 64 "file=$T/2: if=pflash,unit=0: another flash is there"
	vm "${BIOS[@]}" -drive "if=pflash,format=raw,unit=2,file=$T/1"
	refused 64 'there are units 0 and 1'
	need_bios
	vm "${BIOS[@]}" -bios bios-256k.bin -drive "if=pflash,format=raw,unit=0,file=$T/1"
	refused 64 'unit=0 is the firmware, and so is -bios'
	vm "${BIOS[@]}" -drive "if=pflash,format=raw,file=$T/odd"
	refused 66 '5000 bytes is not a multiple of 4 KiB' 'OVMF_VARS'
	vm "${BIOS[@]}" -drive "if=pflash,format=raw,file=$T/large"
	refused 66 'more than 16 MiB'
}
# OVMF prints nothing before its console is up; that it has come to 64-bit mode, with paging, its registers show.
t_ovmf_starts() {
	local i
	need_kvm
	ovmf_files
	start_vm -m 256 -nodefaults -display none -serial "file:$T/serial" "${FLASH[@]}" -qmp "unix:$T/qmp,server=on,wait=off"
	for ((i = 0; i < 200; i++)); do
		[ ! -S "$T/qmp" ] || break
		sleep 0.02
	done
	for ((i = 0; i < 100; i++)); do
		qmp "$(human 'info registers')" >"$T/answers" 2>/dev/null || :
		! grep -q '64-bit mode' "$T/answers" || break
		kill -0 "$vm" 2>/dev/null || break
		sleep 0.2
	done
	qmp '{"execute":"quit"}' >/dev/null || :
	wait_vm
	expect_status 0
	answers '64-bit mode, CPL 0'
}
limit[ovmf_console]=120
t_ovmf_console() {
	need_kvm
	ovmf_files
	! software_kvm || skip 'on a software KVM OVMF was still unpacking itself after seven minutes'
	in=/dev/null start_vm -m 256 -nographic -nodefaults -serial stdio "${FLASH[@]}"
	wait_out 'BdsDxe|UEFI Interactive Shell'
	kill "$vm"
	wait_vm
	! cmp -s "$T/vars" /usr/share/OVMF/OVMF_VARS.fd || fail 'no variable reached the drive'
}

# The tables as the BIOS has placed them: iasl reads its DSDT without complaint.
t_bios_acpi() {
	local at len
	need_bios
	need iasl
	start_vm -m 64 -nodefaults -display none -debugcon "file:$T/debug" -serial "file:$T/out" -qmp "unix:$T/qmp,server=on,wait=off"
	wait_out 'No bootable device'
	read -r at len < <(sed -n 's/.*ACPI: parse DSDT at \(0x[0-9a-f]*\) (len \([0-9]*\)).*/\1 \2/p' "$T/debug" | tail -1)
	[ -n "$len" ] || fail 'the BIOS found no DSDT'
	qmp "$(human "pmemsave $at $len $T/dsdt.aml")" '{"execute":"quit"}' >"$T/answers" || :
	wait_vm
	expect_status 0
	iasl -d "$T/dsdt.aml" >"$T/iasl" 2>&1 || fail "iasl: $(cat "$T/iasl")"
	expect_not "$T/iasl" 'Warning|Error'
	expect_in "$T/dsdt.dsl" 'DefinitionBlock' '_S5' 'PNP0A03'
	iasl -we -p "$T/again" "$T/dsdt.dsl" >"$T/iasl" 2>&1 || fail "what was disassembled does not compile: $(tail -5 "$T/iasl")"
}
