# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The bare-metal guests of guests/: loaders, the board, what processors do.

# --- loaders
t_hello_pvh() {
	checked hello -append 'one two'
	expect_out '^Hello from 64-bit mode' '^booted by: PVH' '^command line: \[one two\]'
}
t_hello_elf64() {
	checked hello-elf64 -append 'one two'
	expect_out '^booted by: ELF64 entry' '^command line: \[one two\]'
}
t_hello_multiboot() {
	checked hello-mb -append 'one two'
	expect_out '^booted by: Multiboot' '^command line: \[.*hello-mb.elf one two\]'
}
t_hello_multiboot_flat() {
	checked hello-mb.bin
	expect_out '^booted by: Multiboot'
}
t_multiboot_modules() {
	printf 'abc' >"$T/a"
	head -c 5000 /dev/zero | tr '\0' '\1' >"$T/b"
	checked hello-mb -initrd "$T/a first one,$T/b second"
	expect_out '^module 0: 3 bytes, sum 294, \[.*/a first one\]' \
		'^module 1: 5000 bytes, sum 5000, \[.*/b second\]'
}
t_pvh_initrd() {
	printf 'abc' >"$T/a"
	checked hello -initrd "$T/a"
	expect_out '^module 0: 3 bytes, sum 294'
}
t_elf64_initrd() {
	printf 'abc' >"$T/a"
	checked hello-elf64 -initrd "$T/a"
	expect_out '^module 0: 3 bytes, sum 294'
}

# --- memory: the map is complete, and every range of it is there
t_memmap_pvh() { checked memmap -append ram=$((64 << 20)); }
t_memmap_elf64() { checked memmap-elf64 -append ram=$((64 << 20)); }
t_memmap_multiboot() { checked memmap-mb -append ram=$((64 << 20)); }
t_memmap_3g() { checked memmap -m 3G -append ram=$((3 << 30)); }
t_memmap_above_4g() {
	checked memmap -m 5G -append ram=$((5 << 30))
	expect_out 'RAM: .*, 2147483648 of them above 4 GiB'
}
t_memmap_above_4g_multiboot() { checked memmap-mb -m 3073M -append ram=$((3073 << 20)); }
t_memmap_above_4g_elf64() { checked memmap-elf64 -m 4096 -append ram=$((4 << 30)); }
t_memmap_memfd() { checked memmap -machine pc,memory=memfd -append ram=$((64 << 20)); }
t_memmap_odd_size() { checked memmap -m 67588K -append ram=$((67588 << 10)); }

# --- the board
t_portio() {
	checked portio
	expect_out '^rep outsb says hello'
}
t_mmio() { checked mmio -append ram=$((64 << 20)); }
t_mmio_above_ram() { checked mmio -append 'nowhere=0xfe000000'; }
t_exceptions() { checked exceptions; }
t_timers_pit_pic() { checked timers -append only=pit-pic; }
t_timers_pit_ioapic() { checked timers -append only=pit-ioapic; }
t_timers_lapic() { checked timers -append only=lapic; }
t_timers_tsc_deadline() {
	checked timers -append only=deadline
	! grep -q 'CPUID does not have it' "$T/out" || skip "CPUID has no TSC deadline timer"
}
t_timers_rtc() { checked timers -append only=rtc; }
t_smp_2() { checked smp -smp 2 -append cpus=2; }
t_smp_4() { checked smp -smp 4 -append cpus=4; }
t_smp_8() { checked smp -smp 8 -append cpus=8; }
t_acpi() { checked acpi -append cpus=1; }
t_acpi_3_cpus() { checked acpi -smp 3 -append cpus=3; }
t_rtc() {
	local before now t
	before=$(date -u +%s)
	checked rtc
	t=$(sed -n 's/^time \(.*\)/\1/p' "$T/out" | tr -d '\r')
	now=$(date -u -d "$t" +%s) || fail "not a time: $t"
	[ "$now" -ge $((before - 1)) ] && [ "$now" -le $((before + 10)) ] || fail "the guest's clock says $t"
}
t_rtc_base() {
	checked rtc -rtc base=2001-02-03T04:05:06
	expect_out '^time 2001-2-3 4:5:(6|7|8|9|10|11)$'
}
t_i8042() { checked i8042; }
t_serial_interrupts() {
	need_kvm
	mkfifo "$T/in"
	exec 5<>"$T/in"
	in=$T/in start_vm -nographic -device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/serial.elf
	wait_out '^ready'
	echo 'hello there' >&5
	wait_out '^got \[hello there\]'
	# Many bytes at once: more than the FIFO holds.
	printf '%0100d\nquit\n' 7 >&5
	wait_vm
	expect_status 33
	expect_out '^sent by interrupts, sixteen bytes at a time' '^got \[0{99}7\]' '^got \[quit\]' '^ok receiver'
}
t_debugcon() {
	checked hello -debugcon "file:$T/debug"
	[ -e "$T/debug" ] || fail "no debug console file"
	vm -display none -serial none -debugcon "file:$T/debug" -device isa-debug-exit,iobase=0x501,iosize=2 \
		-kernel $G/oneinsn.elf
	expect_status 1
	[ "$(wc -c <"$T/debug")" = 1 ] || fail "the debug console file has $(wc -c <"$T/debug") bytes, not 1"
}
t_serial_file() {
	need_kvm
	vm -display none -serial "file:$T/serial" -monitor none -device isa-debug-exit,iobase=0x501,iosize=2 \
		-kernel $G/hello.elf
	expect_status 33
	expect_in "$T/serial" '^Hello from 64-bit mode'
	[ ! -s "$T/out" ] || fail "the serial port went to standard output, too"
}
t_serial_socket() {
	need_kvm
	start_vm -display none -serial "unix:$T/left/serial,server=on,wait=on" -monitor none \
		-device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/serial.elf
	"$TALK" -t 20 -u "$T/left/serial" -e '^ready' -s 'over a socket\n' -e 'got .over a socket.' -s 'quit\n' \
		-e '0 failed' || fail "no conversation over the socket"
	wait_vm
	expect_status 33
}
t_serial_pty() {
	local pty
	need_kvm
	start_vm -display none -serial pty -monitor none -device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/serial.elf
	for _ in {1..200}; do
		pty=$(cat "$T/out" "$T/err" | grep -aoE '/dev/pts/[0-9]+' | head -1)
		[ -z "$pty" ] || break
		sleep 0.02
	done
	[ -n "$pty" ] || fail "it did not say which terminal"
	# In a subshell: a session's leader would take the terminal as its own, and be hung up.
	(
		exec 5<>"$pty"
		stty raw -echo <&5
		echo 'over a pty' >&5
		echo quit >&5
		timeout 20 sed '/checks,/q' <&5 >"$T/pty"
	) || fail "no conversation over $pty"
	expect_in "$T/pty" '^got .over a pty.'
	wait_vm
	expect_status 33
}
t_serial_two_ports() { # COM2 is there, apart from COM1
	need_kvm
	vm -display none -serial "file:$T/one" -serial "file:$T/two" -monitor none -device isa-debug-exit,iobase=0x501,iosize=2 \
		-kernel $G/hello.elf
	expect_status 33
	expect_in "$T/one" '^Hello'
	[ ! -s "$T/two" ] || fail "COM1's output is in COM2's file"
}

