# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# -snapshot and snapshot=on: what a guest writes does not reach the image, unless the monitor is
# told to commit it; and nothing is left of the temporary file, whose directory is $T/left.

export_tmpdir() {
	export TMPDIR=$T/left
}

hmp() { # COMMAND...: of the text monitor; the answers are in $T/answers
	local c steps=()
	for c; do
		steps+=("{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"$c\"}}")
	done
	qmp "${steps[@]}" >"$T/answers"
}

unchanged() { # FILE COPY
	cmp "$1" "$2" || fail "$(basename "$1") was written to"
}

t_snapshot_raw() {
	export_tmpdir
	disk 5
	cp "$T/disk" "$T/before"
	checked virtio-blk -append 'transport=modern irq=msix' -snapshot -drive "file=$T/disk,format=raw,if=virtio"
	unchanged "$T/disk" "$T/before"
	checked virtio-blk -append 'transport=modern irq=msix' -drive "file=$T/disk,format=raw,if=virtio,snapshot=on,cache=none,aio=native"
	unchanged "$T/disk" "$T/before"
	checked virtio-blk -machine micro -append 'transport=mmio' -snapshot -hda "$T/disk"
	unchanged "$T/disk" "$T/before"
	chmod 444 "$T/disk" # it need not be writable
	checked virtio-blk -append 'transport=modern irq=msix' -snapshot -drive "file=$T/disk,format=raw,if=virtio"
	chmod 644 "$T/disk"
	# A drive that says it itself is not meant.
	checked virtio-blk -append 'transport=modern irq=msix' -snapshot -drive "file=$T/disk,format=raw,if=virtio,snapshot=off"
	! cmp -s "$T/disk" "$T/before" || fail 'nothing was written'
}

t_snapshot_formats() {
	need qemu-img
	export_tmpdir
	disk 5
	for f in qcow2 vmdk vdi vpc vhdx; do
		qemu-img convert -q -f raw -O $f "$T/disk" "$T/disk.$f"
		cp "$T/disk.$f" "$T/before"
		checked virtio-blk -append 'transport=modern irq=msix verify=5' -snapshot -drive "file=$T/disk.$f,format=$f,if=virtio"
		unchanged "$T/disk.$f" "$T/before"
	done
}

commit_works() { # FORMAT [OPTION...]: what was written goes to the image when asked, and later writes do not
	local f=$1 image=$T/disk
	shift
	export_tmpdir
	disk 5
	if [ "$f" != raw ]; then
		need qemu-img
		image=$T/disk.$f
		qemu-img convert -q -f raw -O "$f" "$T/disk" "$image"
	fi
	cp "$image" "$T/before"
	io_vm w:0:256:6,k,r:0:256:6,r:256:512:5,w:128:256:7,k,r:128:256:7 "file=$image,format=$f,snapshot=on" "$@"
	wait_out '^w:0:256:6: ok'
	unchanged "$image" "$T/before"
	hmp 'info block' 'commit d0'
	expect_in "$T/answers" 'temporary overlay of .*/disk.* in .*/left' 'Backing file'
	expect_not "$T/answers" 'Error|error'
	key
	wait_out '^w:128:256:7: ok'
	if [ "$f" = raw ]; then
		cmp -n $((256 * 512)) "$image" <(pattern 6 $((256 * 512))) || fail 'the image has not what was committed'
		cmp -i $((256 * 512)) "$image" "$T/before" || fail 'more was written than the guest had'
	fi
	key
	ends_well
	expect_out '^r:0:256:6: ok' '^r:256:512:5: ok' '^r:128:256:7: ok'
	[ "$f" = raw ] || qemu-img convert -q -f "$f" -O raw "$image" "$T/disk"
	cmp -n $((256 * 512)) "$T/disk" <(pattern 6 $((256 * 512))) || fail 'the image has not what was committed'
	[ "$f" != qcow2 ] || qemu-img check -q "$image" || fail "$(qemu-img check "$image" 2>&1)"
}
t_snapshot_commit_raw() { commit_works raw; }
t_snapshot_commit_qcow2() { commit_works qcow2; }
t_snapshot_commit_vdi() { commit_works vdi; }
t_snapshot_commit_iothread() { dev=iothread=io0 commit_works qcow2 -object iothread,id=io0; }

