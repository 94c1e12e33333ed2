# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a flush promises: records that it covered survive kill -9, and it reaches the disk of the host. The
# guest is guests/virtio-flush.c.

# The part [FROM, FROM + N) of the disk, in records of 4 KiB, has this pattern (guests/lib/blk.h). Seeds of
# three digits: then seq counts without a format, which is fast.
records_are() { # SEED FROM N
	local first=$(($1 * 1000000000000 + $2 * 256)) bytes=$(($3 * 4096))
	[ "$bytes" != 0 ] || return 0
	seq $first $((first + bytes / 16 - 1)) | cmp -s -n $bytes -i 0:$(($2 * 4096)) - "$T/disk"
}
# All that the guest was told of is there: the first N records, the last of which may be on their second
# turn. Up to two batches more were on their way.
flushed_records_are_there() { # SEED N
	local places=$(($(stat -c %s "$T/disk") / 4096 / 16 * 16)) turn at
	turn=$(($2 / places)) at=$(($2 % places))
	records_are $(($1 + turn)) 0 $at || fail "of $2 flushed records, some of turn $turn are not there"
	[ $turn = 0 ] || [ $((at + 32)) -ge $places ] ||
		records_are $(($1 + turn - 1)) $((at + 32)) $((places - at - 32)) ||
		fail "of $2 flushed records, some of turn $((turn - 1)) are not there"
}

rules= # "blkdebug:FILE:" to put that under the drive
flushing() { # SEED -drive's-keys [OPTION...]: the guest, running
	need_kvm
	local seed=$1 keys=$2
	shift 2
	rm -f "$T/out" # what an earlier one said
	start_vm -display none -serial stdio -m 64 -kernel $G/virtio-flush.elf -append "irq=msix seed=$seed $append" \
		-drive "file=$rules$T/disk,format=raw,if=none,id=d0,$keys" -device "virtio-blk-pci,drive=d0${dev:+,$dev}" "$@"
}

killed() { # ROUNDS -drive's-keys [OPTION...]
	local rounds=$1 keys=$2 n i
	shift 2
	need_direct
	truncate -s 16M "$T/disk"
	for ((i = 0; i < rounds; i++)); do
		flushing $((100 + 16 * i)) "$keys" "$@"
		wait_out $'^flushed [0-9]+\r'
		sleep 0.0$((RANDOM % 90 + 10))
		kill -9 "$vm"
		wait_vm 2>/dev/null
		expect_status 137
		n=$(sed -n 's/^flushed \([0-9]*\)\r$/\1/p' "$T/out" | tail -n 1)
		echo "round $i: $n records flushed"
		flushed_records_are_there $((100 + 16 * i)) "$n"
	done
}
need_direct() {
	dd if=/dev/zero of="$T/probe" bs=4096 count=1 oflag=direct 2>/dev/null || skip "no O_DIRECT in $T"
}

# Fifty times with cache=none, in all.
t_killed_uring_1() { killed 10 cache=none,aio=io_uring; }
t_killed_uring_2() { dev=iothread=io0 killed 10 cache=none,aio=io_uring -object iothread,id=io0; }
t_killed_native_1() { killed 8 cache=none,aio=native; }
t_killed_native_2() { dev=iothread=io0 killed 8 cache=none,aio=native -object iothread,id=io0; }
t_killed_threads_1() { killed 7 cache=none,aio=threads; }
t_killed_threads_2() { dev=iothread=io0 killed 7 cache=none,aio=threads -object iothread,id=io0; }
t_killed_packed() { dev=packed=on append=ring=packed killed 4 cache=none; }
t_killed_writeback() { killed 4 cache=writeback; }
t_killed_directsync() { killed 4 cache=directsync; }
t_killed_writethrough() { append=flush=yes killed 4 cache=writethrough,aio=threads; }

# The checker itself: a lost, a torn and a displaced record are seen.
t_lost_records_are_seen() {
	truncate -s 1M "$T/disk"
	seq 100000000000000 $((100000000000000 + 65535)) | dd of="$T/disk" conv=notrunc status=none
	(flushed_records_are_there 100 256) || fail "all is there"
	dd if=/dev/zero of="$T/disk" bs=4096 seek=70 count=1 conv=notrunc status=none
	! (flushed_records_are_there 100 255) >/dev/null || fail "record 70 is lost"
	! (flushed_records_are_there 100 256) >/dev/null || fail "record 70 is lost, on the next turn"
	(flushed_records_are_there 100 70) || fail "those before it are there"
	! (flushed_records_are_there 100 71) >/dev/null || fail "record 70 is the last, and lost"
	dd if="$T/disk" of="$T/disk" bs=4096 skip=71 seek=70 count=1 conv=notrunc status=none
	! (flushed_records_are_there 100 255) >/dev/null || fail "record 70 is another"
	! (flushed_records_are_there 101 2) >/dev/null || fail "they are of another turn"
}

