# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Guests on encrypted disks: what they read and write is what qemu-img finds there, and
# without the key nothing is.

passphrase() {
	printf 'a phrase of words' >"$T/pass"
	secret=(-object "secret,id=sec0,file=$T/pass")
}

# An encrypted disk with pattern 5.
crypt_disk() { # FORMAT OPTIONS
	need qemu-img
	passphrase
	disk 5
	build/posada-img create -q --object "secret,id=sec0,file=$T/pass" -f "$1" -o "$2" "$T/disk.$1" 4M ||
		fail "$1 was not created"
	key="key-secret=sec0"
	[ "$1" = luks ] || key=encrypt.$key
	opts=driver=$1,$key,file.filename=$T/disk.$1
	qemu-img convert -q -n --object "secret,id=sec0,file=$T/pass" -f raw "$T/disk" --target-image-opts "$opts" ||
		fail "qemu-img cannot write it"
}

crypt_has() { # SEED: what the other tool sees, and nothing of it as it is
	qemu-img convert -q --object "secret,id=sec0,file=$T/pass" --image-opts "$opts" -O raw "$T/disk" || fail "qemu-img cannot read it"
	disk_has "$1"
	! grep -aq "$(pattern "$1" 16)" "$T"/disk."$2" || fail 'the data are not encrypted'
}

t_crypt_qcow2() {
	crypt_disk qcow2 encrypt.format=luks,encrypt.key-secret=sec0,encrypt.iter-time=10
	checked virtio-blk "${secret[@]}" -append 'transport=modern irq=msix verify=5 final=9' \
		-drive "file=$T/disk.qcow2,format=qcow2,if=virtio,encrypt.key-secret=sec0"
	qemu-img check -q --object "secret,id=sec0,file=$T/pass" --image-opts "$opts" || fail 'qemu-img check'
	crypt_has 9 qcow2
}

t_crypt_luks() {
	crypt_disk luks key-secret=sec0,iter-time=10
	checked virtio-blk "${secret[@]}" -append 'transport=modern irq=msix verify=5 final=9' \
		-drive "file=$T/disk.luks,format=luks,if=virtio,key-secret=sec0"
	crypt_has 9 luks
}

# The overlay is not encrypted, and the image behind it stays as it was.
t_crypt_backing_file() {
	crypt_disk qcow2 encrypt.format=luks,encrypt.key-secret=sec0,encrypt.iter-time=10
	cp "$T/disk.qcow2" "$T/before.qcow2"
	qemu-img create -q -f qcow2 -u -b disk.qcow2 -F qcow2 "$T/top.qcow2" 4M
	checked virtio-blk "${secret[@]}" -append 'transport=modern irq=msix verify=5 final=9' \
		-drive "file=$T/top.qcow2,format=qcow2,if=virtio,backing.encrypt.key-secret=sec0"
	cmp "$T/disk.qcow2" "$T/before.qcow2" || fail 'the backing file was written to'
	opts=driver=qcow2,file.filename=$T/top.qcow2,backing.encrypt.key-secret=sec0
	crypt_has 9 qcow2
}

t_crypt_refused() {
	crypt_disk qcow2 encrypt.format=luks,encrypt.key-secret=sec0,encrypt.iter-time=10
	vm "${K[@]}" -drive "file=$T/disk.qcow2,format=qcow2,if=virtio"
	refused 64 'disk.qcow2 is encrypted, and encrypt.key-secret= is missing' '-object secret'
	vm "${K[@]}" -drive "file=$T/disk.qcow2,format=qcow2,if=virtio,encrypt.key-secret=none"
	refused 64 'encrypt.key-secret=none: no secret has this name'
	printf wrong >"$T/pass"
	vm "${K[@]}" "${secret[@]}" -drive "file=$T/disk.qcow2,format=qcow2,if=virtio,encrypt.key-secret=sec0"
	refused 66 'disk.qcow2.*(passphrase|key)'
}
