# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux and its file systems on virtio disks, by each way to attach one; what reached the host is checked there.

# The image on which the guest makes a file system, 64 MiB to put on it, and an initramfs with mke2fs and e2fsck.
disk_files() {
	need mke2fs e2fsck debugfs
	truncate -s 160M "$T/disk.img"
	head -c 64M /dev/urandom >"$T/source.img"
	guests/linux/tools "$T/tools.cpio" mke2fs e2fsck || fail 'no archive of tools'
	cat "$INITRAMFS" "$T/tools.cpio" >"$T/initrd"
	INITRAMFS=$T/initrd
}

disk_is_right() {
	expect_status 0
	expect_out '^Posada test disk: pass [1-9]'
	e2fsck -f -n "$T/disk.img" >"$T/fsck" 2>&1 || fail "e2fsck: $(tail -3 "$T/fsck")"
	debugfs -R "dump /data $T/data" "$T/disk.img" >/dev/null 2>&1
	cmp "$T/data" "$T/source.img" || fail 'the file is not what was written'
}

limit[linux_disk]=290
t_linux_disk() {
	disk_files
	linux "$LINUX_UP/vmlinux" posada.test=disk -m 96 -drive "file=$T/disk.img,format=raw,if=virtio" \
		-drive "file=$T/source.img,format=raw,if=virtio,readonly=on"
	disk_is_right
}
limit[linux_disk_smp]=290
t_linux_disk_smp() {
	disk_files
	linux "$LINUX_SMP/vmlinux" posada.test=disk -m 96 -smp 2 -object iothread,id=io0 \
		-drive "file=$T/disk.img,format=raw,if=none,id=d0,cache=none,aio=native" \
		-device virtio-blk-pci,drive=d0,num-queues=2,iothread=io0,disable-legacy=on \
		-drive "file=$T/source.img,format=raw,if=none,id=d1,readonly=on" -device virtio-blk-pci,drive=d1,iothread=io0
	disk_is_right
}
limit[linux_disk_micro]=290
t_linux_disk_micro() {
	disk_files
	linux "$LINUX_UP/vmlinux" posada.test=disk -M micro -m 96 -drive "file=$T/disk.img,format=raw,if=virtio,aio=threads" \
		-drive "file=$T/source.img,format=raw,if=virtio,readonly=on"
	disk_is_right
}
limit[linux_disk_ide]=290
t_linux_disk_ide() { # the file system on IDE, by DMA; what it is to hold comes from a virtio disk
	disk_files
	truncate -s 1M "$T/vda"
	linux "$LINUX_UP/vmlinux" 'posada.test=disk posada.disk=sda' -m 96 -hda "$T/disk.img" \
		-drive "file=$T/vda,format=raw,if=virtio" -drive "file=$T/source.img,format=raw,if=virtio,readonly=on"
	disk_is_right
}
limit[linux_disk_packed]=290
t_linux_disk_packed() {
	disk_files
	linux "$LINUX_UP/vmlinux" posada.test=disk -m 96 -blockdev "driver=file,filename=$T/disk.img,node-name=f0" \
		-blockdev driver=raw,file=f0,node-name=d0 -device virtio-blk-pci,drive=d0,packed=on \
		-drive "file=$T/source.img,format=raw,if=virtio,readonly=on"
	disk_is_right
}

# A guest on qcow2: the overlay takes what it writes, the image below stays as it was, and the other tool agrees.
t_qcow2_with_backing_file() {
	need qemu-img
	head -c 4M /dev/zero | tr '\0' '\7' >"$T/base.raw"
	qemu-img convert -q -f raw -O qcow2 "$T/base.raw" "$T/base.qcow2"
	cp "$T/base.qcow2" "$T/before.qcow2"
	build/posada-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$T/disk.qcow2"
	checked virtio-blk -append 'transport=modern irq=msix' -drive "file=$T/disk.qcow2,if=virtio"
	cmp "$T/base.qcow2" "$T/before.qcow2" || fail 'the backing file was written to'
	qemu-img check -q "$T/disk.qcow2" || fail "qemu-img check: $(qemu-img check "$T/disk.qcow2" 2>&1)"
	build/posada-img convert -q -O raw "$T/disk.qcow2" "$T/disk.raw"
	qemu-img compare -q "$T/disk.qcow2" "$T/disk.raw" || fail 'the two tools read different bytes'
	! cmp -s "$T/disk.raw" "$T/base.raw" || fail 'nothing was written'
}

# A block device of the host: written, discarded, grown by the host's means, and not while it is mounted.
t_disk_block_device() {
	need losetup mkfs.ext2
	[ -w /dev/loop-control ] || skip 'no access to /dev/loop-control'
	disk 5 $((8 << 20))
	loop=$(losetup -f --show "$T/disk" 2>"$T/losetup") || skip "no loop device: $(cat "$T/losetup")"
	# shellcheck disable=SC2064
	trap "losetup -d $loop" EXIT
	for keys in discard=unmap cache=none,aio=native,discard=unmap cache=none,aio=threads; do
		checked virtio-blk -append 'transport=modern irq=msix' -drive "file=$loop,format=raw,if=virtio,$keys"
	done
	disk_has_been=$(head -c 64K "$T/disk" | cksum)
	[ "$disk_has_been" != "$(pattern 5 65536 | cksum)" ] || fail 'nothing was written'
	checked virtio-blk -append 'transport=modern irq=msix' -snapshot -drive "file=$loop,format=raw,if=virtio"
	[ "$disk_has_been" = "$(head -c 64K "$T/disk" | cksum)" ] || fail 'it was written in spite of -snapshot'
	io_vm k,w:16384:8:9,r:16384:8:9 "file=$loop,format=raw"
	wait_out '^waits for a key'
	hmp 'block_resize d0 16M'
	expect_in "$T/answers" "has 8388608 bytes and cannot grow to 16777216"
	truncate -s 16M "$T/disk"
	losetup -c "$loop"
	hmp 'block_resize d0 16M'
	key
	ends_well
	expect_out '^r:16384:8:9: ok'
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	mkfs.ext2 -q -F "$loop"
	mkdir "$T/mnt"
	# shellcheck disable=SC2016
	run unshare -m sh -c 'mount "$1" "$2" && shift 2 && exec "$@"' sh "$loop" "$T/mnt" "$POSADA" "${K[@]}" -drive "file=$loop,format=raw,if=virtio"
	refused 66 "'$loop' is in use: it is mounted at $T/mnt" 'umount'
}
