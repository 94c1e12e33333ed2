# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# virtio devices with the bare-metal guests that drive them: every transport, both kinds of
# ring; a driver that breaks the rules; and the same guests under QEMU.

# Disks of these tests hold text: one number of 15 digits and a newline every 16 bytes, which
# counts up from SEED * 10^12 (guests/lib/blk.h). So either side can make and check them.
pattern() { # SEED BYTES
	local first=$(($1 * 1000000000000))
	seq -f %015.0f $first $((first + $2 / 16 - 1))
}
disk() { # SEED [BYTES]: makes $T/disk
	pattern "$1" "${2:-$((4 << 20))}" >"$T/disk"
}
disk_has() { # SEED [BYTES]: the first BYTES of $T/disk, and all there is
	local bytes=${2:-$((4 << 20))}
	[ "$(stat -c %s "$T/disk")" = "$bytes" ] || fail "the disk's file has another size"
	pattern "$1" "$bytes" | cmp -s - "$T/disk" || fail "the disk has not the pattern that the guest wrote"
}

# The options of a disk; $drive and $dev are more of -drive and -device, $image another file=.
disk_opts() { # BUS
	opts=(-drive "file=${image:-$T/disk},format=raw,if=none,id=d0${drive:+,$drive}" -device "virtio-blk-$1,drive=d0${dev:+,$dev}")
}

# The guest that does all that a good driver does; then the disk's file must be as it left it.
blk() { # APPEND [OPTION...]
	local append=$1 opts
	shift
	disk 5
	disk_opts "${bus:-pci}"
	checked virtio-blk "${opts[@]}" -append "verify=5 $append" "$@"
	disk_has 7
}

t_virtio_blk_modern() { blk 'transport=modern irq=msix'; }
t_virtio_blk_modern_intx() { blk 'transport=modern irq=intx'; }
t_virtio_blk_modern_poll() { blk 'transport=modern irq=poll'; }
t_virtio_blk_plain_ring() { blk 'transport=modern irq=msix indirect=0 event_idx=0'; }
t_virtio_blk_no_indirect() { blk 'transport=modern irq=msix indirect=0'; }
t_virtio_blk_no_event_index() { blk 'transport=modern irq=msix event_idx=0'; }
t_virtio_blk_small_queue() { blk 'transport=modern irq=msix qsize=4'; }
t_virtio_blk_legacy() { blk 'transport=legacy irq=msix'; }
t_virtio_blk_legacy_intx() { blk 'transport=legacy irq=intx indirect=0 event_idx=0'; }
t_virtio_blk_legacy_only() { dev=disable-modern=on blk 'transport=legacy irq=intx'; }
t_virtio_blk_modern_only() { dev=disable-legacy=on blk 'transport=modern irq=msix'; }
t_virtio_blk_packed() {
	dev=packed=on blk 'transport=modern ring=packed irq=msix'
	expect_out 'packed ring, indirect, event index'
}
t_virtio_blk_packed_plain() { dev=packed=on blk 'transport=modern ring=packed irq=intx indirect=0 event_idx=0'; }
t_virtio_blk_packed_odd_size() { dev=packed=on blk 'transport=modern ring=packed irq=msix qsize=37'; }
t_virtio_blk_queues() {
	dev=num-queues=4 blk 'transport=modern irq=msix'
	expect_out '^num_queues 4' 'queue 3: 32 reads in flight'
}
t_virtio_blk_iothread() { dev=iothread=io0 blk 'transport=modern irq=msix' -object iothread,id=io0; }
t_virtio_blk_iothread_packed() {
	dev=iothread=io0,num-queues=2,packed=on blk 'transport=modern ring=packed irq=msix' -object iothread,id=io0
}
t_virtio_blk_above_4g() { blk 'transport=modern irq=msix' -m 5G; }
t_virtio_blk_uring() { drive=cache=none,aio=io_uring blk 'transport=modern irq=msix'; }
t_virtio_blk_native() { drive=cache=none,aio=native blk 'transport=modern irq=msix'; }
t_virtio_blk_threads() { drive=aio=threads blk 'transport=modern irq=msix'; }
t_virtio_blk_writethrough() { drive=cache=writethrough blk 'transport=modern irq=msix'; }
t_virtio_blk_directsync() { drive=cache=directsync blk 'transport=modern irq=msix stress=1'; }
t_virtio_blk_unsafe() { drive=cache=unsafe blk 'transport=modern irq=msix'; }
t_virtio_blk_discard() {
	drive=discard=unmap blk 'transport=modern irq=msix'
	expect_out '^ok discard' '^ok write zeroes, may unmap'
}
t_virtio_blk_serial() {
	dev=serial=one-two-three blk 'transport=modern irq=msix stress=1'
	expect_out '^id \[one-two-three\]'
}
t_virtio_blk_readonly() {
	local opts
	disk 5
	drive=readonly=on disk_opts pci
	checked virtio-blk "${opts[@]}" -append 'verify=5 transport=modern irq=msix'
	expect_out '^read-only' '^ok write to a read-only disk is an error'
	disk_has 5
}
t_virtio_blk_two_disks() { # the second one stays as it is
	disk 5
	cp "$T/disk" "$T/other"
	blk 'transport=modern irq=msix' -drive "file=$T/other,format=raw,if=none,id=d1" -device virtio-blk-pci,drive=d1
	pattern 5 $((4 << 20)) | cmp - "$T/other" || fail "the other disk is not as it was"
}
t_virtio_blk_if_virtio() {
	disk 5
	checked virtio-blk -drive "file=$T/disk,format=raw,if=virtio" -append 'verify=5 transport=modern irq=msix'
	disk_has 7
}
t_virtio_blk_resize() {
	local opts
	need_kvm
	disk 5
	disk_opts pci
	seconds=50 start_vm -nographic -m 64 -device isa-debug-exit,iobase=0x501,iosize=2 -qmp "unix:$T/qmp,server=on,wait=off" \
		-kernel $G/virtio-blk.elf "${opts[@]}" -append 'verify=5 transport=modern irq=msix stress=1 resize=1'
	wait_out '^waiting for another size'
	qmp "{\"execute\":\"block_resize\",\"arguments\":{\"device\":\"d0\",\"size\":$((6 << 20))}}" >"$T/answers"
	expect_not "$T/answers" '"error"'
	wait_vm
	expect_status 33
	expect_out '^capacity 12288 sectors now' ' 0 failed'
}

