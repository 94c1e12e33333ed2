# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The graphics card under SeaBIOS and its VGA BIOS: what the screen shows in text, planar, 256-colour
# and VBE modes, by screendump and by -display text on a terminal.

need_seabios() {
	need_kvm
	[ -e /usr/share/seabios/vgabios-stdvga.bin ] || skip "no SeaBIOS with its VGA BIOS"
}

boot_sector() { # LETTER: the disk $T/disk
	cp "$G/vgaboot.bin" "$T/disk"
	printf '%s' "$1" | dd of="$T/disk" bs=1 seek=3 conv=notrunc status=none
	truncate -s 1M "$T/disk"
}

# Boots the sector, waits until it has drawn, and leaves the screen in $T/screen.ppm.
drawn() { # LETTER [OPTION...]
	local i
	need_seabios
	boot_sector "$1"
	shift
	start_vm -display none -serial none -drive "file=$T/disk,format=raw,if=virtio" -debugcon "file:$T/debug" \
		-qmp "unix:$T/qmp,server=on,wait=off" "$@"
	for ((i = 0; i < 1500; i++)); do
		! grep -qa '^drawn' "$T/debug" 2>/dev/null || break
		sleep 0.02
	done
	[ "$i" -lt 1500 ] || fail "it did not draw: $(tail -n 3 "$T/debug")"
	qmp '{"execute":"screendump","arguments":{"filename":"'"$T"'/screen.ppm"}}' \
		'{"execute":"screendump","arguments":{"filename":"'"$T"'/screen.png","format":"png"}}' \
		'{"execute":"quit"}' >"$T/answers" || fail "the monitor did not answer"
	expect_not "$T/answers" '"error"'
	wait_vm
	expect_status 0
	[ "$(head -c 4 "$T/screen.png" | tail -c 3)" = PNG ] || fail "no PNG file"
}

expect_size() { # WIDTH HEIGHT
	[ "$(head -n 2 "$T/screen.ppm" | tail -n 1)" = "$1 $2" ] || fail "the screen is $(head -n 2 "$T/screen.ppm" | tail -n 1)"
	width=$1
}

expect_pixel() { # X Y RRGGBB
	local is
	is=$(tail -c +$((16 + 3 * ($2 * width + $1))) "$T/screen.ppm" | head -c 3 | od -An -tx1 | tr -d ' ')
	[ "$is" = "$3" ] || fail "pixel $1,$2 is $is, not $3"
}

t_vga_mode_13() {
	drawn g
	expect_size 640 400
	expect_pixel 0 0 000000
	expect_pixel 0 2 0000aa
	expect_pixel 639 9 aa0000
	expect_pixel 320 31 ffffff
	expect_pixel 17 64 0000ff
}

t_vga_mode_12() {
	drawn p
	expect_size 640 480
	expect_pixel 101 50 0000aa
	expect_pixel 106 50 aa5500
	expect_pixel 115 50 ffffff
	expect_pixel 116 50 000000
	expect_pixel 115 51 000000
}

t_vga_vbe() {
	drawn v -vga std
	expect_size 640 480
	expect_pixel 0 0 ff0000
	expect_pixel 639 0 ff0000
	expect_pixel 0 1 000000
	# The second bank starts at byte 65536: line 51, pixel 128.
	expect_pixel 127 51 000000
	expect_pixel 128 51 0000ff
	expect_pixel 143 51 0000ff
	expect_pixel 144 51 000000
}

t_vga_std_mode_13() {
	drawn g -vga std
	expect_size 640 400
	expect_pixel 17 64 0000ff
}

t_vga_text() {
	drawn t
	expect_size 720 400
}

