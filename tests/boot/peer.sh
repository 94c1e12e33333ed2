# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same guests under QEMU: what they check must be true there, too, so that it is the
# field's behaviour that they hold us to. Most run on QEMU's own processor (-accel tcg), which
# starts in no time and knows the instructions that a software KVM does not.

peer() { # ACCEL GUEST [OPTION...]
	local accel=$1 image=$G/$2.elf cpu=max
	shift 2
	need qemu-system-x86_64
	if [ "$accel" = kvm ]; then
		need_kvm
		cpu=host,-arch-capabilities,-cx16
	fi
	run qemu-system-x86_64 -M pc -accel "$accel" -cpu $cpu -nodefaults -no-user-config -display none -serial stdio -m 64 \
		-device isa-debug-exit,iobase=0x501,iosize=2 -kernel "$image" "$@"
	expect_status 33
}
t_peer_hello() { peer tcg hello -append 'one two' && expect_out '^booted by: PVH' '\[one two\]'; }
t_peer_hello_multiboot() { peer tcg hello-mb && expect_out '^booted by: Multiboot'; }
t_peer_memmap() { peer tcg memmap -m 5G -append "ram=$((5 << 30)) slack=1048576"; }
t_peer_mmio() { peer tcg mmio -append "zeros ram=$((64 << 20))"; }
t_peer_timers() { peer tcg timers; }
t_peer_smp() { peer tcg smp -smp 4; }
t_peer_acpi() { peer tcg acpi -append 'old cpus=2' -smp 2; }
t_peer_rtc() { peer tcg rtc; }
t_peer_i8042() { peer tcg i8042; }
t_peer_reset() { peer tcg reset -append 'how=cf9 times=2'; }
t_peer_bits() { peer tcg assist-bits; }
t_peer_system() { peer tcg assist-sys -append nomwait; }
t_peer_x87() { peer tcg assist-x87; }
t_peer_xsave() { peer tcg assist-xsave; }
t_peer_syscall() { peer tcg syscall; }
t_peer_iret32() { peer tcg iret32; }
# These two need KVM: tcg does not raise all exceptions, and stops at accesses across a device's end.
t_peer_exceptions() { peer kvm exceptions; }
t_peer_portio() { peer kvm portio; }