# --- without PCI
# The board gives its first device line 5; only a Linux is told by the command line.
t_virtio_blk_mmio() { bus=device blk 'transport=mmio irq=intx gsi=5' -machine micro; }
t_virtio_blk_mmio_poll() { bus=device blk 'transport=mmio irq=poll' -machine micro; }
t_virtio_blk_mmio_packed() { bus=device dev=packed=on blk 'transport=mmio ring=packed irq=intx gsi=5' -machine micro; }

# --- a driver that breaks the rules
evil() { # APPEND [OPTION...]
	local append=$1 opts
	shift
	disk 5
	disk_opts "${bus:-pci}"
	seconds=110 checked virtio-evil "${opts[@]}" -append "verify=5 $append" "$@"
	disk_has 5
}
limit[virtio_evil_modern]=120
t_virtio_evil_modern() { evil transport=modern; }
limit[virtio_evil_msix]=120
t_virtio_evil_msix() { evil 'transport=modern irq=msix'; }
limit[virtio_evil_packed]=120
t_virtio_evil_packed() { dev=packed=on evil 'transport=modern ring=packed'; }
limit[virtio_evil_legacy]=120
t_virtio_evil_legacy() { evil transport=legacy; }
limit[virtio_evil_mmio]=120
t_virtio_evil_mmio() { bus=device evil transport=mmio -machine micro; }
limit[virtio_evil_iothread]=120
t_virtio_evil_iothread() { dev=iothread=io0 evil transport=modern -object iothread,id=io0; }
# Slow reads, so that all are in flight when the device is reset.
reset_in_flight() {
	printf '[inject-error]\niotype = "read"\nerrno = "0"\ndelay-ns = "20000000"\n' >"$T/rules"
	image=blkdebug:$T/rules:$T/disk evil 'transport=modern rounds=4 resets' "$@"
}
t_virtio_reset_in_flight() { drive=cache=none reset_in_flight; }
t_virtio_reset_in_flight_threads() { drive=aio=threads reset_in_flight; }
t_virtio_reset_in_flight_iothread() { dev=iothread=io0 reset_in_flight -object iothread,id=io0; }