# --- ends
t_exit_values() {
	local v
	for v in 0 1 5 127; do
		guest exitval -append "value=$v"
		expect_status $(((v << 1 | 1) & 255))
	done
	guest exitval -append 'value=77 width=2'
	expect_status 155
	guest exitval -append 'value=77 width=4'
	expect_status 155
}
t_reset_cf9() { checked reset -append 'how=cf9 times=3'; }
t_reset_i8042() { checked reset -append how=i8042; }
t_reset_port92() { checked reset -append how=port92; }
t_reset_acpi() { checked reset -append how=acpi; }
t_reset_smp() { checked reset -smp 4 -append 'how=cf9 times=2'; }
t_reset_no_reboot() {
	guest reset -no-reboot -append how=cf9
	expect_status 0
	expect_out '^boot 1'
	expect_not "$T/out" '^boot 2'
}
t_poweroff() {
	guest poweroff
	expect_status 0
	expect_out '^powering off'
}
t_poweroff_smp() {
	guest poweroff -smp 4
	expect_status 0
}
t_pvpanic() {
	guest pvpanic -device pvpanic
	expect_status 80
	expect_err 'panic'
}
t_pvpanic_crash_loaded() {
	checked pvpanic -device pvpanic -append event=2
	expect_out '^told'
}
t_triple_fault() {
	guest die -append how=triple
	expect_status 80
	expect_err 'triple fault' 'ud2' 'guest_main' 'RIP' 'CR3' 'last exits'
}
t_triple_fault_once() { # several vCPUs: one report
	guest die -smp 4 -append how=triple
	expect_status 80
	[ "$(grep -c 'triple fault:' "$T/err")" = 1 ] || fail "not one report"
}
t_runs_nowhere() {
	guest die -append how=unmapped
	expect_status 80
	expect_err '0xd0000000' 'RIP'
}
t_no_assist() {
	guest assist-int -accel kvm,assist=off
	if [ "$status" = 33 ]; then
		skip "this KVM needs no assist"
	fi
	expect_status 80
	expect_err 'int3|int 3' 'assist'
}

# --- instructions that a software KVM leaves to the assist; a processor runs them itself
t_insn_software_interrupts() { checked assist-int; }
t_insn_user_interrupts() { checked assist-userint; }
t_insn_bits() { checked assist-bits; }
t_insn_system() { checked assist-sys; }
t_insn_x87() { checked assist-x87; }
t_insn_sse() { checked assist-sse; }
t_insn_xsave() { checked assist-xsave; }
t_insn_syscall() { checked syscall; }
t_insn_syscall_without_nx() { checked syscall -append nonx; }
t_insn_syscall_many() { checked syscall -append n=3000; }
t_insn_iret32() {
	guest iret32
	expect_status 33
}
t_forced_assist() { checked hello -accel kvm,assist=on; }
