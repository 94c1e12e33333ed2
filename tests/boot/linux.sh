# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A real Linux, the lean one of guests/linux: by each loader, with one CPU and two, and a shell to talk to.

# Kernels are built once and cached; the runner calls this before tests that are named linux_*.
prepare_linux() {
	LINUX_UP=${LINUX_UP:-$(guests/linux/build up)} && LINUX_SMP=${LINUX_SMP:-$(guests/linux/build smp)} &&
		INITRAMFS=${INITRAMFS:-$(guests/linux/initramfs)} || echo "no Linux guest: its tests will fail" >&2
	export LINUX_UP LINUX_SMP INITRAMFS
}

append="console=ttyS0 quiet tsc=reliable no_timer_check"

linux() { # IMAGE APPEND [OPTION...]
	local image=$1 more=$2
	shift 2
	need_kvm
	[ -r "$image" ] || fail "no kernel $image"
	seconds=${seconds:-280} vm -nographic -m 64 -kernel "$image" -initrd "$INITRAMFS" -append "$append $more" "$@"
}

limit[linux_up]=290
t_linux_up() {
	linux "$LINUX_UP/vmlinux" posada.poweroff
	expect_status 0
	expect_out '^Posada guest: Linux 6\.[0-9.]*.*, 1 CPU, [4-6][0-9] MiB'
	if software_kvm; then
		expect_err "added to the kernel's command line: clearcpuid="
	else
		expect_not "$T/err" 'command line'
	fi
}
limit[linux_bzimage]=290
t_linux_bzimage() {
	linux "$LINUX_UP/bzImage" posada.poweroff
	expect_status 0
	expect_out '^Posada guest: Linux .*, 1 CPU,'
}
limit[linux_smp]=290
t_linux_smp() {
	linux "$LINUX_SMP/vmlinux" 'posada.test=cpus posada.cpus=2' -smp 2
	expect_status 0
	expect_out '^Posada guest: Linux .*, 2 CPUs,' '^Posada test cpus: pass [1-9]'
}
limit[linux_smoke]=290
t_linux_smoke() {
	linux "$LINUX_UP/vmlinux" posada.test=smoke
	expect_status 0
	expect_out '^Posada test smoke: pass [1-9]'
}
limit[linux_shell]=290
t_linux_shell() {
	need_kvm
	status=0
	"$TALK" -t 280 -e 'Posada guest: Linux' -e '[#$] ' -s 'echo $((6 * 7)) $(uname -s)\r' -e '^42 Linux' \
		-s 'stty -a | grep -c speed\r' -e '^1' -s 'exit\r' \
		"$POSADA" -nographic -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$INITRAMFS" -append "$append" \
		>"$T/out" 2>"$T/err" || status=$?
	expect_status 0
}

# --- kernel files with something wrong
t_linux_bad_truncated_bzimage() {
	local n
	for n in 600 20000 1000000; do
		head -c $n "$LINUX_UP/bzImage" >"$T/short"
		vm -nographic -kernel "$T/short"
		refused 66 "$T/short" 'truncated|ends|short|beyond|incomplete'
	done
}
t_linux_bad_payload() {
	cp "$LINUX_UP/bzImage" "$T/corrupt"
	head -c 4096 /dev/urandom | dd of="$T/corrupt" bs=1 seek=1500000 conv=notrunc 2>/dev/null
	vm -nographic -kernel "$T/corrupt"
	# The payload's own check may not see it, and then the guest dies of it; but never is it a crash of ours.
	case $status in
	66) expect_err 'corrupt' ;;
	0 | 80) ;;
	*) fail "exit status is $status" ;;
	esac
	# Its beginning, which nothing can mistake.
	cp "$LINUX_UP/bzImage" "$T/corrupt2"
	printf '\377\377\377\377\377\377\377\377' | dd of="$T/corrupt2" bs=1 seek=$(payload_offset) conv=notrunc 2>/dev/null
	vm -nographic -kernel "$T/corrupt2"
	refused 66 "$T/corrupt2"
}
payload_offset() { # of the compressed kernel in a bzImage: boot.rst, payload_offset
	local sects off
	sects=$(od -An -tu1 -j $((0x1f1)) -N 1 "$LINUX_UP/bzImage")
	off=$(od -An -tu4 -j $((0x248)) -N 4 "$LINUX_UP/bzImage")
	echo $(((sects + 1) * 512 + off))
}
t_linux_bad_larger_than_ram() {
	vm -nographic -m 4 -kernel "$LINUX_UP/bzImage"
	refused 66 "$LINUX_UP/bzImage" 'memory'
	vm -nographic -m 4 -kernel "$LINUX_UP/vmlinux"
	refused 66 "$LINUX_UP/vmlinux" 'memory'
}
t_linux_bad_initrd_does_not_fit() {
	truncate -s 100M "$T/initrd"
	vm -nographic -m 64 -kernel "$LINUX_UP/bzImage" -initrd "$T/initrd"
	refused 66 "$T/initrd"
}

limit[linux_power_button]=290
t_linux_power_button() { # SIGTERM asks it to power off, and it does
	need_kvm
	start_vm -nographic -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$INITRAMFS" -append "$append"
	for ((i = 0; i < 5000; i++)); do
		! grep -aq "^Type 'exit'" "$T/out" || break
		kill -0 "$vm" || fail "it has ended"
		sleep 0.05
	done
	kill -TERM "$vm"
	wait_vm
	expect_status 0
	expect_err "power button was pressed"
	expect_not "$T/err" 'stopped by'
}

limit[linux_input]=290
t_linux_input() { # atkbd and psmouse find both, and evdev gets keys and movements
	need_kvm
	mkfifo "$T/in"
	exec 5<>"$T/in"
	in=$T/in start_vm -nographic -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$INITRAMFS" -append "$append i8042.nopnp" \
		-qmp "unix:$T/qmp,server=on,wait=off"
	wait_out "^Type 'exit'"
	echo 'grep Name /proc/bus/input/devices' >&5
	wait_out 'Name="AT Translated Set 2 keyboard"'
	wait_out 'Name="ImExPS/2 Generic Explorer Mouse"'
	# The type, code and value of each event; a reader is there when its prompt is.
	echo 'exec 3</dev/input/event1 4</dev/input/event2; echo op""en' >&5
	wait_out '^open'
	qmp "$(human_key 'sendkey altgr')" "$(human_key 'mouse_move 7 0 0')" >/dev/null
	echo 'dd bs=72 count=1 <&3 2>/dev/null | od -An -tx2 -v -j16' >&5
	wait_out '0004 0004 [0-9a-f]+ [0-9a-f]+|0001 0064 0001 0000'
	wait_out '0001 0064 0001'
	echo 'dd bs=24 count=1 <&4 2>/dev/null | od -An -tx2 -v -j16' >&5
	wait_out '0002 0000 0007 0000'
	kill -INT "$vm"
	wait_vm
	expect_status 0
}
