# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Keys and movements from the monitor, as a guest's interrupts bring them.

typing() { # APPEND [OPTION...]: a guest that says which bytes the keyboard controller has for it
	local append=$1
	shift
	need_kvm
	start_vm -m 64 -display none -serial "file:$T/out" -qmp "unix:$T/qmp,server=on,wait=off" \
		-device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/kbd.elf -append "$append" "$@"
	wait_out '^ready'
}

typed() { # what came, on one line
	tr -d '\r' <"$T/out" | sed -n 's/^\(key\|mouse\) //p' | tr '\n' ' '
}

moved() { # what the mouse sent of it
	tr -d '\r' <"$T/out" | sed -n 's/^mouse //p' | tr '\n' ' '
}

came() { # BYTES
	[ "$(typed)" = "$1 " ] || fail "what came is $(typed)"
}

human_key() { # LINE
	echo "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"$1\"}}"
}

t_input_sendkey() {
	typing ''
	qmp "$(human_key 'sendkey a')" "$(human_key 'sendkey shift-b 1')" "$(human_key 'sendkey delete')" \
		"$(human_key 'sendkey pause')" "$(human_key 'sendkey print')" "$(human_key 'sendkey kp_enter')" \
		'{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"ctrl"},{"type":"number","data":45}]}}' \
		"$(human_key 'sendkey esc')" >"$T/answers"
	wait_vm
	expect_status 33
	came '1e 9e 2a 30 b0 aa e0 53 e0 d3 e1 1d 45 e1 9d c5 e0 2a e0 37 e0 b7 e0 aa e0 1c e0 9c 1d 2d ad 9d 1 81'
}

t_input_unknown_key() {
	typing ''
	qmp "$(human_key 'sendkey ctrl-escpae')" "$(human_key 'sendkey a-')" \
		'{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"nosuchkey"}]}}' \
		'{"execute":"input-send-event","arguments":{"events":[{"type":"key","data":{"down":1}}]}}' \
		"$(human_key 'sendkey esc')" >"$T/answers"
	wait_vm
	expect_status 33
	came '1 81' # nothing was pressed in part
	expect_in "$T/answers" "no key 'escpae'.*did you mean 'escape'" 'a key is missing after' "error.*no key 'nosuchkey'" \
		'error.*key: .*wanted'
}

mouse_sent() { # BYTES: all that the mouse has sent until now; waits until it has
	local i
	for ((i = 0; i < 500; i++)); do
		[ "$(moved)" != "$1 " ] || return 0
		sleep 0.02
	done
	fail "the mouse did not send $1 but $(typed)"
}

t_input_mouse() {
	local event='{"execute":"input-send-event","arguments":{"events":' rel='"type":"rel","data":{"axis":' sent
	typing mouse
	qmp "$(human_key 'info mice')" '{"execute":"query-mice"}' \
		"$event[{$rel\"x\",\"value\":5}},{$rel\"y\",\"value\":300}}]}}" >"$T/answers"
	expect_in "$T/answers" '\* Mouse #0: PS/2 mouse' '"current": true'
	sent='28 5 1 0 28 0 d3 0' # right and down, in two packets
	mouse_sent "$sent"
	qmp "$event[{\"type\":\"btn\",\"data\":{\"button\":\"left\",\"down\":true}}]}}" >/dev/null
	mouse_sent "$sent 9 0 0 0"
	qmp "$event[{\"type\":\"btn\",\"data\":{\"button\":\"wheel-up\",\"down\":true}}]}}" >/dev/null
	mouse_sent "$sent 9 0 0 0 9 0 0 ff"
	qmp "$(human_key 'mouse_button 4')" "$(human_key 'mouse_button 0')" "$(human_key 'mouse_move -1 -2 -1')" >/dev/null
	# The wheel is turned towards the user, which may come with the buttons' packet.
	wait_out '^mouse 1[^0-9a-f]'
	qmp "$(human_key 'sendkey esc')" >/dev/null
	wait_vm
	expect_status 33
	# The key's bytes may come between those of a packet.
	[[ " $(moved)" = *' a 0 0 0 '*'8 ff 2 1 '* ]] || fail "the mouse sent $(typed)"
}

t_input_seabios() { # Esc in time brings its menu, and a key chooses there
	local i
	need_kvm
	head -c 1048576 /dev/zero >"$T/disk"
	start_vm -m 64 -display none -serial "file:$T/out" -qmp "unix:$T/qmp,server=on,wait=off" -boot menu=on,splash-time=30000 \
		-drive "file=$T/disk,format=raw,if=virtio"
	for ((i = 0; i < 1000; i++)); do
		! grep -aq 'Press ESC' "$T/out" 2>/dev/null || break
		kill -0 "$vm" 2>/dev/null || break
		sleep 0.02
	done
	grep -aq 'SeaBIOS' "$T/out" || skip "no SeaBIOS: $(head -1 "$T/err")"
	qmp "$(human_key 'sendkey esc')" >/dev/null
	wait_out 'Select boot device'
	wait_out '1\. .*irtio'
	qmp "$(human_key 'sendkey 1')" >/dev/null
	wait_out 'Booting from Hard Disk'
	kill -INT "$vm"
	wait_vm
	expect_status 0
}

t_input_micro() { # the other board has the same controller
	typing '' -M micro
	qmp "$(human_key 'sendkey esc')" >/dev/null
	wait_vm
	expect_status 33
	came '1 81'
}

t_input_paste() { # text by the layout of -k: n with tilde is a key, @ takes AltGr; a Cyrillic letter is left out
	typing '' -k es
	qmp "$(human_key 'paste A@\\\\n')" '{"execute":"x-paste","arguments":{"text":"\\u00f1\\u0436"}}' "$(human_key 'sendkey esc')" \
		>"$T/answers"
	wait_vm
	expect_status 33
	came '2a 1e 9e aa e0 38 3 83 e0 b8 1c 9c 27 a7 1 81'
	expect_in "$T/answers" '"lost": 1'
}

t_input_unknown_layout() {
	vm -k en-uk -display none -kernel $G/hello.elf
	refused 64 '-k en-uk' "did you mean 'en-"
	vm -k 'us(nosuch)' -display none -kernel $G/hello.elf
	refused 64 '-k us\(nosuch\)'
	export XKB_CONFIG_ROOT=/nonexistent XKB_CONFIG_EXTRA_PATH=/nonexistent HOME=/nonexistent
	vm -k es -display none -kernel $G/hello.elf
	refused 69 '-k es' 'xkb-data'
	run "$POSADA" -k help
	expect_status 0
	expect_out 'pt-br'
}
