# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Control from outside: the JSON and the text monitor of a running posada.

monitored() { # GUEST [OPTION...]: in the background, its monitors at $T/qmp and $T/left/mon
	local image=$G/$1.elf i
	shift
	need_kvm
	start_vm -m 64 -display none -serial "file:$T/serial" -kernel "$image" \
		-qmp "unix:$T/qmp,server=on,wait=off" -monitor "unix:$T/left/mon,server=on,wait=off" "$@"
	for ((i = 0; i < 1000; i++)); do
		[ ! -S "$T/qmp" ] || [ ! -S "$T/left/mon" ] || return 0
		sleep 0.01
	done
	fail "no monitor sockets"
}

serial_says() { # COUNT REGEX: until the serial port has said it that often
	local i
	for ((i = 0; i < 1000; i++)); do
		[ "$(grep -acE -- "$2" "$T/serial" 2>/dev/null)" != "$1" ] || return 0
		sleep 0.01
	done
	fail "serial port: not $1 times: $2"
}

ask() { # REQUEST...: over JSON; the answers are in $T/answers
	qmp "$@" >"$T/answers" || fail "the monitor did not answer: $(cat "$T/answers")"
}

human() { # LINE: as a text command over JSON
	echo "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"$1\"}}"
}

answers() {
	expect_in "$T/answers" "$@"
}

end() { # the text monitor is told to quit
	"$TALK" -t 20 -u "$T/left/mon" -e '\(posada\) ' -s 'quit\n' -e quit >/dev/null || fail "the text monitor does not answer"
	wait_vm
	expect_status 0
}

t_monitor_stop_and_cont() {
	monitored hang -append how=spin
	serial_says 1 '^hanging'
	ask '{"execute":"query-status","id":1}' '{"execute":"stop"}' '{"execute":"query-status","id":2}' \
		'{"execute":"cont"}' '{"execute":"query-status","id":3}'
	answers '"running": true.*"status": "running".*"id": 1' '"event": "STOP"' '"status": "paused".*"id": 2' \
		'"event": "RESUME"' '"status": "running".*"id": 3'
	end
}

t_monitor_starts_paused() { # -S: nothing has run before cont
	monitored hang -append how=spin -S
	ask '{"execute":"query-status"}' '{"execute":"x-query-exits"}'
	answers '"status": "prelaunch"' '"total": 0'
	[ ! -s "$T/serial" ] || fail "the guest ran"
	ask '{"execute":"cont"}'
	serial_says 1 '^hanging'
	end
}

t_monitor_reset() {
	monitored hang -append how=spin
	serial_says 1 '^hanging'
	ask '{"execute":"system_reset"}'
	answers '"event": "RESET", "data": \{"guest": false, "reason": "host-qmp-system-reset"\}'
	serial_says 2 '^hanging'
	end
}

t_monitor_memory() {
	monitored hang -append how=spin
	serial_says 1 '^hanging'
	# The guest maps memory one to one; its text and data lie from 1 MiB on.
	ask "{\"execute\":\"memsave\",\"arguments\":{\"val\":1048576,\"size\":1500000,\"filename\":\"$T/linear\"}}" \
		"{\"execute\":\"pmemsave\",\"arguments\":{\"val\":1048576,\"size\":1500000,\"filename\":\"$T/physical\"}}" \
		"$(human 'xp /2xb 0x100000')" "$(human 'x /1i $pc')" "$(human 'gva2gpa $pc')" "$(human 'info registers')" \
		"$(human 'x 0x123456789abcdef0')"
	answers '0000000000100000: 0x' '"return": "0x[0-9a-f]*: *[0-9a-f ]* jmp ' 'gpa: 0x' 'RIP 0010:[0-9a-f]+.*64-bit mode' \
		'Cannot access memory'
	[ "$(wc -c <"$T/linear")" = 1500000 ] || fail "memsave wrote $(wc -c <"$T/linear") bytes"
	cmp "$T/linear" "$T/physical"
	grep -aq 'hanging' "$T/physical" || fail "the guest's text is not in its memory"
	ask "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":0,\"size\":67108865,\"filename\":\"$T/more\"}}"
	answers '"error".*Invalid addr 0x0000000000000000/size 67108865'
	end
}

t_monitor_cpus() {
	monitored hang -append how=spin -smp 4
	serial_says 1 '^hanging'
	ask '{"execute":"query-cpus-fast"}' "$(human 'info cpus')" "$(human 'info registers -a')" "$(human 'cpu 4')"
	answers '"cpu-index": 3' '\* CPU #0: thread_id=[0-9]+.*  CPU #3: thread_id=[0-9]+' 'CPU#0.*CPU#1.*CPU#2.*CPU#3' \
		'this machine has CPUs 0 to 3'
	[ "$(grep -o '"thread-id": [0-9]\{3,\}' "$T/answers" | sort -u | wc -l)" = 4 ] || fail "not four threads"
	end
}

