# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The Cirrus card: blits, by a bare-metal guest; and under SeaBIOS and its VGA BIOS, where
# guests/boot16/vbe.S sets VBE modes and draws, and what is shown is compared pixel by pixel.

t_blt() { checked blt -vga cirrus -append bench=20; }

need_cirrus_bios() {
	need_kvm
	[ -e /usr/share/seabios/vgabios-cirrus.bin ] || skip "no SeaBIOS with its VGA BIOS for Cirrus"
}

# Sets the mode by the BIOS, draws, and compares. MODE + 0x4000: through the linear framebuffer.
vbe_mode() { # MODE WIDTH HEIGHT BITS PITCH [OPTION...]
	local mode=$1 width=$2 height=$3 bits=$4 pitch=$5 i
	shift 5
	cp "$G/vbe.img" "$T/disk"
	printf "\\x$(printf %02x $((mode & 255)))\\x$(printf %02x $((mode >> 8)))" |
		dd of="$T/disk" bs=1 seek=$((0x1b0)) conv=notrunc status=none
	truncate -s 1M "$T/disk"
	rm -f "$T/debug"
	start_vm -display none -serial none -drive "file=$T/disk,format=raw,if=virtio" -debugcon "file:$T/debug" \
		-screendump "$T/screen.ppm" "$@"
	for ((i = 0; i < 2500; i++)); do
		! grep -qaE '^(drawn|failed)' "$T/debug" 2>/dev/null || break
		sleep 0.02
	done
	kill "$vm"
	wait_vm
	expect_status 0
	expect_in "$T/debug" "$(printf '^%04X %04X %04X %04X ' "$width" "$height" "$bits" "$pitch")" '^drawn'
	build/tests/boot/vbe_picture "$T/screen.ppm" "$width" "$height" "$bits" "$pitch" ||
		fail "mode $(printf %x "$mode") is not what was drawn"
}

limit[cirrus_vbe_8]=200
t_cirrus_vbe_8() {
	need_cirrus_bios
	vbe_mode 0x4101 640 480 8 640
	vbe_mode 0x4103 800 600 8 800
	vbe_mode 0x4105 1024 768 8 1024
	vbe_mode 0x4107 1280 1024 8 1280
}

limit[cirrus_vbe_15]=200
t_cirrus_vbe_15() {
	need_cirrus_bios
	vbe_mode 0x4110 640 480 15 1280
	vbe_mode 0x4113 800 600 15 1600
	vbe_mode 0x4116 1024 768 15 2048
	vbe_mode 0x4119 1280 1024 15 2560
}

limit[cirrus_vbe_16]=200
t_cirrus_vbe_16() {
	need_cirrus_bios
	vbe_mode 0x4111 640 480 16 1280
	vbe_mode 0x4114 800 600 16 1600
	vbe_mode 0x4117 1024 768 16 2048
	vbe_mode 0x411a 1280 1024 16 2560
}

limit[cirrus_vbe_24]=200
t_cirrus_vbe_24() {
	need_cirrus_bios
	vbe_mode 0x4112 640 480 24 1920
	vbe_mode 0x4115 800 600 24 2400
	vbe_mode 0x4118 1024 768 24 3072
}

limit[cirrus_vbe_banks]=200
t_cirrus_vbe_banks() {
	need_cirrus_bios
	vbe_mode 0x101 640 480 8 640
	vbe_mode 0x112 640 480 24 1920
	vbe_mode 0x111 640 480 16 1280 -vga none -device cirrus-vga,vgamem_mb=1
}
