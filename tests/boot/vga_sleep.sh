# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A screen that does not change costs nothing, whoever looks at it, and wakes up when the guest draws,
# however it does.

# posada on a terminal with -display text, by talk's steps on one hand; $vm is talk's process, $pid posada's.
asleep_on_terminal() { # STEP... -- OPTION...
	local steps=()
	while [ "$1" != -- ]; do
		steps+=("$1")
		shift
	done
	shift
	"$TALK" -t 50 "${steps[@]}" env TERM=xterm COLORTERM=truecolor "$POSADA" -display text "$@" >"$T/out" 2>&1 &
	vm=$!
}

posada_pid() {
	pid=$(pgrep -P "$vm") || fail "posada has ended: $(tail -n 5 "$T/out")"
}

# How often the threads that are not CPUs have gone to sleep by themselves.
wakeups() {
	local t name sum=0 n
	for t in /proc/"$pid"/task/*; do
		read -r name <"$t/comm"
		[[ $name != vcpu* ]] || continue
		n=$(sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "$t/status")
		sum=$((sum + n))
	done
	echo "$sum"
}

# Waits until nothing wakes up any more, and says how often anything does in two seconds then.
expect_sleep() {
	local i before after=-1
	for ((i = 0; i < 40; i++)); do
		before=$after
		after=$(wakeups)
		[ "$before" != "$after" ] || break
		sleep 0.25
	done
	before=$after
	sleep 2
	after=$(wakeups)
	[ $((after - before)) -le 3 ] || fail "$1: $((after - before)) wake-ups in 2 s of idleness"
	echo "$1: $((after - before)) wake-ups in 2 s"
}

tell() { # LETTER
	"$TALK" -t 20 -u "$T/serial" -s "$1" -e "done $1" >"$T/said" || fail "'$1' was not done: $(cat "$T/said")"
	! grep -q FAIL "$T/said" || fail "$(cat "$T/said")"
}

t_vga_sleeps_in_graphics() {
	local i
	need_kvm
	asleep_on_terminal -e '2;255;0;0' -e '2;0;255;0' -e '2;0;0;255' -e '2;255;0;0' -- \
		-vga std -m 64 -kernel "$G/vgawatch.elf" -serial "unix:$T/serial,server=on,wait=off" -debugcon "file:$T/debug"
	for ((i = 0; i < 500; i++)); do
		[ ! -s "$T/debug" ] || break
		sleep 0.02
	done
	posada_pid
	expect_sleep 'at first'
	tell k
	expect_sleep 'after a plain store'
	tell u
	expect_sleep 'after a wide store in user mode'
	tell l
	expect_sleep 'after a locked store'
	tell o
	expect_sleep 'after a store that is not seen'
	tell t
	tell k
	expect_sleep 'after a register'
	kill "$pid"
	wait_vm
	[ "$status" = 0 ] || fail "not all was seen: status $status"
}

t_vga_sleeps_in_text() {
	need_seabios
	boot_sector t
	asleep_on_terminal -e "$(as_it_comes 'Hello by INT 10h')" -p 10000 -s '\x01x' -- \
		-drive "file=$T/disk,format=raw,if=virtio"
	wait_out "$(as_it_comes 'Hello by INT 10h')"
	posada_pid
	expect_sleep 'text on a terminal'
	wait_vm
	expect_status 0
}

t_vga_scroll() {
	checked vgascroll -vga std -append 'n=20'
	checked vgascroll -vga std -append 'n=20 cpl=3'
}