t_monitor_errors_name_the_nearest() {
	monitored hang -append how=spin -name 'a "b" c'
	ask '{"execute":"querystatus"}' '{"execute":"memsave","arguments":{"size":1,"val":1,"filename":"x","cpu-idx":0}}' \
		'{"execute": stop}' '{"execute":"query-name"}' "$(human 'info regsters')"
	answers "CommandNotFound.*did you mean 'query-status'" "'cpu-idx' is unexpected; did you mean 'cpu-index'" \
		'"name": "a \\"b\\" c"' "did you mean 'info registers'"
	end
}

t_monitor_two_at_once() {
	monitored hang -append how=spin
	"$TALK" -t 20 -u "$T/qmp" -e QMP -s '{"execute":"qmp_capabilities"}' -e return -e STOP -e RESUME >"$T/events" &
	local listener=$!
	sleep 0.3
	"$TALK" -t 20 -u "$T/left/mon" -e '\(posada\) ' -s 'stop\n' -e '\(posada\) ' -s 'info status\n' -e 'VM status: paused' \
		-s 'c\r' -e '\(posada\) ' -s 'inf\x09stat\x09\n' -e 'VM status: running' >/dev/null || fail "text monitor"
	wait $listener || fail "the JSON monitor did not hear of it: $(cat "$T/events")"
	end
}

t_monitor_next_client() { # one leaves in mid-sentence, without negotiation; the next begins anew
	monitored hang -append how=spin
	"$TALK" -t 20 -u "$T/qmp" -e QMP -s '{"execute":"sto' >/dev/null
	ask '{"execute":"query-status"}'
	answers '"status": "running"'
	end
}

t_monitor_garbage() {
	need socat
	monitored hang -append how=spin
	head -c 3000000 /dev/urandom | timeout 20 socat -t 1 - "UNIX:$T/qmp" >/dev/null 2>&1
	head -c 300000 /dev/urandom | tr -d '\n\r' | timeout 20 socat -t 1 - "UNIX:$T/left/mon" >/dev/null 2>&1
	(printf '{"execute":"'; head -c 3000000 /dev/zero | tr '\0' x; printf '"}') | timeout 20 socat -t 1 - "UNIX:$T/qmp" >"$T/answers"
	answers 'larger than 1 MiB'
	ask '{"execute":"query-status"}'
	answers '"status": "running"'
	end
}

t_monitor_quit() {
	monitored hang -append how=spin
	ask '{"execute":"quit"}'
	answers '"event": "SHUTDOWN", "data": \{"guest": false, "reason": "host-qmp-quit"\}'
	wait_vm
	expect_status 0
}

t_monitor_shutdown_kept() { # -no-shutdown: what has powered off can be looked at, and started again
	monitored poweroff -no-shutdown
	serial_says 1 'powering off'
	sleep 0.3
	ask '{"execute":"query-status","id":1}' '{"execute":"cont"}' "$(human 'info registers')" '{"execute":"system_reset"}'
	answers '"status": "shutdown".*"id": 1' "cannot go on: its state is 'shutdown'" 'RIP 0010'
	serial_says 2 'powering off'
	end
}

t_monitor_told_of_the_end() {
	monitored poweroff -S
	"$TALK" -t 20 -u "$T/qmp" -e QMP -s '{"execute":"qmp_capabilities"}{"execute":"cont"}' \
		-e '"event": "SHUTDOWN", "data": \{"guest": true, "reason": "guest-shutdown"\}' >"$T/answers" || fail "$(cat "$T/answers")"
	wait_vm
	expect_status 0
}

t_monitor_panic() {
	monitored pvpanic -S -device pvpanic
	"$TALK" -t 20 -u "$T/qmp" -e QMP -s '{"execute":"qmp_capabilities"}{"execute":"cont"}' \
		-e '"event": "GUEST_PANICKED"' -e '"reason": "guest-panic"' >"$T/answers" || fail "$(cat "$T/answers")"
	wait_vm
	expect_status 80
}

t_monitor_hasty_client() { # sends and closes at once, without reading the answers
	local i
	need socat
	for ((i = 0; i < 8; i++)); do
		monitored hang -append how=halt
		printf 'info status\ninfo version\nquit\n' | socat -t0 - "UNIX:$T/left/mon" >/dev/null 2>&1
		wait_vm
		expect_status 0
	done
}