t_snapshot_commit_all() { # drives with nothing behind them are passed over
	export_tmpdir
	disk 5
	truncate -s 1M "$T/other"
	io_vm w:0:8:6,k "file=$T/disk,format=raw,snapshot=on" -drive "file=$T/other,format=raw,if=none,id=d1" -device virtio-blk-pci,drive=d1
	wait_out '^w:0:8:6: ok'
	hmp 'commit d1' 'commit nobody' 'commit all'
	expect_in "$T/answers" "drive 'd1': .*/other has no backing file" "Device 'nobody' not found"
	pattern 6 4096 | cmp -n 4096 - "$T/disk" || fail 'nothing was committed'
	key
	ends_well
}

t_snapshot_commit_overlay() { # of an image with a backing file of its own
	need qemu-img
	export_tmpdir
	disk 5
	build/posada-img create -q -f qcow2 -b disk -F raw "$T/top.qcow2"
	io_vm w:0:8:6,k "file=$T/top.qcow2,format=qcow2"
	wait_out '^w:0:8:6: ok'
	hmp 'commit d0'
	pattern 6 4096 | cmp -n 4096 - "$T/disk" || fail 'nothing was committed'
	key
	ends_well
	qemu-img compare -q "$T/top.qcow2" "$T/disk" || fail 'the two differ'
	qemu-img check -q "$T/top.qcow2" || fail "$(qemu-img check "$T/top.qcow2" 2>&1)"
}

t_snapshot_commit_in_use() { # another machine reads the image: then it is not written
	need_kvm
	export_tmpdir
	disk 5
	cp "$T/disk" "$T/before"
	io_vm w:0:8:6,k,r:0:8:6 "file=$T/disk,format=raw,snapshot=on"
	wait_out '^w:0:8:6: ok'
	"$POSADA" -S -display none -serial none -monitor none -kernel $G/virtio-io.elf \
		-drive "file=$T/disk,format=raw,if=virtio,snapshot=on" </dev/null >"$T/other" 2>&1 &
	local other=$!
	for _ in {1..500}; do
		! readlink "/proc/$other/fd/"* 2>/dev/null | grep -q 'left/#' || break
		sleep 0.02
	done
	hmp 'commit d0'
	expect_in "$T/answers" "drive 'd0': .*disk' is in use by process $other \\(posada\\)"
	unchanged "$T/disk" "$T/before"
	kill $other
	wait $other || true
	hmp 'commit d0'
	pattern 6 4096 | cmp -n 4096 - "$T/disk" || fail 'nothing was committed'
	key
	ends_well
	expect_out '^r:0:8:6: ok'
}

t_snapshot_killed() { # nothing is left: the runner looks into $T/left
	export_tmpdir
	disk 5
	cp "$T/disk" "$T/before"
	io_vm w:0:1024:6,k "file=$T/disk,format=raw,snapshot=on"
	wait_out '^w:0:1024:6: ok'
	kill -9 "$vm"
	wait_vm
	unchanged "$T/disk" "$T/before"
}

t_snapshot_twice() { # two machines on one image
	export_tmpdir
	disk 5
	io_vm w:0:8:6,k "file=$T/disk,format=raw,snapshot=on"
	wait_out '^w:0:8:6: ok'
	run "$POSADA" -nographic -m 64 -device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/virtio-io.elf \
		-append do=r:0:8:5,w:0:8:7 -drive "file=$T/disk,format=raw,if=virtio,snapshot=on"
	expect_status 33
	expect_out '^r:0:8:5: ok' '^w:0:8:7: ok'
	kill -9 "$vm"
	wait_vm
}

