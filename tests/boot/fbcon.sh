# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux's framebuffer console and a program that draws, on each graphics card: the screen is
# compared with the kernel's own font, and with the picture as it is computed (screen.c).
SCREEN=build/tests/boot/screen

on_screen() { # COMMAND...: until it is content with $T/screen.ppm, as pixels come by and by
	local i
	for ((i = 0; i < 100; i++)); do
		qmp '{"execute":"screendump","arguments":{"filename":"'"$T"'/screen.ppm"}}' >"$T/answer"
		expect_not "$T/answer" '"error"'
		! "$@" >"$T/seen" 2>&1 || return 0
		kill -0 "$vm" || break
		sleep 0.3
	done
	fail "the screen is not as it should be ($*): $(head -n 5 "$T/seen")"
}

text_is() { # the screen's text is what $T/text has
	"$SCREEN" text "$LINUX_UP/vmlinux" "$T/screen.ppm" | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' | tee "$T/text_seen" |
		cmp "$T/text" -
}

pixel_is() { # X Y RRGGBB BITS: the highest bits of each colour
	local is
	is=$("$SCREEN" pixel "$T/screen.ppm" "$1" "$2") || return 1
	[ $((0x$is & $4)) = $((0x$3 & $4)) ] || { echo "pixel $1,$2 is $is"; return 1; }
}

# Text on the console, the picture, and marks where the pointer is pressed and for a key.
framebuffer() { # DRIVER BITS MASK OPTION...
	local driver=$1 bits=$2 mask=$3
	shift 3
	need_kvm
	guests/linux/tools "$T/tools.cpio" fbtest || fail 'no archive of tools'
	cat "$INITRAMFS" "$T/tools.cpio" >"$T/initrd"
	mkfifo "$T/in"
	exec 5<>"$T/in"
	in=$T/in start_vm -nographic -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$T/initrd" -append "$append video=640x480" \
		-qmp "unix:$T/qmp,server=on,wait=off" -device virtio-keyboard-pci -device virtio-tablet-pci "$@"
	wait_slow "^Type 'exit'"
	echo 'fbtest -g' >&5
	wait_slow "^fbtest: $driver[a-z]* 640x480x"

	# Every character that can be printed, in the usual colours, in red, and in reverse.
	{
		echo ' !"#$%&'"'"'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_'
		echo '`abcdefghijklmnopqrstuvwxyz{|}~'
	} >"$T/lines"
	cat "$T/lines" "$T/lines" "$T/lines" >"$T/text"
	{
		echo 'cat >/tmp/lines <<"end"'
		cat "$T/lines"
		echo end
		echo '{ printf "\033[?25l\033[2J\033[H"; cat /tmp/lines; printf "\033[31m"; cat /tmp/lines' \
			'; printf "\033[7m"; cat /tmp/lines; printf "\033[0m"; } >/dev/tty1'
	} >&5
	on_screen text_is

	echo 'fbtest -i' >&5
	wait_slow '^fbtest: ready'
	on_screen "$SCREEN" picture "$T/screen.ppm" "$bits"
	events "$(axis abs x 16384)" "$(axis abs y 32767)" "$(button left true)"
	wait_slow '^fbtest: pressed at 319,479'
	qmp "$(human_key 'sendkey z')" >/dev/null
	wait_slow '^fbtest: key 44 at 64,16'
	on_screen pixel_is 319 479 ff8000 "$mask"
	on_screen pixel_is 79 31 00ff80 "$mask"
	! "$SCREEN" picture "$T/screen.ppm" "$bits" >"$T/seen" || fail 'the marks are not seen'
	qmp "$(human_key 'sendkey esc')" >/dev/null
	kill -INT "$vm"
	wait_vm
	expect_status 0
	expect_not "$T/err" 'guest:'
}

limit[linux_fbcon_std]=290
t_linux_fbcon_std() {
	framebuffer bochs-drm 888 0xffffff -vga std
}

limit[linux_fbcon_cirrus]=290
t_linux_fbcon_cirrus() {
	"$POSADA" -device help 2>/dev/null | grep -q '^ *cirrus-vga' || skip 'this program has no cirrus-vga'
	framebuffer cirrus 565 0xf8fcf8 -vga none -device cirrus-vga
}