# --- through the page cache to the disk
# How many pages are not on the disk after the guest's 64 records.
dirty_pages() { # -drive's-keys GUEST'S-OPTIONS
	rm -f "$T/disk"
	truncate -s 1M "$T/disk"
	sync -d "$T/disk"
	append="count=64 $2" flushing 100 "$1"
	wait_out '^done'
	dirty=$(build/tests/boot/dirty "$T/disk")
	kill -9 "$vm"
	wait_vm 2>/dev/null
	echo "$1 $2: $dirty pages"
}
all_on_disk() {
	dirty_pages "$@"
	[ "$dirty" = 0 ] || fail "$1, $2: $dirty pages are not on the disk"
}
still_in_memory() { # somebody else may make the host write
	local try
	for try in 1 2 3; do
		dirty_pages "$@"
		[ "$dirty" = 0 ] || return 0
	done
	fail "$1, $2: all is on the disk, $try times"
}
need_dirty() {
	head -c 40960 /dev/zero >"$T/probe"
	[ "$(build/tests/boot/dirty "$T/probe" 2>/dev/null || echo 0)" != 0 ] || skip "the host does not tell which pages are dirty"
}
t_flush_reaches_the_disk() {
	need_dirty
	local aio
	for aio in io_uring threads; do
		still_in_memory cache=writeback,aio=$aio flush=never
		all_on_disk cache=writeback,aio=$aio flush=yes
		still_in_memory cache=unsafe,aio=$aio flush=yes
	done
}
t_writes_are_stable_without_flush() { # a driver that does not know FLUSH, or that sets the cache to write-through
	need_dirty
	local aio
	for aio in io_uring threads; do
		all_on_disk cache=writeback,aio=$aio flush=no
		all_on_disk cache=writeback,aio=$aio 'flush=never wce=0'
		all_on_disk cache=writethrough,aio=$aio flush=never
	done
	still_in_memory cache=writethrough 'flush=never wce=1'
	dev=config-wce=off all_on_disk cache=writethrough 'flush=never wce=1'
}
t_flush_before_the_end() { # what a guest never flushed, the VM does when it ends
	need_dirty
	truncate -s 1M "$T/disk"
	append='count=64 flush=never' flushing 100 cache=writeback
	wait_out '^done'
	kill "$vm"
	wait_vm
	expect_status 0
	[ "$(build/tests/boot/dirty "$T/disk")" = 0 ] || fail "not all is on the disk"
	records_are 100 0 64 || fail "the records are not there"
}

# The same by what a flush that fails is to the guest.
flush_fails() { # -drive's-keys
	need_kvm
	truncate -s 1M "$T/disk"
	printf '[inject-error]\niotype = "flush"\nerrno = "EIO"\n' >"$T/rules"
	guest virtio-io -drive "file=blkdebug:$T/rules:$T/disk,format=raw,if=virtio,$1" -append "do=w:0:8,f,${2:-r:0:8:1}"
	expect_status 33
}
t_flush_error_is_the_guests() {
	flush_fails cache=writeback
	expect_out '^w:0:8: ok' '^f: ioerr' '^r:0:8:1: ok'
	expect_err 'flush|stable'
}
t_flush_ignored_when_unsafe() {
	flush_fails cache=unsafe
	expect_out '^w:0:8: ok' '^f: ok'
}
t_flush_count() {
	truncate -s 1M "$T/disk"
	append=count=160 flushing 100 cache=writeback -monitor none -qmp "unix:$T/qmp,server=on,wait=off"
	wait_out '^done'
	qmp '{"execute":"query-blockstats"}' '{"execute":"quit"}' >"$T/answers"
	expect_in "$T/answers" '"flush_operations": 10,' '"wr_operations": [0-9]+' '"wr_bytes": 655360,'
	wait_vm
	expect_status 0
}