t_snapshot_refused() {
	disk 5
	TMPDIR=$T/none drive_refused 71 "file=$T/disk,format=raw,if=virtio,snapshot=on" \
		"temporary overlay in '$T/none' \(.TMPDIR\): No such file" 'set TMPDIR'
	vm "${K[@]}" -snapshot -blockdev "driver=file,filename=$T/disk,node-name=d0"
	refused 64 '-snapshot: -blockdev driver=file' 'posada-img create -b'
	drive_refused 64 "file=$T/disk,format=raw,snapshot=maybe" 'snapshot=maybe'
}

# In a mount namespace, a program with a small file system for its temporary files.
small_tmp() { # SIZE [COMMAND]: which is run first
	need_root
	need_kvm
	need unshare
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	mkdir "$T/small"
	set -- "$@" :
	cat >"$T/posada" <<-END
		#!/bin/sh
		[ "\$1" = inside ] || exec unshare -m "$T/posada" inside "\$@"
		shift
		mount -t tmpfs -o size=$1 none "$T/small" && head -c 4M /dev/zero >"$T/small/filler"
		export TMPDIR=$T/small
		$2
		exec "$POSADA" "\$@"
	END
	chmod +x "$T/posada"
	POSADA=$T/posada
}

t_snapshot_full() { # the guest waits for room, and goes on
	small_tmp 8m
	disk 5 $((16 << 20))
	cp "$T/disk" "$T/before"
	io_vm k,w:0:12288,r:0:12288:1,r:16384:512:5,f "file=$T/disk,format=raw,snapshot=on"
	events_after_key '"event": "BLOCK_IO_ERROR"' '"nospace": true' '"event": "STOP"'
	status_is io-error
	rm "/proc/$vm/root$T/small/filler" || fail "the file system of the VM is not to be reached"
	wait_out '^w:0:12288: ok'
	ends_well
	expect_out '^r:0:12288:1: ok' '^r:16384:512:5: ok' '^f: ok'
	expect_err 'no room for temporary overlay of .*/disk in .*/small; the guest waits' 'there is room again'
	unchanged "$T/disk" "$T/before"
}

t_snapshot_no_room() { # not even for the empty overlay
	small_tmp 4m
	disk 5
	drive_refused 71 "file=$T/disk,format=raw,if=virtio,snapshot=on" "temporary overlay in '$T/small'.*No space left" 'TMPDIR'
}


# A qcow2 image on a file system without room: what is there stays sound, and the guest waits.
t_qcow2_disk_full() {
	need qemu-img
	small_tmp 8m "build/posada-img create -q -f qcow2 $T/small/d.qcow2 32M"
	local image=/proc/self/root$T/small/d.qcow2
	io_vm k,w:0:12288,r:0:12288:1,f,k "file=$T/small/d.qcow2,format=qcow2"
	events_after_key '"event": "BLOCK_IO_ERROR"' '"nospace": true' '"event": "STOP"'
	status_is io-error
	image=/proc/$vm/root$T/small/d.qcow2
	qemu-img check -U "$image" >"$T/check" 2>&1 || [ $? = 3 ] || fail "the image is corrupt: $(cat "$T/check")"
	rm "/proc/$vm/root$T/small/filler" || fail "the file system of the VM is not to be reached"
	wait_out '^f: ok'
	qemu-img check -U "$image" >"$T/check" 2>&1 || [ $? = 3 ] || fail "the image is corrupt: $(cat "$T/check")"
	qemu-img convert -U -f qcow2 -O raw "$image" "$T/raw"
	cmp -n $((12288 * 512)) "$T/raw" <(pattern 1 $((12288 * 512))) || fail 'the image is not right'
	key
	ends_well
	expect_out '^r:0:12288:1: ok'
	expect_err 'no room for .*/d.qcow2; the guest waits' 'there is room again'
}
