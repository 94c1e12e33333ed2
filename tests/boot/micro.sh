# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The micro machine: no PCI, no ACPI; a device tree and virtio-mmio.

t_micro_hello() {
	checked hello -M micro -append 'one two'
	expect_out '^booted by: PVH' '^command line: \[one two\]'
}
t_micro_has_no_acpi_and_no_pci() {
	need_kvm
	vm -M micro -display none -monitor none -kernel "$G/hello.elf" -device virtio-blk-pci,drive=d0 -drive if=none,id=d0,file=null-co://,format=raw
	refused 64 'virtio-blk-pci' 'PCI'
}
t_micro_reset() {
	guest reset -M micro -no-reboot -append how=i8042
	expect_status 0
}

# The tree is for people and programs to look at; it starts nothing.
t_dumpdtb() {
	local m
	for m in pc micro; do
		vm -M "$m,dumpdtb=$T/$m.dtb" -smp 2 -serial null
		expect_status 0
		[ "$(head -c 4 "$T/$m.dtb" | od -An -tx1 | tr -d ' \n')" = d00dfeed ] || fail "$m.dtb is no device tree"
		grep -qa "posada,$m" "$T/$m.dtb" || fail "$m.dtb does not name the machine"
	done
	grep -qa 'intel,ce4100-pci' "$T/pc.dtb" || fail 'pc.dtb has no PCI'
	! grep -qa 'intel,ce4100-pci' "$T/micro.dtb" || fail 'micro.dtb has PCI'
	vm -M "micro,dumpdtb=$T/none/x.dtb"
	refused 66 'dumpdtb' 'No such file'
}
t_micro_devices_in_the_tree() {
	vm -M "micro,dumpdtb=$T/x.dtb" -serial null -device virtio-rng-device -device virtio-rng-device
	expect_status 0
	[ "$(grep -oa 'virtio_mmio@d0000[02]00' "$T/x.dtb" | sort -u | wc -l)" = 2 ] || fail 'not both devices are in the tree'
}

limit[linux_micro]=290
t_linux_micro() {
	linux "$LINUX_UP/bzImage" posada.poweroff -M micro -device virtio-rng-device
	expect_status 0
	expect_out '^Posada guest: Linux .*, 1 CPU,'
}
