# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# PCI: the bus driven by a bare-metal guest, found by Linux, shown by the monitor; bad options.

t_pci() {
	checked pci -device pci-testdev
	expect_out '^pci-testdev in slot 2'
}
t_pci_slot() { # another slot, another PIRQ
	checked pci -device pci-testdev,addr=1f
	expect_out '^pci-testdev in slot 31'
}
t_pci_function() {
	checked pci -device pci-testdev,addr=5,multifunction=on,romfile="$G/oneinsn.rom" -device pci-testdev,addr=5.7
	expect_out '^pci-testdev in slot 5'
}
t_pci_above_4g() { # a BAR that does not fit below, beside RAM above 4 GiB
	checked pci -m 4G -device pci-testdev,mem64=4G -append mem64=0x100000000
	expect_out '^ok BAR 2: 64-bit prefetchable memory at [0-9a-f]{9,}'
}
t_pci_smp() { checked pci -smp 2 -device pci-testdev; }

# The kernel's messages, with two devices: $T/out.
limit[linux_pci]=290
t_linux_pci() {
	need_kvm
	seconds=280 vm -nographic -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$INITRAMFS" \
		-append "console=ttyS0 tsc=reliable no_timer_check posada.poweroff" \
		-device pci-testdev -device pci-testdev,addr=6,mem64=4G
	expect_status 0
	expect_out 'pci 0000:00:00\.0: \[8086:1237\] type 00 class 0x060000' \
		'pci 0000:00:01\.0: \[8086:7000\] type 00 class 0x060100' \
		'pci 0000:00:02\.0: \[1234:7e57\]' 'pci 0000:00:02\.0: BAR 0 \[io  0xc0' \
		'pci 0000:00:06\.0: BAR 2 \[mem 0x[0-9a-f]{9,}-0x[0-9a-f]{9,} 64bit pref\]' \
		'PCI: Using ACPI for IRQ routing' '^Posada guest: Linux'
	expect_not "$T/out" 'PCI: Fatal|no GSI|conflict|failed to assign|(ACPI|PCI).*([Ee]rror|BUG)'
}

t_pci_monitor() {
	monitored hang -append how=idle -device pci-testdev,id=t0
	ask '{"execute":"query-pci"}' "$(human 'info pci')"
	answers '"qdev_id": ?"t0"' '"desc": ?"Host bridge"' \
		'Bus  0, device   2, function 0:.*Class ff00: PCI device 1234:7e57.*BAR0: I/O at 0xc000 \[0xc01f\]'
	end
}

# --- what cannot be
pci_refused() { # OPTION REGEX...
	local device=$1
	shift
	vm -nographic -kernel $G/hello.elf -device "$device"
	refused "${want:-64}" "$@"
}
t_pci_bad_address() {
	pci_refused pci-testdev,addr=1 'addr=1\.0: piix3 is there already' 'free slot'
	pci_refused pci-testdev,addr=20 'addr=20: there is no such slot' '0 to 1f'
	pci_refused pci-testdev,addr=4.1 'slot 4 has no function 0' 'multifunction=on'
	pci_refused pci-testdev,addr=x 'addr=x: not a PCI address' 'SLOT\.FUNCTION'
	pci_refused pci-testdev,bus=pci.7 'bus=pci.7: there is no such PCI bus' 'pci\.0'
	pci_refused pci-testdev,vectors=5000 'vectors=5000: 5000 is not between 0 and 2048'
	pci_refused i440fx "no device 'i440fx'"
	vm -nographic -kernel $G/hello.elf -device pci-testdev,addr=4,id=a -device pci-testdev,addr=4.0
	refused 64 'addr=4\.0: pci-testdev \(id a\) is there already'
	vm -nographic -kernel $G/hello.elf -device pci-testdev,addr=4,id=a -device pci-testdev,addr=4.1
	refused 64 'addr=4\.1: function 0 of the slot, pci-testdev \(id a\), is alone' 'multifunction=on'
}
t_pci_bad_rom() {
	want=66
	pci_refused "pci-testdev,romfile=$T/none" "romfile=.*/none: No such file"
	pci_refused "pci-testdev,romfile=$T" "romfile=.*: not a regular file"
	: >"$T/empty"
	pci_refused "pci-testdev,romfile=$T/empty" 'empty: the file is empty'
	truncate -s 17M "$T/large"
	pci_refused "pci-testdev,romfile=$T/large" 'large: larger than 16 MiB'
}