# --- other devices
t_virtio_rng() { checked virtio-rng -device virtio-rng-pci -append 'transport=modern irq=msix'; }
t_virtio_rng_legacy() { checked virtio-rng -device virtio-rng-pci -append 'transport=legacy irq=intx'; }
t_virtio_rng_packed() { checked virtio-rng -device virtio-rng-pci,packed=on -append 'transport=modern ring=packed'; }
t_virtio_rng_mmio() { checked virtio-rng -machine micro -device virtio-rng-device -append 'transport=mmio irq=intx gsi=5'; }
t_virtio_balloon() {
	checked virtio-balloon -device virtio-balloon-pci,free-page-reporting=on -append 'transport=modern irq=msix'
	expect_out '^0 of 500 pages still have' '^ok free pages reported' '^0 of 512 reported pages still have'
}
t_virtio_balloon_legacy() { checked virtio-balloon -device virtio-balloon-pci -append 'transport=legacy irq=intx'; }
t_virtio_balloon_moved() {
	need_kvm
	start_vm -nographic -m 64 -device isa-debug-exit,iobase=0x501,iosize=2 -qmp "unix:$T/qmp,server=on,wait=off" \
		-device virtio-balloon-pci -kernel $G/virtio-balloon.elf -append 'transport=modern irq=msix follow=2'
	wait_out '^ready'
	qmp "{\"execute\":\"balloon\",\"arguments\":{\"value\":$((60 << 20))}}" >"$T/answers"
	wait_out '^actual 1024'
	qmp '{"execute":"query-balloon"}' "{\"execute\":\"balloon\",\"arguments\":{\"value\":$((64 << 20))}}" >>"$T/answers"
	wait_vm
	expect_status 33
	expect_out '^actual 0'
	expect_in "$T/answers" "\"actual\": ?$((60 << 20))"
	expect_not "$T/answers" '"error"'
}
console() { # TRANSPORT RING-OPTIONS...: a conversation on a port
	need_kvm
	start_vm -nographic -m 64 -device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/virtio-console.elf \
		-chardev "socket,id=c,path=$T/left/port,server=on,wait=on" "$@"
	"$TALK" -t 30 -u "$T/left/port" -e '^hello' -s 'one two\n' -e '^echo one two' -s 'quit\n' -e '^echo quit' ||
		fail "no conversation over the port"
	wait_vm
	expect_status 33
	expect_out ' 0 failed'
}
t_virtio_console() {
	console -device virtio-serial-pci -device virtconsole,chardev=c -append 'transport=modern irq=msix'
	expect_out '^port 0 is a console'
}
t_virtio_console_legacy() {
	console -device virtio-serial-pci -device virtconsole,chardev=c -append 'transport=legacy irq=intx'
}
t_virtio_serial_port() {
	console -device virtio-serial-pci -device virtserialport,chardev=c,nr=2,name=org.test.0 \
		-append 'transport=modern irq=msix port=2'
	expect_out '^port 2 name \[org.test.0\]'
}

# --- the benchmark's guest, for a moment: that it works, not what it measures
bench_guest() { # APPEND
	local opts
	disk 5
	disk_opts pci
	checked blkbench "${opts[@]}" -append "count=500 $1"
	expect_out '^blkbench op=.* requests=500 '
}
t_virtio_bench_read() { bench_guest 'op=randread' && disk_has 5; }
t_virtio_bench_write() { bench_guest 'op=seqwrite bs=65536 depth=8'; }

# --- QEMU, with the same guests. Not its microvm: there, on a software KVM and under load, requests
# now and then take ten seconds, polled for or not.
peer_blk() { # APPEND [OPTION...]
	local append=$1 opts
	shift
	need qemu-system-x86_64
	need_kvm
	disk 5
	disk_opts pci
	run qemu-system-x86_64 -M pc -accel kvm -cpu host,-arch-capabilities,-cx16 -nodefaults -no-user-config -display none \
		-serial stdio -m 64 -device isa-debug-exit,iobase=0x501,iosize=2 "${opts[@]}" -kernel "$G/$guest.elf" -append "$append" "$@"
	expect_status 33
	expect_out ' 0 failed'
}
t_peer_virtio_blk() { guest=virtio-blk peer_blk 'verify=5 transport=modern irq=msix' && disk_has 7; }
t_peer_virtio_blk_legacy() { guest=virtio-blk peer_blk 'verify=5 transport=legacy irq=intx' && disk_has 7; }
t_peer_virtio_blk_packed() {
	dev=packed=on guest=virtio-blk peer_blk 'verify=5 transport=modern ring=packed irq=msix' && disk_has 7
}
# It lets some pass that harm nobody; and its packed rings come to a standstill on the first that does.
limit[peer_virtio_evil]=120
t_peer_virtio_evil() { seconds=110 guest=virtio-evil peer_blk 'verify=5 lenient transport=modern' && disk_has 5; }
t_peer_virtio_rng() { peer kvm virtio-rng -device virtio-rng-pci -append 'transport=modern irq=msix'; }
t_peer_virtio_balloon() { peer kvm virtio-balloon -device virtio-balloon-pci -append 'transport=modern irq=intx'; }
