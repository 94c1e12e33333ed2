# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The window of -display sdl, on an X server without a screen: what it shows, keys, the mouse, and
# its end. The boot sectors are those of vga.sh.
for t in sdl_shows sdl_keys sdl_idle sdl_close sdl_power_button sdl_server_gone; do limit[$t]=90; done

# An X server of the test's own, on a unix socket that nobody else has.
desktop() { # [SIZE]
	need Xvfb xdotool import
	need_seabios
	"$POSADA" -display help </dev/null | grep -q '^  sdl' || skip "this program was built without SDL"
	export HOME=$T XAUTHORITY=$T/none SDL_RENDER_DRIVER=software SDL_AUDIODRIVER=dummy
	unset WAYLAND_DISPLAY SDL_VIDEODRIVER XDG_RUNTIME_DIR
	mkfifo "$T/display"
	Xvfb -displayfd 9 -screen 0 "${1:-1280x1024x24}" -nolisten tcp -noreset 9>"$T/display" >"$T/x.log" 2>&1 &
	server=$!
	trap 'kill "$server" 2>/dev/null || :' EXIT
	read -r -t 30 display <"$T/display" || fail "Xvfb does not start: $(tail -n 3 "$T/x.log")"
	export DISPLAY=:$display
}

no_desktop() {
	kill "$server" 2>/dev/null || :
	wait "$server" 2>/dev/null || :
}

# $window is the number of posada's window once it is there.
wait_window() {
	local i
	for ((i = 0; i < 500; i++)); do
		window=$(xdotool search --onlyvisible --name '^in a window' 2>/dev/null) || :
		[ -z "$window" ] || return 0
		kill -0 "$vm" 2>/dev/null || fail "no window: $(head -n 2 "$T/err")"
		sleep 0.02
	done
	fail "there is no window"
}

# A boot sector's picture in a window.
window_vm() { # LETTER
	boot_sector "$1"
	start_vm -display sdl -name 'in a window' -serial none -drive "file=$T/disk,format=raw,if=virtio" -debugcon "file:$T/debug" \
		-qmp "unix:$T/qmp,server=on,wait=off"
	wait_window
	wait_debug '^drawn'
}

# The guest of input.sh, which says what its keyboard controller has for it.
window_typing() { # APPEND
	start_vm -m 64 -vga std -display sdl -name 'in a window' -serial "file:$T/out" -qmp "unix:$T/qmp,server=on,wait=off" \
		-device isa-debug-exit,iobase=0x501,iosize=2 -kernel "$G/kbd.elf" -append "$1"
	wait_out '^ready'
	wait_window
	xdotool windowfocus --sync "$window"
}

sent() { # WHICH BYTES: until typed or moved is these
	local i
	for ((i = 0; i < 250; i++)); do
		[ "$("$1")" != "$2 " ] || return 0
		sleep 0.02
	done
	fail "what came is $(typed)"
}

titled() { # REGEX
	local i
	for ((i = 0; i < 250; i++)); do
		! xdotool getwindowname "$window" | grep -qE "$1" || return 0
		sleep 0.02
	done
	fail "the title is $(xdotool getwindowname "$window")"
}

wait_debug() { # REGEX
	local i
	for ((i = 0; i < 1500; i++)); do
		! grep -qa "$1" "$T/debug" 2>/dev/null || return 0
		sleep 0.02
	done
	fail "the guest did not say $1: $(tail -n 3 "$T/debug")"
}

# Until the window's pixels are those of a screendump.
same_picture() {
	local i
	for ((i = 0; i < 100; i++)); do
		qmp '{"execute":"screendump","arguments":{"filename":"'"$T"'/screen.ppm"}}' >/dev/null
		import -silent -window "$window" -depth 8 "$T/window.ppm"
		! cmp -s "$T/screen.ppm" "$T/window.ppm" || return 0
		sleep 0.1
	done
	fail "the window differs from the screen: $(compare -metric AE "$T/screen.ppm" "$T/window.ppm" null: 2>&1 | tail -n 1) pixels"
}

end_vm_and_desktop() {
	kill "$vm"
	wait_vm
	expect_status 0
	no_desktop
}

# Each mode has a size of its own, which the window follows.
t_sdl_shows() {
	local i
	desktop
	window_vm g
	same_picture
	expect_size 640 400
	expect_pixel 0 2 0000aa
	# One of the user's sizes is kept to, with bars where the guest has no pixels.
	xdotool windowsize --sync "$window" 960 400
	for ((i = 0; i < 100; i++)); do
		import -silent -window "$window" -depth 8 "$T/screen.ppm"
		expect_size 960 400
		! (expect_pixel 480 31 ffffff) >/dev/null || break
		sleep 0.1
	done
	expect_pixel 480 31 ffffff
	expect_pixel 159 31 000000
	expect_pixel 160 31 ffffff
	expect_pixel 799 31 ffffff
	expect_pixel 800 31 000000
	end_vm_and_desktop
}

