# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The standard modes of a VGA under SeaBIOS and its VGA BIOS: guests/boot16/modes.S draws a picture
# in each, which is compared with tests/boot/pictures/LETTER.png, pixel by pixel.

drawing() { # LINE: until the guest says so
	local i
	for ((i = 0; i < 2500; i++)); do
		! grep -qaE "^($1|failed)" "$T/debug" 2>/dev/null || break
		kill -0 "$vm" || break
		sleep 0.02
	done
	expect_in "$T/debug" "^$1"
}

pictures() { # CARD
	local letter
	need_kvm
	[ -e "/usr/share/seabios/vgabios-stdvga.bin" ] || skip "no SeaBIOS with its VGA BIOS"
	cp "$G/modes.img" "$T/disk"
	truncate -s 1M "$T/disk"
	start_vm -display none -vga "$1" -serial none -drive "file=$T/disk,format=raw,if=virtio" \
		-debugcon "file:$T/debug" -qmp "unix:$T/qmp,server=on,wait=off"
	drawing ready
	for letter in 0 1 2 3 4 5 6 d e g h i j k s p; do
		qmp "$(human_key "sendkey $letter")" >"$T/answer" || fail "the monitor did not answer"
		drawing "drawn $letter"
		qmp '{"execute":"screendump","arguments":{"filename":"'"$T/$letter"'.ppm"}}' >"$T/answer" ||
			fail "the monitor did not answer"
		expect_not "$T/answer" '"error"'
		build/tests/boot/same_picture "$T/$letter.ppm" "tests/boot/pictures/$letter.png" ||
			fail "picture $letter is not what it was to be"
	done
	kill "$vm"
	wait_vm
	expect_status 0
	expect_not "$T/err" 'guest:'
}

limit[modes_std]=200
t_modes_std() { pictures std; }

limit[modes_cirrus]=200
t_modes_cirrus() { pictures cirrus; }
