# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# virtio's keyboard, mouse and tablet under Linux: what the monitor does comes out of /dev/input.

# Boots Linux with the program evread, and waits until that listens.
listening() { # OPTION...
	need_kvm
	guests/linux/tools "$T/tools.cpio" evread || fail 'no archive of tools'
	cat "$INITRAMFS" "$T/tools.cpio" >"$T/initrd"
	mkfifo "$T/in"
	exec 5<>"$T/in"
	in=$T/in start_vm -nographic -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$T/initrd" -append "$append" \
		-qmp "unix:$T/qmp,server=on,wait=off" "$@"
	wait_slow "^Type 'exit'"
	echo evread >&5
	wait_slow '^evread: ready'
}

wait_slow() { # REGEX: as wait_out, for what comes from a whole boot on a busy host
	local i
	for ((i = 0; i < 2400; i++)); do
		! grep -aqE -- "$1" "$T/out" || return 0
		kill -0 "$vm" || break
		sleep 0.1
	done
	fail "no output like: $1"
}

events() { # EVENT...: to the machine, in one command
	local IFS=,
	qmp "{\"execute\":\"input-send-event\",\"arguments\":{\"events\":[$*]}}" >"$T/answer"
	expect_not "$T/answer" '"error"'
}
axis() { # rel|abs AXIS VALUE
	echo "{\"type\":\"$1\",\"data\":{\"axis\":\"$2\",\"value\":$3}}"
}
button() { # NAME true|false
	echo "{\"type\":\"btn\",\"data\":{\"button\":\"$1\",\"down\":$2}}"
}

escape_ends() { # evread ends by a key of the keyboard it reads, and Linux by a signal
	qmp "$(human_key 'sendkey esc')" >/dev/null
	wait_out '^Posada virtio keyboard: key1=1'
	wait_out '^Posada virtio keyboard: key1=0'
	kill -INT "$vm"
	wait_vm
	expect_status 0
	expect_not "$T/err" 'guest:'
}

limit[linux_virtio_input]=290
t_linux_virtio_input() {
	listening -device virtio-keyboard-pci,serial=k-1 -device virtio-mouse-pci -device virtio-tablet-pci
	expect_out '^device: Posada virtio keyboard: key led rep id=0006:1af4:0001 serial=k-1' \
		'^device: Posada virtio mouse: key rel id=0006:1af4:0002' \
		'^device: Posada virtio tablet: key rel abs x=0\.\.32767 y=0\.\.32767 id=0006:1af4:0003'
	qmp "$(human_key 'info mice')" >"$T/answer"
	expect_in "$T/answer" '\* Mouse #0: virtio tablet \(absolute\)'
	# Held for long enough, the guest repeats it; let go, it ends.
	qmp "$(human_key 'sendkey a 1500')" >/dev/null
	wait_out '^Posada virtio keyboard: key1e=1'
	wait_out '^Posada virtio keyboard: key1e=2'
	wait_out '^Posada virtio keyboard: key1e=0'
	events "$(axis abs x 100)" "$(axis abs y 32767)" "$(button left true)"
	wait_out '^Posada virtio tablet: abs0=100 abs1=32767 key110=1'
	events "$(button left false)" "$(button wheel-up true)"
	wait_out '^Posada virtio tablet: rel8=1 key110=0'
	# The lamp that Linux lights comes back to it from the device's own list of events.
	qmp "$(human_key 'sendkey caps_lock')" >/dev/null
	wait_out '^Posada virtio keyboard: .*led1=1'
	expect_not "$T/out" 'virtio mouse: rel'
	expect_not "$T/out" '^AT Translated.* key'
	escape_ends
}

limit[linux_virtio_input_mmio]=290
t_linux_virtio_input_mmio() {
	listening -device virtio-keyboard-device -device virtio-mouse-device
	expect_out '^device: Posada virtio keyboard:' '^device: Posada virtio mouse:'
	qmp "$(human_key 'mouse_move 7 -300 -2')" >/dev/null
	wait_out '^Posada virtio mouse: rel0=7 rel1=-300 rel8=-2'
	events "$(button side true)" "$(button extra true)" "$(button middle true)" "$(axis rel x 1)"
	wait_out '^Posada virtio mouse: rel0=1 key112=1 key113=1 key114=1'
	events "$(button side false)" "$(button extra false)" "$(button middle false)"
	wait_out '^Posada virtio mouse: key112=0 key113=0 key114=0'
	qmp "$(human_key 'sendkey shift-b')" >/dev/null
	wait_out '^Posada virtio keyboard: key2a=1'
	wait_out '^Posada virtio keyboard: key30=1'
	escape_ends
}