# A regular expression of a text as it comes: by and by, where the guest is slow, and without
# the blanks that were there already.
as_it_comes() { # TEXT
	local i re=
	for ((i = 0; i < ${#1}; i++)); do
		[ "${1:i:1}" = ' ' ] || re+="${1:i:1}"
		re+=$'(\e\[[0-9;?]*[A-Za-z]| )*'
	done
	printf '%s' "$re"
}

# What the letters are is seen on a terminal.
t_vga_display_text() {
	need_seabios
	boot_sector t
	status=0
	"$TALK" -t 40 -e "$(as_it_comes 'Booting from')" -e "$(as_it_comes 'Hello by INT 10h')" -s '\x01x' env TERM=xterm "$POSADA" -display text \
		-drive "file=$T/disk,format=raw,if=virtio" >"$T/out" 2>&1 || status=$?
	expect_status 0
	expect_in "$T/out" $'\e\\[\\?1049h' $'\e\\[\\?1049l'
}

# Firmware on a terminal shows its screen there; the monitor is behind Ctrl-A c.
t_vga_text_is_the_default() {
	need_seabios
	boot_sector t
	status=0
	"$TALK" -t 40 -e "$(as_it_comes 'Hello by INT 10h')" -s '\x01c' -e '\(posada\)' -s 'info name\r' -s '\x01c' -e 'Hello by INT 10h' \
		-s '\x01h' -e 'C-a x' -s 'x' -e 'Hello by INT 10h' -k 15 env TERM=xterm "$POSADA" \
		-drive "file=$T/disk,format=raw,if=virtio" >"$T/out" 2>&1 || status=$?
	expect_status 0
}

t_vga_screendump_option() {
	local i
	need_seabios
	boot_sector g
	start_vm -display none -serial none -drive "file=$T/disk,format=raw,if=virtio" -debugcon "file:$T/debug" \
		-screendump "$T/screen.ppm"
	for ((i = 0; i < 1500; i++)); do
		! grep -qa '^drawn' "$T/debug" 2>/dev/null || break
		sleep 0.02
	done
	kill "$vm"
	wait_vm
	expect_status 0
	expect_size 640 400
	expect_pixel 0 2 0000aa
	vm -vga none -display none -screendump x
	refused 64 '-screendump' 'no graphics card'
}

t_vga_text_scroll() { checked textscroll -vga std -append n=200; }

t_vga_none() {
	vm -display text -vga none
	refused 64 'no graphics card' '-vga cirrus'
	vm -display text -kernel "$G/hello.elf"
	refused 64 'no graphics card'
	vm -vga ega -display none
	refused 64 "no graphics card 'ega'" '-vga cirrus.*-vga std'
	vm -vga help
	expect_status 0
	expect_out '^cirrus +' '^std +' '^none +'
	vm -device VGA,vgamem_mb=3 -display none
	refused 64 'vgamem_mb=3'
	vm -vga none -device cirrus-vga,vgamem_mb=3 -display none
	refused 64 'vgamem_mb=3' '4 MiB at most'
}

# Messages wait until the screen is gone; the terminal is as it was (talk looks at that).
t_vga_messages_come_after_the_screen() {
	need_seabios
	status=0
	"$TALK" -t 40 -e "$(as_it_comes 'Booting from')" -k 15 env TERM=xterm "$POSADA" -display text >"$T/out" 2>&1 || status=$?
	expect_status 0
	tr -d '\n' <"$T/out" | grep -qaE $'\e\\[\\?1049l.*stopped by SIGTERM' || fail "no message after the screen"
}

t_vga_two_cards() {
	need_kvm
	vm "${BIOS[@]}" -device VGA -device VGA
	refused 64 '-device VGA: the machine has a graphics card already: vga' 'one card'
	vm "${BIOS[@]}" -vga std -device VGA,id=v
	refused 64 '-device VGA,id=v: the machine has a graphics card already'
	vm "${BIOS[@]}" -vga cirrus -device VGA
	refused 64 '-device VGA: .*already: cirrus-vga'
	boot_disk "$T/disk" q
	bios -device VGA,vgamem_mb=8 -hda "$T/disk" # in the place of the one that is there by itself
	expect_status 33
}
