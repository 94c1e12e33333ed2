# SPDX-License-Identifier: GPL-2.0-or-later
# Images of other programs.

foreign() { # FORMAT
	given raw.img qemu-img create -q -f raw raw.img 7M
	io raw.img 'write -P 1 0 1M' 'write -P 2 3M 100k' 'write -P 3 6500k 512'
	given "a.$1" qemu-img convert -f raw -O "$1" raw.img "a.$1"
	both info "a.$1"
	both info --output=json "a.$1"
	both compare -f "$1" -F raw "a.$1" raw.img
	both convert -O qcow2 "a.$1" out.qcow2
	same_disk qcow2 out.qcow2
	both measure -O raw "a.$1"
}

t_vdi() {
	foreign vdi
	ours_ok check a.vdi
	grep -q '^No errors' "$T/p.out" || fail "$(cat "$T/p.out")"
	ours_ok convert -f raw -O vdi raw.img new.vdi
	qemu-img compare -q -F raw "$T/p/new.vdi" "$T/p/raw.img" || fail "new.vdi: wrong contents"
	sound new.vdi
}

t_vmdk() {
	foreign vmdk
}

t_vhdx() {
	foreign vhdx
}

t_vpc() {
	foreign vpc
}
