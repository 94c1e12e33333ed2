# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Control from outside while guests run: QMP over a socket, the text monitor.

controlled() { # OPTION...: in the background, with QMP at $T/qmp
	need_kvm
	start_vm -display none -serial stdio -monitor none -qmp "unix:$T/qmp,server=on,wait=off" "$@"
}
gone() {
	[ ! -e "$T/qmp" ] || fail "the socket is left"
}

t_qmp_stop_cont() {
	controlled -kernel $G/hang.elf -append how=spin
	wait_out '^hanging'
	qmp '{"execute":"query-status"}' '{"execute":"stop"}' '{"execute":"query-status"}' '{"execute":"stop"}' \
		'{"execute":"cont"}' '{"execute":"query-status"}' '{"execute":"quit"}' >"$T/qmp.log" || fail "$(cat "$T/qmp.log")"
	[ "$(grep -o '"status": *"[a-z]*"' "$T/qmp.log" | tr -d ' \n')" = '"status":"running""status":"paused""status":"running"' ] ||
		fail "$(cat "$T/qmp.log")"
	expect_in "$T/qmp.log" '"event": *"STOP"' '"event": *"RESUME"'
	wait_vm
	expect_status 0
	gone
}
t_qmp_stop_smp() {
	controlled -smp 4 -kernel $G/hang.elf -append how=idle
	wait_out '^hanging'
	for _ in 1 2 3 4 5; do
		qmp '{"execute":"stop"}' '{"execute":"cont"}' >"$T/qmp.log" || fail "$(cat "$T/qmp.log")"
	done
	qmp '{"execute":"quit"}' >/dev/null
	wait_vm
	expect_status 0
}
t_qmp_reset() {
	controlled -smp 2 -kernel $G/hang.elf -append how=spin
	wait_out '^hanging'
	qmp '{"execute":"system_reset"}' >"$T/qmp.log" || fail "$(cat "$T/qmp.log")"
	for _ in {1..200}; do
		[ "$(grep -ac '^hanging' "$T/out")" -lt 2 ] || break
		sleep 0.02
	done
	[ "$(grep -ac '^hanging' "$T/out")" = 2 ] || fail "it did not start again"
	qmp '{"execute":"quit"}' >/dev/null
	wait_vm
	expect_status 0
}
t_qmp_reset_paused() { # a reset of a paused guest stays paused
	controlled -kernel $G/hang.elf -append how=halt
	wait_out '^hanging'
	qmp '{"execute":"stop"}' '{"execute":"system_reset"}' '{"execute":"query-status"}' '{"execute":"cont"}' >"$T/qmp.log" ||
		fail "$(cat "$T/qmp.log")"
	expect_in "$T/qmp.log" '"status": *"paused"'
	for _ in {1..200}; do
		[ "$(grep -ac '^hanging' "$T/out")" -lt 2 ] || break
		sleep 0.02
	done
	[ "$(grep -ac '^hanging' "$T/out")" = 2 ] || fail "it did not start again"
	qmp '{"execute":"quit"}' >/dev/null
	wait_vm
	expect_status 0
}
t_qmp_powerdown() {
	controlled -kernel $G/poweroff.elf -append button
	wait_out '^waiting for the power button'
	qmp '{"execute":"system_powerdown"}' >"$T/qmp.log" || fail "$(cat "$T/qmp.log")"
	wait_vm
	expect_status 0
	expect_out '^powering off'
	gone
}
t_qmp_start_paused() {
	controlled -S -kernel $G/hang.elf -append how=idle
	qmp '{"execute":"query-status"}' >"$T/qmp.log" || fail "$(cat "$T/qmp.log")"
	expect_in "$T/qmp.log" '"status": *"prelaunch"'
	sleep 0.3
	expect_not "$T/out" hanging
	qmp '{"execute":"cont"}' >/dev/null
	wait_out '^hanging'
	qmp '{"execute":"quit"}' >/dev/null
	wait_vm
	expect_status 0
}
t_qmp_no_shutdown() {
	controlled -no-shutdown -kernel $G/poweroff.elf
	wait_out '^powering off'
	sleep 0.3
	qmp '{"execute":"query-status"}' '{"execute":"quit"}' >"$T/qmp.log" || fail "$(cat "$T/qmp.log")"
	expect_in "$T/qmp.log" '"status": *"shutdown"'
	wait_vm
	expect_status 0
}
t_qmp_died_no_shutdown() {
	controlled -no-shutdown -kernel $G/die.elf -append how=triple
	wait_out '^dying'
	sleep 0.5
	qmp '{"execute":"query-status"}' '{"execute":"quit"}' >"$T/qmp.log" || fail "$(cat "$T/qmp.log")"
	expect_in "$T/qmp.log" '"status": *"internal-error"'
	wait_vm
	expect_err 'triple fault'
}
t_qmp_errors() {
	controlled -kernel $G/hang.elf -append how=idle
	wait_out '^hanging'
	qmp '{"execute":"nosuch"}' 'nonsense' '[1,2]' '{"execute":7}' '{}' '{"execute":"query-status","arguments":7}' \
		'{"execute":"quit"}' \
		>"$T/qmp.log" || fail "$(cat "$T/qmp.log")"
	[ "$(grep -c '"error"' "$T/qmp.log")" -ge 6 ] || fail "$(cat "$T/qmp.log")"
	expect_in "$T/qmp.log" 'nosuch'
	wait_vm
	expect_status 0
}
t_monitor_socket() {
	need_kvm
	start_vm -display none -serial stdio -monitor "unix:$T/qmp,server=on,wait=off" -smp 2 -kernel $G/hang.elf -append how=idle
	wait_out '^hanging'
	"$TALK" -t 20 -u "$T/qmp" -e '\(posada\)' -s 'info status\n' -e 'running' -s 'info registers\n' -e 'RIP|rip' -s 'info cpus\n' \
		-e '1' -s 'x /4xb 0x100000\n' -e '100000' -s 'bogus\n' -e 'bogus' -s 'help\n' -e 'quit' -s 'quit\n' >"$T/talk.log" ||
		fail "$(cat "$T/talk.log")"
	wait_vm
	expect_status 0
	gone
}
