# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux with the small virtio devices: a console, a port to a program on the host, a balloon.

# Linux in the background: its serial port at $T/serial, its JSON monitor at $T/qmp, both sockets.
linux_in_background() { # [OPTION...]
	local i
	need_kvm
	[ -r "$LINUX_UP/vmlinux" ] || fail "no kernel $LINUX_UP/vmlinux"
	start_vm -display none -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$INITRAMFS" -append "$append" \
		-serial "unix:$T/serial,server=on,wait=off" -qmp "unix:$T/qmp,server=on,wait=off" "$@"
	for ((i = 0; i < 1000; i++)); do
		[ ! -S "$T/serial" ] || [ ! -S "$T/qmp" ] || return 0
		sleep 0.01
	done
	fail "no sockets"
}

in_guest() { # STEP...: a dialogue on the serial port, at the prompt of the shell
	"$TALK" -t 200 -u "$T/serial" -s '\r' -e '[#$] ' "$@" | tr -d '\r' >"$T/said" ||
		fail "the guest does not answer: $(cat "$T/said")"
}

limit[linux_hvc0]=290
t_linux_hvc0() {
	need_kvm
	status=0
	"$TALK" -t 280 -e 'Posada guest: Linux' -e '[#$] ' -s 'echo $((6 * 7)) $(uname -s)\r' -e '^42 Linux' \
		-s 'cat /sys/class/tty/console/active /sys/class/virtio-ports/vport0p0/name\r' -e '^hvc0' -e '^boss' \
		-s 'seq 1 500 | md5sum\r' -e "$(seq 1 500 | md5sum | cut -c1-32)" -s 'exit\r' \
		"$POSADA" -display none -serial "file:$T/serial" -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$INITRAMFS" \
		-append "${append/ttyS0/hvc0}" -chardev stdio,id=c0 -device virtio-serial-pci,max_ports=2 \
		-device virtconsole,chardev=c0,name=boss >"$T/out" 2>"$T/err" || status=$?
	expect_status 0
	[ ! -s "$T/serial" ] || fail "the kernel used its serial port"
}

# Both directions, more than fits a buffer; the guest sees the host's end come and go.
limit[linux_virtserialport]=290
t_linux_virtserialport() {
	local sum
	linux_in_background -chardev "socket,id=p,path=$T/port,server=on,wait=off" \
		-device virtio-serial-pci,max_ports=2 -device virtserialport,chardev=p,name=org.posada.test
	in_guest -s 'exec 3<>/dev/vport0p1; cat /sys/class/virtio-ports/vport0p1/name\r' -e 'posada.test' -e '[#$] '
	seq 1 2000 >"$T/numbers"
	sum=$(md5sum <"$T/numbers" | cut -c1-32)
	# The guest reads nothing yet: what does not fit waits at the host.
	"$TALK" -t 200 -u "$T/port" -s "$(cat "$T/numbers")\n" -e 'END' >"$T/from_guest" &
	local host=$!
	in_guest -s "head -c $(wc -c <"$T/numbers") <&3 | md5sum\\r" -e "$sum" -e '[#$] ' \
		-s 'seq 1 2000 >&3; echo END >&3\r' -e '[#$] '
	wait $host || fail "the host did not hear the guest"
	grep -v END "$T/from_guest" | cmp - "$T/numbers" || fail "the guest's numbers are not complete"
	# With the other end gone a read ends.
	in_guest -s 'cat <&3; echo "end of" file\r' -e 'end of file' -e '[#$] ' -s 'exit\r' -e 'Power down'
	wait_vm
	expect_status 0
}

rss() { # MiB
	echo $(($(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$vm/status") / 1024))
}

mem_total() { # MiB, as the guest has it
	in_guest -s 'grep MemTotal /proc/meminfo\r' -e 'MemTotal: *[0-9]+ kB' >&2
	echo $(($(sed -n 's/.*MemTotal: *\([0-9]*\) kB.*/\1/p' "$T/said" | tail -1) / 1024))
}

balloon_to() { # MIB: and waits until the guest has got there
	local i want=$(($1 << 20))
	qmp "{\"execute\":\"balloon\",\"arguments\":{\"value\":$want}}" >"$T/answers"
	for ((i = 0; i < 400; i++)); do
		qmp '{"execute":"query-balloon"}' >"$T/answers"
		! grep -q "\"actual\": $want[,}]" "$T/answers" || return 0
		sleep 0.25
	done
	fail "the guest did not get to $1 MiB: $(cat "$T/answers")"
}

limit[linux_balloon]=290
t_linux_balloon() {
	local full full_rss small_rss total
	linux_in_background -device virtio-balloon-pci,guest-stats-polling-interval=1 \
		-qmp "unix:$T/events.sock,server=on,wait=off"
	# Memory that has been in use once, so that the host holds it.
	in_guest -s 'dd if=/dev/zero of=/tmp/big bs=1M count=14 2>/dev/null; rm /tmp/big\r' -e '[#$] '
	full=$(mem_total)
	full_rss=$(rss)
	"$TALK" -t 200 -u "$T/events.sock" -e QMP -s '{"execute":"qmp_capabilities"}\n' -e return \
		-e 'BALLOON_CHANGE[^\n]*actual' >"$T/events" &
	local listener=$!
	for _ in {1..500}; do
		! grep -qs return "$T/events" || break
		sleep 0.02
	done
	balloon_to 52
	wait $listener || fail "no event: $(cat "$T/events")"
	total=$(mem_total)
	small_rss=$(rss)
	echo "MemTotal $full -> $total MiB, RSS $full_rss -> $small_rss MiB"
	[ "$total" = $((full - 12)) ] || fail "MemTotal went from $full to $total MiB"
	[ "$small_rss" -le $((full_rss - 8)) ] || fail "RSS went from $full_rss to $small_rss MiB"
	grep -q '"stat-total-memory": [1-9]' "$T/answers" || fail "no statistics: $(cat "$T/answers")"
	grep -q '"stat-free-memory": [1-9]' "$T/answers"
	balloon_to 64
	total=$(mem_total)
	[ "$total" = "$full" ] || fail "MemTotal is $total MiB again, not $full"
	in_guest -s 'dd if=/dev/zero of=/tmp/big bs=1M count=14 2>/dev/null && rm /tmp/big && echo still" fine"\r' \
		-e 'still fine' -e '[#$] ' -s 'exit\r' -e 'Power down'
	wait_vm
	expect_status 0
}
