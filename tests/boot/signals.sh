# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Being told to stop, in every state that a guest can be in, and the terminal afterwards.

hanging() { # SIGNAL HOW [OPTION...]
	local sig=$1 how=$2
	shift 2
	need_kvm
	start_vm -nographic -kernel $G/hang.elf -append "how=$how" "$@"
	wait_out '^hanging'
	sleep 0.2
	kill "-$sig" "$vm"
	wait_vm
	expect_status 0
}
t_sigterm_spin() { hanging TERM spin; }
t_sigterm_halt() { hanging TERM halt; }
t_sigterm_idle() { hanging TERM idle; }
t_sigterm_user() { hanging TERM user; }
t_sigterm_ports() { hanging TERM ports; }
t_sigint_spin() { hanging INT spin; }
t_sighup_idle() { hanging HUP idle; }
t_sigterm_smp() { hanging TERM spin -smp 4; }
t_sigterm_paused() {
	need_kvm
	start_vm -S -display none -serial none -monitor none -qmp "unix:$T/left/qmp,server=on,wait=off" -kernel $G/hang.elf
	for ((i = 0; i < 500; i++)); do
		[ ! -S "$T/left/qmp" ] || break
		sleep 0.01
	done
	[ -S "$T/left/qmp" ] || fail "no QMP socket"
	kill -TERM "$vm"
	wait_vm
	expect_status 0
}
# A guest that has enabled the power button is asked first.
power_button() { # APPEND: in the background, with a listener to it
	need_kvm
	start_vm -nographic -kernel $G/poweroff.elf -append "button $1"
	wait_out '^waiting for the power button'
}
pressed() {
	local i
	for ((i = 0; i < 500; i++)); do
		! grep -q "guest's power button was pressed" "$T/err" || return 0
		sleep 0.02
	done
	fail "the power button was not pressed: $(cat "$T/err")"
}
t_sigterm_asks() {
	power_button enable
	kill -TERM "$vm"
	wait_vm
	expect_status 0
	expect_out '^powering off'
	expect_err "power button was pressed; a second SIGTERM stops it"
	expect_not "$T/err" 'stopped by'
}
t_sigterm_twice() {
	power_button 'enable deaf'
	kill -TERM "$vm"
	pressed
	kill -0 "$vm" || fail "it has ended"
	kill -TERM "$vm"
	wait_vm
	expect_status 0
	expect_err 'stopped by SIGTERM'
}
t_sigterm_then_sigint() {
	power_button 'enable deaf'
	kill -TERM "$vm"
	pressed
	kill -INT "$vm"
	wait_vm
	expect_status 0
	expect_err 'stopped by SIGINT'
}
t_sigint_does_not_ask() {
	power_button enable
	kill -INT "$vm"
	wait_vm
	expect_status 0
	expect_err 'stopped by SIGINT'
}
t_sigterm_button_not_enabled() {
	power_button ''
	kill -TERM "$vm"
	wait_vm
	expect_status 0
	expect_err 'stopped by SIGTERM'
}
t_sigpipe() { # the reader of its output has gone
	need_kvm
	local rc
	timeout -k 5 30 "$POSADA" -nographic -device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/hello.elf \
		</dev/null 2>"$T/err" | head -c 1 >/dev/null
	rc=${PIPESTATUS[0]}
	case $rc in
	33 | 71) ;;
	*) fail "exit status is $rc" ;;
	esac
}

# --- on a terminal: $TALK gives 125 when the terminal is not as it was
on_terminal() { # EXPECTED-STATUS STEP... -- OPTION...
	local want=$1 steps=()
	shift
	while [ "$1" != -- ]; do
		steps+=("$1")
		shift
	done
	shift
	need_kvm
	status=0
	"$TALK" -t 30 "${steps[@]}" "$POSADA" "$@" >"$T/out" 2>"$T/err" || status=$?
	expect_status "$want"
}
hang=(-nographic -kernel build/guests/hang.elf -append)
exits=(-nographic -device isa-debug-exit,iobase=0x501,iosize=2 -kernel)

t_tty_ctrl_a_x() { on_terminal 0 -e '^hanging' -s '\x01x' -- "${hang[@]}" how=idle; }
t_tty_ctrl_a_x_busy() { on_terminal 0 -e '^hanging' -s '\x01x' -- "${hang[@]}" how=spin; }
t_tty_ctrl_a_h() { on_terminal 0 -e '^hanging' -s '\x01h' -e '[Cc]-?t?r?l?-?[Aa] *x' -s '\x01x' -- "${hang[@]}" how=idle; }
t_tty_ctrl_a_c() {
	on_terminal 0 -e '^hanging' -s '\x01c' -e 'posada\)|\(.*\)' -s 'info status\r' -e 'running' -s 'quit\r' -- \
		"${hang[@]}" how=idle
}
t_tty_sigterm() { on_terminal 0 -e '^hanging' -k 15 -- "${hang[@]}" how=halt; }
t_tty_sigint() { on_terminal 0 -e '^hanging' -k 2 -- "${hang[@]}" how=user; }
t_tty_ctrl_c_is_the_guests() {
	on_terminal 33 -e '^ready' -s 'a\x03b\r' -e 'got .a.b.' -s 'quit\r' -- "${exits[@]}" $G/serial.elf
}
t_tty_guest_exits() { on_terminal 33 -e 'Hello' -- "${exits[@]}" $G/hello.elf; }
t_tty_guest_dies() { on_terminal 80 -e 'triple fault' -- "${exits[@]}" $G/die.elf -append how=triple; }
t_tty_powers_off() { on_terminal 0 -e 'powering off' -- "${exits[@]}" $G/poweroff.elf; }
t_tty_bad_option() { on_terminal 64 -e 'nosuch' -- -nographic -kernel $G/hello.elf -device nosuch; }
t_tty_missing_kernel() { on_terminal 66 -e '/nonexistent' -- -nographic -kernel /nonexistent; }