t_sdl_keys() {
	desktop
	window_typing ''
	xdotool key a
	sent typed '1e 9e'
	xdotool key shift+F1
	sent typed '1e 9e 2a 3b aa bb'
	# What the window keeps for itself; the guest has seen Ctrl and Alt.
	xdotool keydown ctrl keydown alt key d
	sent typed '1e 9e 2a 3b aa bb 1d 38 9d b8 1d 38 e0 53 e0 d3 b8 9d'
	xdotool keyup alt keyup ctrl
	# Keys come up when the window is no longer in use.
	xdotool keydown z
	sent typed '1e 9e 2a 3b aa bb 1d 38 9d b8 1d 38 e0 53 e0 d3 b8 9d 2c'
	xdotool search --maxdepth 0 '' windowfocus
	sent typed '1e 9e 2a 3b aa bb 1d 38 9d b8 1d 38 e0 53 e0 d3 b8 9d 2c ac'
	xdotool keyup z
	xdotool windowfocus --sync "$window" key Escape
	wait_vm
	expect_status 33
	no_desktop
}

t_sdl_mouse() {
	desktop
	window_typing mouse
	titled 'click'
	xdotool mousemove --sync --window "$window" 100 100 mousemove --window "$window" 120 90
	xdotool click 1 # this one is the window's
	titled 'Ctrl-Alt-G frees'
	[ -z "$(moved)" ] || fail "the mouse sent $(moved)"
	xdotool mousemove_relative 5 7
	sent moved '28 5 f9 0'
	xdotool mousedown 1
	sent moved '28 5 f9 0 9 0 0 0'
	xdotool mouseup 1 key ctrl+alt+g
	titled 'click'
	sent moved '28 5 f9 0 9 0 0 0 8 0 0 0'
	xdotool mousemove_relative 5 7
	# Another window gets what is typed: the pointer is free again.
	xdotool click 1
	titled 'Ctrl-Alt-G frees'
	xdotool search --maxdepth 0 '' windowfocus
	titled 'click'
	xdotool windowfocus --sync "$window" key Escape
	wait_vm
	expect_status 33
	sent moved '28 5 f9 0 9 0 0 0 8 0 0 0'
	no_desktop
}

switches() { # how often the window's thread was woken
	cat /proc/"$vm"/task/*/status | awk '/^Name:/ { window = $2 ~ /window/ } /^voluntary/ && window { n += $2 } END { print n }'
}

# The window sleeps while nothing changes.
t_sdl_idle() {
	local before after
	desktop
	window_vm g
	same_picture
	before=$(switches)
	sleep 2
	after=$(switches)
	[ $((after - before)) -le 2 ] || fail "$((after - before)) wake-ups in two seconds"
	end_vm_and_desktop
}

t_sdl_close() {
	desktop
	window_vm g
	build/tests/boot/xclose "$window"
	wait_vm
	expect_status 0
	expect_err 'stopped by closing the window'
	no_desktop
}

t_sdl_power_button() { # a guest that hears of it ends by itself; another is ended by the second time
	desktop
	for how in 'button enable' 'button enable deaf'; do
		rm -f "$T/out"
		start_vm -m 64 -vga std -display sdl -name 'in a window' -serial "file:$T/out" -kernel "$G/poweroff.elf" -append "$how"
		wait_out '^waiting for the power button'
		wait_window
		build/tests/boot/xclose "$window"
		pressed
		[ "$how" = 'button enable' ] || build/tests/boot/xclose "$window"
		wait_vm
		expect_status 0
		expect_err 'closing the window: .*closing it again stops it'
	done
	expect_err 'stopped by closing the window'
	no_desktop
}

t_sdl_server_gone() {
	local i
	desktop
	window_vm g
	kill -9 "$server"
	wait "$server" 2>/dev/null || :
	for ((i = 0; i < 250; i++)); do
		! grep -q 'desktop is gone' "$T/err" || break
		sleep 0.02
	done
	expect_err 'goes on without its window'
	qmp '{"execute":"query-status"}' '{"execute":"system_reset"}' '{"execute":"quit"}' >"$T/answers"
	expect_in "$T/answers" '"running"'
	wait_vm
	expect_status 0
}

t_sdl_no_desktop() {
	"$POSADA" -display help </dev/null | grep -q '^  sdl' || skip "this program was built without SDL"
	need_kvm
	unset DISPLAY WAYLAND_DISPLAY SDL_VIDEODRIVER
	vm -vga std -display sdl -kernel "$G/hello.elf"
	refused 69 '-display sdl' 'DISPLAY is not set' '-display text'
	export DISPLAY=:nosuch
	vm -vga std -display sdl -kernel "$G/hello.elf"
	refused 69 '-display sdl' 'cannot open a window' '-display web'
	vm -vga std -display sdl,full-scren=on -kernel "$G/hello.elf"
	refused 64 'full-screen'
}
