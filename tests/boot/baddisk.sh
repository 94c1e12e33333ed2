# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks: what a user can get wrong, what can go wrong on the host, and control from outside while
# requests are on their way. The guest is mostly guests/virtio-io.c, which does what do= says.

drive_refused() { # STATUS -drive's-argument REGEX...
	local status_wanted=$1 arg=$2
	shift 2
	vm "${K[@]}" -drive "$arg"
	refused "$status_wanted" '-drive' "$@"
}
device_refused() { # PROPERTIES REGEX...: of a device whose drive d0 is well
	local props=$1
	shift
	truncate -s 1M "$T/disk"
	vm "${K[@]}" -drive "file=$T/disk,format=raw,if=none,id=d0" -device "virtio-blk-pci,$props"
	refused 64 '-device' "$@"
}
unprivileged=(setpriv --inh-caps=-all --bounding-set=-all) # the file's mode counts also for root

# --- files
t_baddisk_missing() {
	drive_refused 66 "file=$T/none.img,format=raw,if=virtio" "none\.img.*No such file" 'truncate -s'
	vm "${K[@]}" -hda "$T/none.img"
	refused 66 '-hda' 'none\.img.*No such file'
	drive_refused 66 "file=$T/no/dir.img,format=raw,if=virtio" 'no/dir\.img.*No such file'
}
t_baddisk_unreadable() {
	need_root
	need_kvm
	need setpriv
	truncate -s 1M "$T/secret"
	chmod 0 "$T/secret"
	run "${unprivileged[@]}" "$POSADA" "${K[@]}" -drive "file=$T/secret,format=raw,if=virtio"
	refused 66 "$T/secret" 'ermission denied' 'ls -l'
	run "${unprivileged[@]}" "$POSADA" "${K[@]}" -drive "file=$T/secret,format=raw,if=virtio,readonly=on"
	refused 66 "$T/secret" 'ermission denied'
}
t_baddisk_readonly_file() {
	need_root
	need_kvm
	need setpriv
	disk 5
	chmod 444 "$T/disk"
	run "${unprivileged[@]}" "$POSADA" "${K[@]}" -drive "file=$T/disk,format=raw,if=virtio"
	refused 66 "$T/disk.* for writing.*ermission denied" 'readonly=on'
	run "${unprivileged[@]}" "$POSADA" -nographic -m 64 -device isa-debug-exit,iobase=0x501,iosize=2 \
		-kernel $G/virtio-io.elf -append do=r:0:8192:5,w:0:8 -drive "file=$T/disk,format=raw,if=virtio,readonly=on"
	expect_status 33
	expect_out '^r:0:8192:5: ok' '^w:0:8: ioerr'
}
t_baddisk_readonly_file_system() {
	need_root
	need_kvm
	need unshare
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	mkdir "$T/fs"
	disk 5
	mv "$T/disk" "$T/fs/disk"
	# shellcheck disable=SC2016
	local in_ro=(unshare -m sh -c 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"' "$T/fs" "$POSADA")
	run "${in_ro[@]}" "${K[@]}" -drive "file=$T/fs/disk,format=raw,if=virtio"
	refused 66 "fs/disk.* for writing: Read-only file system" 'readonly=on'
	run "${in_ro[@]}" -nographic -m 64 -device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/virtio-io.elf \
		-append do=r:0:8192:5 -drive "file=$T/fs/disk,format=raw,if=virtio,readonly=on"
	expect_status 33
	expect_out '^r:0:8192:5: ok'
}
t_baddisk_not_a_file() {
	mkfifo "$T/fifo"
	ln -s loop "$T/loop"
	drive_refused 66 "file=$T,format=raw,if=virtio" "$T' is a directory"
	seconds=10 drive_refused 66 "file=$T/fifo,format=raw,if=virtio" "fifo' is a FIFO"
	drive_refused 66 "file=$T/loop,format=raw,if=virtio" 'loop.*Too many levels'
	drive_refused 66 "file=/dev/null,format=raw,if=virtio" "/dev/null' is a character device"
	drive_refused 66 "file.driver=host_device,file.filename=$POSADA,format=raw,if=virtio" 'not a block device' 'driver=file'
}
t_baddisk_odd_size() { # the last sector is there, and the rest of it zeroes
	head -c 1000 /dev/zero | tr '\0' x >"$T/disk"
	guest virtio-io -drive "file=$T/disk,format=raw,if=virtio" -append do=r:1:1,r:2:1,w:1:1,r:1:1:1
	expect_status 33
	expect_err '1000 bytes are not a multiple of 512.*1024'
	expect_out '^capacity 2 sectors' '^r:1:1: ok' '^r:2:1: ioerr' '^w:1:1: ok' '^r:1:1:1: ok'
	[ "$(stat -c %s "$T/disk")" = 1024 ] || fail "the file has $(stat -c %s "$T/disk") bytes"
}
t_baddisk_empty() {
	: >"$T/disk"
	guest virtio-io -drive "file=$T/disk,format=raw,if=virtio" -append do=r:0:1,w:0:1,f
	expect_status 33
	expect_out '^capacity 0 sectors' '^r:0:1: ioerr' '^w:0:1: ioerr' '^f: ok'
	[ ! -s "$T/disk" ] || fail "the file has grown"
}
t_baddisk_names() { # with commas, colons, dashes
	local name
	cd "$T"
	for name in a,b c:d -e 'g h' 'file:i' json:x; do
		truncate -s 1M -- "$name"
	done
	vm -nographic -kernel "$OLDPWD/$G/hello.elf" -drive file=a,b,format=raw,if=virtio
	refused 64 "unknown key 'b'" "twice: ',,'"
	vm -nographic -kernel "$OLDPWD/$G/hello.elf" -drive file=c:d,format=raw,if=virtio
	refused 64 "unknown protocol 'c'" 'file:c:d'
	vm -nographic -kernel "$OLDPWD/$G/hello.elf" -drive file=json:x,format=raw,if=virtio
	refused 64 'JSON'
	for name in a,,b ./c:d file:c:d -e 'g h' ./file:i file:file:i ./json:x "$T/c:d"; do
		seconds=20 G=$OLDPWD/$G checked hello -drive "file=$name,format=raw,if=virtio"
		[ ! -s "$T/err" ] || fail "$name: $(cat "$T/err")"
	done
	for name in a,b c:d -e 'g h' file:i json:x; do
		seconds=20 G=$OLDPWD/$G checked hello -hda "$name"
		expect_err "format=raw"
	done
}

# --- formats and modes
t_baddisk_format() {
	truncate -s 1M "$T/disk"
	drive_refused 66 "file=$T/disk,format=qcow2,if=virtio" "is not a qcow2 image" 'looks like raw'
	drive_refused 64 "file=$T/disk,format=rwa,if=virtio" "'rwa'" "'raw'"
	drive_refused 64 "file=$T/disk,format=file,if=virtio" "'file' is not a format"
	drive_refused 64 "file=$T/disk,format=raw,driver=qcow2,if=virtio" 'format=raw and driver=qcow2'
}
t_baddisk_foreign() { # a format that is known, and not read as raw without being told to
	need qemu-img
	qemu-img create -q -f qed "$T/disk" 1M
	drive_refused 66 "file=$T/disk,if=virtio" 'is an image of format qed' 'qemu-img convert'
	guest virtio-io -drive "file=$T/disk,format=raw,if=virtio" -append do=r:0:8
	expect_status 33
}
t_baddisk_probed_raw() { # such a guest cannot turn its disk into another format
	truncate -s 1M "$T/disk"
	guest virtio-io -drive "file=$T/disk,if=virtio" -append do=w:0:8,r:0:8:1
	expect_status 33
	expect_err 'format .*was not given.*format=raw'
	expect_out '^w:0:8: ok' '^r:0:8:1: ok'
}
t_baddisk_modes() {
	truncate -s 1M "$T/disk"
	local d=file=$T/disk,format=raw,if=virtio
	drive_refused 64 "$d,cache=fast" 'cache=fast' 'writethrough'
	drive_refused 64 "$d,cache=writebak" 'cache=writebak' "'writeback'"
	drive_refused 64 "$d,aio=uring" 'aio=uring' "'io_uring'"
	drive_refused 64 "$d,aio=native" 'aio=native' 'cache=none'
	drive_refused 64 "$d,aio=native,cache=writeback" 'aio=native' 'cache=none'
	drive_refused 64 "$d,werror=panic" 'werror=panic' 'report ignore stop enospc'
	drive_refused 64 "$d,rerror=enospc" 'rerror=enospc' 'report ignore stop'
	drive_refused 64 "$d,discard=maybe" 'discard=maybe'
	drive_refused 64 "$d,detect-zeroes=unmap" 'detect-zeroes=unmap needs discard=unmap'
	drive_refused 64 "$d,readonly=maybe" 'readonly=maybe' 'on, off or auto'
	drive_refused 64 "$d,copy-on-read=on" 'copy-on-read'
	drive_refused 64 "$d,cahce=none" "unknown key 'cahce'" "'cache'"
	drive_refused 64 "$d,if=scsi" 'if=scsi' 'if=virtio'
	drive_refused 64 "$d,if=vritio" 'if=vritio' "'virtio'"
	vm -M micro "${K[@]}" -drive "$d,if=pflash"
	refused 64 'if=pflash: this machine has no firmware'
	drive_refused 64 "$d,index=-1" 'index=-1'
	drive_refused 64 "$d,id=5x" 'id=5x' 'a letter'
	drive_refused 64 "$T/disk" "has no '='" 'file='
	drive_refused 64 'if=virtio' 'file= is missing' 'file=FILE'
	drive_refused 64 'file=,if=virtio' 'empty'
	drive_refused 66 "file=blkdebug:$T/none:$T/disk,format=raw,if=virtio" 'none.*No such file'
}
t_baddisk_throttling() {
	truncate -s 1M "$T/disk"
	local d=file=$T/disk,format=raw,if=virtio,throttling
	drive_refused 64 "$d.iops-total=10,throttling.iops-read=5" 'iops-total together with iops-read'
	drive_refused 64 "$d.bps-total=10M,throttling.bps-write=5M" 'bps-total together with'
	drive_refused 64 "$d.iops-total-max=10" 'iops-total-max' 'throttling\.iops-total='
	drive_refused 64 "$d.iops-total=10,throttling.iops-total-max=5" 'iops-total-max=5 is below throttling\.iops-total=10'
	drive_refused 64 "$d.iops-total=-1" 'iops-total=-1'
	drive_refused 64 "$d.iops-total=many" 'iops-total=many'
	drive_refused 64 "$d.iops-totl=1" 'iops-totl' "'throttling\.iops-total'"
	drive_refused 64 "$d.iops-total-max-length=5,throttling.iops-total=1" 'max-length'
}
t_baddisk_blockdev() {
	truncate -s 1M "$T/disk"
	local arg
	blockdev() { # STATUS ARGUMENT REGEX...
		local status_wanted=$1
		vm "${K[@]}" -blockdev "$2"
		shift 2
		refused "$status_wanted" '-blockdev' "$@"
	}
	blockdev 64 'driver=raw,node-name=n' 'node below' 'file\.filename'
	blockdev 64 "driver=rwa,node-name=n,file.filename=$T/disk" "'rwa'" "'raw'"
	blockdev 64 "driver=file,filename=$T/disk" 'node-name= is missing'
	blockdev 64 "filename=$T/disk,node-name=n" 'driver= is missing'
	blockdev 64 '{"driver":"raw"' 'JSON: line 1'
	blockdev 66 "{\"driver\":\"file\",\"filename\":\"$T/none\",\"node-name\":\"n\"}" "none.*No such file"
	blockdev 64 "driver=file,filename=$T/disk,node-name=n,foo=1" "unknown key 'foo'" 'filename'
	blockdev 64 'driver=raw,node-name=n,file=nowhere' 'nowhere'
}

# --- drives and devices
t_baddisk_device() {
	device_refused queue-size=0,drive=d0 'queue-size=0' '2 and 1024'
	device_refused queue-size=3,drive=d0 'queue-size=3' 'power of two' '256'
	device_refused queue-size=2048,drive=d0 'queue-size=2048' '1024'
	device_refused num-queues=0,drive=d0 'num-queues=0' '1 and 64'
	device_refused num-queues=65,drive=d0 'num-queues=65' '1 and 64'
	device_refused iothread=io9,drive=d0 'iothread=io9' '-object iothread,id=io9'
	device_refused logical_block_size=1000,drive=d0 'logical_block_size=1000' 'power of two'
	device_refused logical_block_size=4096,physical_block_size=512,drive=d0 'physical_block_size=512' 'smaller'
	device_refused share-rw=on,drive=d0 'share-rw=on' '-drive'
	device_refused drvie=d0 "'drvie'" "'drive'"
	device_refused serial=x 'drive= is missing' 'drive=d0'
	device_refused drive=d1 "'d1'" "'d0'"
	vm "${K[@]}" -device virtio-blk-pci,drive=d1
	refused 64 "'d1'" '-drive .*id=d1'
}
t_baddisk_two_devices() {
	truncate -s 1M "$T/disk"
	local d=file=$T/disk,format=raw,id=d0 v=virtio-blk-pci,drive=d0
	vm "${K[@]}" -drive "$d,if=none" -device $v -device $v
	refused 64 "drive 'd0' is used by another device"
	vm "${K[@]}" -drive "$d,if=virtio" -device $v
	refused 64 "drive 'd0' is used by another device" 'if=none'
}
t_baddisk_too_many() {
	local i opts=()
	for i in {1..40}; do
		truncate -s 1M "$T/$i"
		opts+=(-drive "file=$T/$i,format=raw,if=virtio")
	done
	vm "${K[@]}" "${opts[@]}"
	refused 64 'drive=virtio30: no PCI slot is free' 'multifunction=on'
	vm -machine micro "${K[@]}" "${opts[@]}"
	refused 64 'drive=virtio8: .*no interrupt line is left' '-machine pc'
	# shellcheck disable=SC2016
	run sh -c 'ulimit -n 40; exec "$@"' sh "$POSADA" "${K[@]}" "${opts[@]}"
	refused 66 'Too many open files' 'ulimit -n'
}
t_baddisk_drive_without_device() {
	truncate -s 1M "$T/disk"
	checked hello -drive "file=$T/disk,format=raw,if=none,id=d7"
	expect_err "drive 'd7' has no device" 'virtio-blk-pci,drive=d7'
}
t_baddisk_long_serial() {
	truncate -s 1M "$T/disk"
	checked hello -drive "file=$T/disk,format=raw,if=virtio,serial=123456789012345678901234"
	expect_err 'serial=123456789012345678901234.*20 bytes'
}
t_baddisk_objects() {
	object() { # ARGUMENT REGEX...
		vm "${K[@]}" -object "$1"
		shift
		refused 64 '-object' "$@"
	}
	object iothred,id=a "'iothred'" "'iothread'"
	object iothread 'id= is missing'
	object iothread,id=a,poll=3 "'poll'" 'poll-max-ns'
	object iothread,id=a,poll-max-ns=-5 'poll-max-ns=-5'
	object '' "no object ''" 'iothread'
	vm "${K[@]}" -object iothread,id=a -object iothread,id=a
	refused 64 'id=a: another object'
}
t_baddisk_duplicates() {
	truncate -s 1M "$T/disk" "$T/other"
	local d=file=$T/disk,format=raw o=file=$T/other,format=raw
	vm "${K[@]}" -drive "$d,if=none,id=d0" -drive "$o,if=none,id=d0"
	refused 64 'id=d0: another drive'
	vm "${K[@]}" -drive "$d,if=virtio,index=1" -drive "$o,if=virtio,index=1"
	refused 64 'index=1: another drive'
	vm "${K[@]}" -blockdev "driver=file,filename=$T/disk,node-name=n" -blockdev "driver=file,filename=$T/other,node-name=n"
	refused 64 'node-name=n: another'
	vm "${K[@]}" -hda "$T/disk" -hda "$T/other"
	refused 64 '-hda .*other: there is a -hda already, .*disk'
}
t_baddisk_hda() {
	disk 5
	guest virtio-io -machine micro -hda "$T/disk" -append 'transport=mmio do=r:0:8192:5,w:8:8,r:8:8:1'
	expect_status 33
	expect_out '^r:0:8192:5: ok' '^w:8:8: ok' '^r:8:8:1: ok'
}

# --- who has the image
t_baddisk_twice() {
	truncate -s 1M "$T/disk"
	ln "$T/disk" "$T/same"
	vm "${K[@]}" -drive "file=$T/disk,format=raw,if=virtio" -drive "file=$T/same,format=raw,if=virtio"
	refused 64 "drive 'virtio0' has this image already" 'readonly=on'
	checked hello -drive "file=$T/disk,format=raw,if=virtio,readonly=on" -drive "file=$T/same,format=raw,if=virtio,readonly=on"
}
t_baddisk_two_vms() {
	truncate -s 1M "$T/disk"
	controlled -m 64 -kernel $G/virtio-io.elf -append do=w:0:8,h -drive "file=$T/disk,format=raw,if=virtio"
	wait_out '^w:0:8: ok'
	mkdir "$T/second"
	other() { # OPTION...: another VM, its messages in a place of their own
		(T=$T/second && run "$POSADA" "${K[@]}" -drive "$1" && shift && refused 66 "$@")
	}
	other "file=$T/disk,format=raw,if=virtio" "disk' is .* by process $vm \\(" 'share-rw=on'
	other "file=$T/disk,format=raw,if=virtio,readonly=on" "is being written by process $vm \\("
	if command -v qemu-img >/dev/null; then
		! qemu-img resize -f raw "$T/disk" 2M >"$T/info" 2>&1 || fail "qemu-img resized it"
		expect_in "$T/info" 'lock'
		! qemu-img convert -f raw -O raw "$T/disk" "$T/copy" >"$T/info" 2>&1 || fail "qemu-img copied it"
		expect_in "$T/info" 'lock'
		! qemu-io -f raw -c 'write 0 512' "$T/disk" >"$T/info" 2>&1 || fail "qemu-io wrote to it"
		expect_in "$T/info" 'lock'
		qemu-img info -f raw "$T/disk" >"$T/info" 2>&1 || fail "qemu-img cannot look at it: $(cat "$T/info")"
	fi
	qmp '{"execute":"quit"}' >/dev/null
	wait_vm
	expect_status 0
	[ ! -x "$(command -v qemu-io)" ] || qemu-io -f raw -c 'write 0 512' "$T/disk" >/dev/null || fail "it is still locked"
}
t_baddisk_qemu_has_it() {
	need qemu-io
	truncate -s 1M "$T/disk"
	mkfifo "$T/commands"
	qemu-io -f raw "$T/disk" <"$T/commands" >"$T/qemu-io" 2>&1 &
	local other=$!
	exec 3>"$T/commands"
	echo 'write 0 512' >&3
	for _ in {1..500}; do
		! grep -q wrote "$T/qemu-io" || break
		sleep 0.02
	done
	drive_refused 66 "file=$T/disk,format=raw,if=virtio" "disk'.* by process $other \(qemu-io\)"
	checked hello -drive "file=$T/disk,format=raw,if=virtio,file.locking=off"
	exec 3>&-
	wait $other
	checked hello -drive "file=$T/disk,format=raw,if=virtio"
}

# --- errors of the host
io_vm() { # SCRIPT -drive's-argument [OPTION...]: in the background; key sends a byte to its serial port
	local script=$1 drive=$2
	shift 2
	[ -p "$T/in" ] || mkfifo "$T/in"
	exec 4<>"$T/in"
	in=$T/in controlled -m 64 -kernel $G/virtio-io.elf -append "irq=msix do=$script" -drive "$drive,if=none,id=d0" \
		-device "virtio-blk-pci,drive=d0${dev:+,$dev}" -device isa-debug-exit,iobase=0x501,iosize=2 "$@"
}
key() {
	echo >&4
}
status_is() { # STATUS: until the VM's is that
	local i
	for ((i = 0; i < 250; i++)); do
		qmp '{"execute":"query-status"}' >"$T/answers" || fail "$(cat "$T/answers")"
		! grep -q "\"status\": \"$1\"" "$T/answers" || return 0
		sleep 0.02
	done
	fail "not $1: $(cat "$T/answers")"
}
# Presses the key when the guest waits for it, and stays to hear these events.
events_after_key() { # REGEX...
	local steps=() e
	for e; do
		steps+=(-e "$e")
	done
	wait_out '^waits for a key'
	rm -f "$T/events" # of another time
	"$TALK" -t 20 -u "$T/qmp" -e '"QMP"' -s '{"execute":"qmp_capabilities"}\n' -e return "${steps[@]}" >"$T/events" &
	local listener=$!
	for _ in {1..500}; do
		! grep -qs return "$T/events" || break
		sleep 0.02
	done
	key
	wait $listener || fail "events: $(cat "$T/events")"
}
ends_well() {
	wait_vm
	expect_status 33
	expect_out ' 0 failed'
}
rule() { # KEY=VALUE...
	echo '[inject-error]'
	printf '%s\n' "$@"
}

t_baddisk_truncated() {
	local cache
	for cache in writeback none; do
		disk 5
		rm -f "$T/out"
		io_vm r:0:8192:5,k,r:0:2048:5,r:2048:8,r:2040:16,r:8184:8,w:0:8:3,r:0:8:3,f \
			"file=$T/disk,format=raw,cache=$cache"
		wait_out '^waits for a key'
		truncate -s 1M "$T/disk"
		key
		ends_well
		expect_out '^r:0:2048:5: ok' '^r:2048:8: ioerr' '^r:2040:16: ioerr' '^r:8184:8: ioerr' '^w:0:8:3: ok' '^r:0:8:3: ok' \
			'^f: ok'
	done
}
t_baddisk_file_size_limit() { # a write beyond ulimit -f would end a process that did not care
	local aio
	need_kvm
	for aio in io_uring threads; do
		rm -f "$T/disk"
		truncate -s 8M "$T/disk"
		# shellcheck disable=SC2016
		run bash -c 'ulimit -f 1024; exec "$@" | cat' bash "$POSADA" -nographic -m 64 -kernel $G/virtio-io.elf \
			-append 'do=w:0:2048,w:4096:8,r:0:2048:1,f' -drive "file=$T/disk,format=raw,if=virtio,aio=$aio"
		expect_out '^w:0:2048: ok' '^w:4096:8: ioerr' '^r:0:2048:1: ok' '^f: ok'
	done
}
t_baddisk_errors_are_the_guests() {
	disk 5
	rule iotype=read sector=100 >"$T/rules"
	rule iotype=write sector=200 errno=ENOSPC >>"$T/rules"
	rule iotype=write sector=300 >>"$T/rules"
	guest virtio-io -drive "file=blkdebug:$T/rules:$T/disk,format=raw,if=virtio,werror=report" \
		-append do=r:0:100:5,r:100:1,r:101:9:5,w:200:8,w:300:8,w:400:8,f
	expect_status 33
	expect_out '^r:0:100:5: ok' '^r:100:1: ioerr' '^r:101:9:5: ok' '^w:200:8: ioerr' '^w:300:8: ioerr' '^w:400:8: ok' '^f: ok'
	expect_err "drive '.*': a read failed: Input/output error; the guest is told"
}
t_baddisk_errors_ignored() {
	disk 5
	rule iotype=read sector=100 >"$T/rules"
	rule iotype=write sector=200 >>"$T/rules"
	guest virtio-io -drive "file=blkdebug:$T/rules:$T/disk,format=raw,if=virtio,werror=ignore,rerror=ignore" \
		-append do=r:100:1,w:200:8,r:0:64:5
	expect_status 33
	expect_out '^r:100:1: ok' '^w:200:8: ok' '^r:0:64:5: ok'
	expect_err "drive '.*': a read failed: Input/output error; ignored"
}
t_baddisk_merged_errors() { # of requests that went to the host as one, only the bad one fails
	disk 5
	rule iotype=read sector=300 >"$T/rules"
	guest virtio-io -drive "file=blkdebug:$T/rules:$T/disk,format=raw,if=virtio" \
		-append do=r:0:1024,r:0:256:5,r:384:640:5
	expect_status 33
	expect_out '^r:0:1024: ioerr' '^r:0:256:5: ok' '^r:384:640:5: ok'
}
write_stops() { # [OPTION...]
	disk 5
	rule iotype=write sector=200 once=on >"$T/rules"
	io_vm k,w:200:8,r:200:8:1 "file=blkdebug:$T/rules:$T/disk,format=raw,werror=stop" "$@"
	events_after_key '"event": "BLOCK_IO_ERROR"' '"device": "d0"' '"operation": "write", "action": "stop"' \
		'"event": "STOP"'
	status_is io-error
	qmp '{"execute":"query-block"}' "$(human 'info block')" >"$T/answers"
	expect_in "$T/answers" '"io-status": "failed"' 'Waiting: *requests failed'
	expect_not "$T/out" '^w:200:8'
	qmp '{"execute":"cont"}' '{"execute":"query-status"}' >"$T/answers"
	expect_in "$T/answers" '"status": "running"|"event": "SHUTDOWN"'
	ends_well
	expect_out '^w:200:8: ok' '^r:200:8:1: ok'
	expect_err "drive 'd0': writing to .* failed: Input/output error" "the guest is stopped by this error; 'cont' tries again"
}
t_baddisk_werror_stop() { write_stops; }
t_baddisk_werror_stop_iothread() { dev=iothread=io0 write_stops -object iothread,id=io0; }
t_baddisk_rerror_stop() {
	disk 5
	rule iotype=read sector=200 once=on >"$T/rules"
	io_vm k,r:200:8:5 "file=blkdebug:$T/rules:$T/disk,format=raw,rerror=stop"
	events_after_key '"event": "BLOCK_IO_ERROR"' '"operation": "read"' '"event": "STOP"'
	status_is io-error
	qmp '{"execute":"cont"}' >/dev/null
	ends_well
	expect_out '^r:200:8:5: ok'
}
t_baddisk_stops_again() { # an error that stays: each cont tries once more; then a reset, and the same again
	local i
	disk 5
	rule iotype=write sector=200 >"$T/rules"
	io_vm k,w:200:8,h "file=blkdebug:$T/rules:$T/disk,format=raw,werror=stop"
	for i in 1 2; do
		events_after_key '"event": "BLOCK_IO_ERROR"'
		status_is io-error
		"$TALK" -t 20 -u "$T/qmp" -e '"QMP"' -s '{"execute":"qmp_capabilities"}\n{"execute":"cont"}\n' -e '"event": "RESUME"' \
			-e '"event": "BLOCK_IO_ERROR"' -e '"event": "STOP"' >"$T/answers" || fail "$(cat "$T/answers")"
		status_is io-error
		: >"$T/out"
		qmp '{"execute":"system_reset"}' >/dev/null
		status_is running
	done
	wait_out 'waits for a key'
	qmp '{"execute":"quit"}' >/dev/null
	wait_vm
	expect_status 0
}
t_baddisk_quit_while_stopped() { # requests wait after an error, and the user gives up
	disk 5
	rule iotype=write sector=200 >"$T/rules"
	io_vm k,w:200:8,h "file=blkdebug:$T/rules:$T/disk,format=raw,werror=stop"
	events_after_key '"event": "STOP"'
	kill "$vm"
	wait_vm
	expect_status 0
	pattern 5 $((4 << 20)) | cmp -s - "$T/disk" || fail "the disk is not as it was"
}
t_baddisk_stop_while_full() { # who says stop is not overruled by room on the host
	disk 5
	rule iotype=write errno=ENOSPC once=on >"$T/rules"
	io_vm k,w:200:8,r:200:8:1 "file=blkdebug:$T/rules:$T/disk,format=raw"
	events_after_key '"event": "STOP"'
	qmp '{"execute":"stop"}' '{"execute":"query-status"}' >"$T/answers"
	expect_in "$T/answers" '"status": "paused"'
	sleep 1.5 # it looks for room every second
	qmp '{"execute":"query-status"}' >"$T/answers"
	expect_in "$T/answers" '"status": "paused"'
	expect_not "$T/out" '^w:200:8'
	qmp '{"execute":"cont"}' >/dev/null
	ends_well
	expect_out '^w:200:8: ok' '^r:200:8:1: ok'
}

t_baddisk_error_during_stop() { # it comes while stop waits for the request: cont tries again
	disk 5
	rule iotype=write delay-ns=1500000000 once=on >"$T/rules"
	io_vm k,w:200:8,r:200:8:1 "file=blkdebug:$T/rules:$T/disk,format=raw,werror=stop"
	wait_out '^waits for a key'
	key
	wait_out '^k: ok'
	sleep 0.5
	qmp '{"execute":"stop"}' '{"execute":"query-status"}' '{"execute":"query-block"}' >"$T/answers"
	expect_in "$T/answers" '"status": "paused"' '"io-status": "failed"'
	expect_not "$T/out" '^w:200:8'
	qmp '{"execute":"cont"}' >/dev/null
	ends_well
	expect_out '^w:200:8: ok' '^r:200:8:1: ok'
}

# A file system of 8 MiB with half of it taken; the guest writes 6 MiB, waits, and gets them.
disk_full() { # -drive's-keys [OPTION...]
	local keys=$1 small=$T/small
	shift
	need_root
	need_kvm
	need unshare
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	mkdir "$small"
	cat >"$T/posada" <<-END
		#!/bin/sh
		[ "\$1" = inside ] || exec unshare -m "$T/posada" inside "\$@"
		shift
		mount -t tmpfs -o size=8m none "$small" && truncate -s 32M "$small/disk" &&
			head -c 4M /dev/urandom >"$small/filler" && exec "$POSADA" "\$@"
	END
	chmod +x "$T/posada"
	POSADA=$T/posada io_vm k,w:0:12288,k,r:0:12288:1,f "file=$small/disk,format=raw,$keys" "$@"
	events_after_key '"event": "BLOCK_IO_ERROR"' '"nospace": true' '"event": "STOP"'
	status_is io-error
	qmp '{"execute":"query-block"}' >"$T/answers"
	expect_in "$T/answers" '"io-status": "nospace"'
	sleep 1.3 # it tries, and there is none yet
	status_is io-error
	expect_not "$T/out" '^w:'
	rm "/proc/$vm/root$small/filler" || fail "the file system of the VM is not to be reached"
	wait_out '^w:0:12288: ok'
	status_is running
	pattern 1 $((12288 * 512)) | cmp -n $((12288 * 512)) - "/proc/$vm/root$small/disk" || fail "the image is not right"
	key
	ends_well
	expect_out '^r:0:12288:1: ok' '^f: ok'
	expect_err "drive 'd0': the host has no room for .*; the guest waits until it has" 'there is room again'
}
t_baddisk_full() { disk_full cache=writeback; }
t_baddisk_full_threads() { disk_full cache=writeback,aio=threads; }
t_baddisk_full_direct() {
	need_root
	need unshare
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	mkdir "$T/probe"
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs none "$0" && dd if=/dev/zero of="$0/x" bs=4096 count=1 oflag=direct' "$T/probe" 2>/dev/null ||
		skip "no O_DIRECT on tmpfs"
	disk_full cache=none
}
t_baddisk_full_iothread() { dev=iothread=io0 disk_full cache=writeback -object iothread,id=io0; }

# --- limits
t_baddisk_iops_limit() {
	disk 5
	guest virtio-io -drive "file=$T/disk,format=raw,if=virtio,throttling.iops-total=50" -append 'irq=msix do=t:2000,r:0:8:5'
	expect_status 33
	expect_out '^r:0:8:5: ok'
	local n
	n=$(sed -n 's/^\([0-9]*\) requests: t:2000: ok\r/\1/p' "$T/out")
	[ "$n" -ge 60 ] && [ "$n" -lt 150 ] || fail "$n requests in 2 seconds at 50 a second"
}
t_baddisk_stop_with_limit() { # what waits for its turn does not hold up a stop
	truncate -s 16M "$T/disk"
	append='' flushing 100 cache=none,throttling.iops-total=4 -monitor none -qmp "unix:$T/qmp,server=on,wait=off"
	wait_out '^begin'
	sleep 0.3
	local t0=${EPOCHREALTIME/./}
	qmp '{"execute":"stop"}' '{"execute":"quit"}' >"$T/answers"
	wait_vm
	expect_status 0
	[ $((${EPOCHREALTIME/./} - t0)) -lt 2000000 ] || fail "it took $((${EPOCHREALTIME/./} - t0)) us"
}

# --- control while requests are on their way
busy() { # [-drive's-keys] [OPTION...]: the guest writes at depth 32
	local keys=${1:-cache=none}
	shift || true
	truncate -s 16M "$T/disk"
	append='depth=32' flushing 100 "$keys" -monitor none -qmp "unix:$T/qmp,server=on,wait=off" "$@"
	wait_out $'^flushed [0-9]+\r'
}
begun() { # COUNT: until the guest has begun that often
	local i
	for ((i = 0; i < 750; i++)); do
		[ "$(cat "$T/out" 2>/dev/null | grep -ac '^begin')" -lt "$1" ] || return 0
		sleep 0.02
	done
	fail "it has not begun $1 times"
}
flushed_ones_are_there() {
	flushed_records_are_there 100 "$(sed -n 's/^flushed \([0-9]*\)\r$/\1/p' "$T/out" | tail -n 1)"
}
image_is_free() {
	checked hello -drive "file=$T/disk,format=raw,if=virtio"
}
ends_while_busy() { # HOW [OPTION...]
	local how=$1
	shift
	busy cache=none "$@"
	sleep 0.1
	case $how in
	quit) qmp '{"execute":"quit"}' >/dev/null ;;
	*) kill "-$how" "$vm" ;;
	esac
	wait_vm
	expect_status 0
	expect_not "$T/out" FAIL
	flushed_ones_are_there
	image_is_free
}
t_busy_disk_sigterm() { ends_while_busy TERM; }
t_busy_disk_sigint_iothread() { dev=iothread=io0,num-queues=2 ends_while_busy INT -object iothread,id=io0; }
t_busy_disk_quit() { ends_while_busy quit; }
t_busy_disk_quit_iothread() { dev=iothread=io0 ends_while_busy quit -object iothread,id=io0; }
stopped_while_busy() { # [OPTION...]
	local i before
	busy cache=none "$@"
	for i in {1..12}; do
		qmp '{"execute":"stop"}' >/dev/null
		before=$(cksum <"$T/disk")
		sleep 0.05
		[ "$before" = "$(cksum <"$T/disk")" ] || fail "the disk changes while the guest is stopped"
		flushed_ones_are_there
		qmp '{"execute":"cont"}' >/dev/null
		sleep 0.05
	done
	kill "$vm"
	wait_vm
	expect_status 0
	expect_not "$T/out" FAIL
	flushed_ones_are_there
}
t_busy_disk_stop_cont() { stopped_while_busy; }
t_busy_disk_stop_cont_iothread() { dev=iothread=io0 stopped_while_busy -object iothread,id=io0; }
t_busy_disk_stop_cont_slow() { # what has been sent is waited for
	rule iotype=write delay-ns=30000000 errno=0 >"$T/rules"
	rules=blkdebug:$T/rules: stopped_while_busy
}
reset_while_busy() { # [OPTION...]
	local i
	busy cache=none "$@"
	for i in 2 3 4 5; do
		qmp '{"execute":"system_reset"}' >/dev/null
		begun $i
		sleep 0.05
	done
	qmp '{"execute":"quit"}' >/dev/null
	wait_vm
	expect_status 0
	expect_not "$T/out" FAIL
	image_is_free
}
t_busy_disk_reset() { reset_while_busy; }
t_busy_disk_reset_iothread() { dev=iothread=io0 reset_while_busy -object iothread,id=io0; }
t_busy_disk_reset_slow() {
	rule iotype=write delay-ns=30000000 errno=0 >"$T/rules"
	rules=blkdebug:$T/rules: reset_while_busy
}
t_busy_disk_resets_itself() { # with writes on their way
	truncate -s 16M "$T/disk"
	append='depth=32 reset=64' flushing 100 cache=none
	begun 5
	kill "$vm"
	wait_vm
	expect_status 0
	expect_not "$T/out" FAIL
	records_are 100 0 32 || fail "the first records are not there"
}
t_busy_disk_powerdown() {
	truncate -s 16M "$T/disk"
	append='depth=32 button' flushing 100 cache=writeback -monitor none -qmp "unix:$T/qmp,server=on,wait=off"
	wait_out $'^flushed [0-9]+\r'
	qmp '{"execute":"system_powerdown"}' >/dev/null
	wait_vm
	expect_status 0
	expect_out '^done'
	flushed_ones_are_there
	image_is_free
}

# A filter below a format shows the file as long as it has become.
t_blkdebug_growing_file() {
	local f
	for f in vdi vmdk vpc qcow2; do
		build/posada-img create -q -f $f "$T/disk.$f" 8M
		guest virtio-io -append do=w:0:8,r:0:8:1,w:4096:8,f,r:4096:8:1 -drive \
			"driver=$f,file.driver=blkdebug,file.image.driver=file,file.image.filename=$T/disk.$f,if=virtio"
		expect_out '^r:0:8:1: ok' '^r:4096:8:1: ok' '^f: ok'
	done
}
