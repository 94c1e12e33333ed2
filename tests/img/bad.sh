# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Images that are missing, in use, not to be written, cut short, in a loop or without room: what
# our tool says of them, and that nothing is left that pretends to be good.

bad() { # PATTERN ARGUMENT...: fails with status 1 and says so
	local pattern=$1
	shift
	status=0
	ours "$@" >"$T/p.out" 2>"$T/p.err" || status=$?
	[ "$status" = 1 ] || fail "$*: exit status $status: $(cat "$T/p.out" "$T/p.err")"
	says "$pattern"
	[ "$(wc -l <"$T/p.err")" -le 6 ] || fail "the message is long: $(cat "$T/p.err")"
}

in_p() { (cd "$T/p" && "$@" >/dev/null); }

need_mounts() {
	unshare -m true 2>/dev/null || skip 'no mount namespaces'
}

# --- backing files
t_bad_backing_missing() {
	in_p mkdir sub
	in_p qemu-img create -q -f qcow2 -u -b sub/mid.qcow2 -F qcow2 top.qcow2 1M
	in_p qemu-img create -q -f qcow2 -u -b ../none.qcow2 -F qcow2 sub/mid.qcow2 1M
	bad "top.qcow2: backing file: sub/mid.qcow2: backing file: cannot open 'sub/../none.qcow2': No such file" convert -O raw top.qcow2 x
	says 'posada-img rebase -u -b FILE -F FORMAT sub/mid.qcow2'
	[ ! -e "$T/p/x" ] || fail 'an output was made'
	in_p rm sub/mid.qcow2
	bad "top.qcow2: backing file: cannot open 'sub/mid.qcow2': No such file" convert -O raw top.qcow2 x
	in_p mkdir sub/mid.qcow2
	bad "top.qcow2: backing file: 'sub/mid.qcow2' is a directory" convert -O raw top.qcow2 x
	# The way out works.
	in_p truncate -s 1M new.raw
	ours_ok rebase -u -b new.raw -F raw top.qcow2
	ours_ok convert -O raw top.qcow2 x
}

t_bad_backing_loop() {
	in_p qemu-img create -q -f qcow2 -u -b b.qcow2 -F qcow2 a.qcow2 1M
	in_p qemu-img create -q -f qcow2 -u -b c.qcow2 -F qcow2 b.qcow2 1M
	in_p qemu-img create -q -f qcow2 -u -b ./a.qcow2 -F qcow2 c.qcow2 1M
	bad 'c.qcow2: its backing files are a loop: a.qcow2 -> b.qcow2 -> c.qcow2 -> ./a.qcow2' convert -O raw a.qcow2 x
	in_p qemu-img create -q -f qcow2 -u -b xelf.qcow2 -F qcow2 self.qcow2 1M
	sed -i s/xelf.qcow2/self.qcow2/ "$T/p/self.qcow2"
	bad 'self.qcow2: its backing files are a loop: self.qcow2 -> self.qcow2' convert -O raw self.qcow2 x
	in_p qemu-img create -q -f qcow2 -u -b other.qcow2 -F qcow2 link.qcow2 1M
	in_p ln -s link.qcow2 other.qcow2
	bad 'link.qcow2: its backing files are a loop' convert -O raw link.qcow2 x
	in_p qemu-img create -q -f qcow2 -u -b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"j.qcow2"}}' -F qcow2 j.qcow2 1M
	bad 'j.qcow2: its backing files are a loop' convert -O raw j.qcow2 x
}

t_bad_backing_depth() {
	local i
	in_p truncate -s 1M d0
	ours_ok create -q -f qcow2 -u -b d0 -F raw d1 1M
	for ((i = 2; i <= 205; i++)); do
		cp "$T/p/d1" "$T/p/d$i"
	done
	# All names have the same length in the header: they are changed in place.
	for ((i = 2; i <= 205; i++)); do
		ours_ok rebase -u -b "d$((i - 1))" -F qcow2 "d$i"
	done
	bad 'd5: more than 200 backing files in a row' convert -O raw d205 x
	ours_ok convert -O raw d150 x
}

# An unrecorded format is looked up and warned of; what would turn raw into another is not committed.
forget_format() { # FILE: the header extension's type becomes one that nobody knows
	local at
	at=$(grep -aboF $'\xe2\x79\x2a\xca' "$1" | head -1 | cut -d: -f1)
	[ -n "$at" ] || fail 'no backing format in the header'
	printf '\x12\x34\x56\x78' | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}
t_bad_backing_unrecorded() {
	in_p truncate -s 1M base.raw
	in_p qemu-img create -q -f qcow2 -b base.raw -F raw top.qcow2
	forget_format "$T/p/top.qcow2"
	ours_ok convert -O raw top.qcow2 x
	says "top.qcow2: the format of its backing file 'base.raw' is not recorded: taken for raw"
	says "rebase -u -b 'base.raw' -F raw 'top.qcow2'"
	# The guest of top.qcow2 writes a header: it stays in top.qcow2, and does not become the base's.
	in_p qemu-img create -q -f qcow2 -u -b /etc/passwd -F raw evil.qcow2 1M
	head -c 64K "$T/p/evil.qcow2" >"$T/p/evil"
	in_p qemu-io -c "write -s evil 0 64k" top.qcow2
	ours_ok convert -O raw top.qcow2 x
	bad "the format of .*base.raw was not given, and raw was guessed: .* into an image of format qcow2" commit top.qcow2
	cmp -n 1048576 "$T/p/base.raw" /dev/zero || fail 'the base was written'
	ours_ok rebase -u -b base.raw -F raw top.qcow2
	ours_ok commit top.qcow2
	in_p qemu-img create -q -f qcow2 base.qcow2 1M
	in_p qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2
	forget_format "$T/p/over.qcow2"
	ours_ok convert -O raw over.qcow2 x
	says "backing file 'base.qcow2' is not recorded: taken for qcow2"
}

# --- files
t_bad_not_an_image() {
	in_p mkdir dir
	bad "'dir' is a directory" info dir
	bad "'dir' is a directory" convert -O raw dir x
	bad "dir" create -f qcow2 dir 1M
	[ -d "$T/p/dir" ] || fail 'the directory is gone'
	in_p mkfifo fifo
	bad "'fifo' is a FIFO" info fifo
	bad "'/dev/null' is a character device" info /dev/null
	bad "cannot open 'none': No such file" info none
	bad "none/x" create -f qcow2 none/x 1M
	bad "cannot open '': |name of the file is empty" info ''
}

t_bad_empty() { # of no bytes at all
	in_p touch e
	for f in qcow2 vdi vmdk vhdx vpc luks; do
		bad "Could not open 'e': e" info -f $f e
	done
	ours_ok info -f raw e
	grep -q 'virtual size: 0 B' "$T/p.out" || fail "$(cat "$T/p.out")"
	ours_ok info e
	ours_ok convert -f raw -O qcow2 e x
	sound x
}

t_bad_cut_short() { # headers and tables; data that are missing are an error, not zeroes
	in_p qemu-img create -q -f raw raw 4M
	in_p qemu-io -f raw -c 'write -P 1 0 4M' raw
	local f cut o
	for f in qcow2 vdi vmdk vhdx vpc; do
		o=()
		[ $f != vpc ] || o=(-o force_size=on)
		[ $f != vhdx ] || o=(-o block_size=1M)
		in_p qemu-img convert -f raw -O $f "${o[@]}" raw whole.$f
		for cut in 1 100 511 512 513 1000 4096 65536 70000; do
			head -c $cut "$T/p/whole.$f" >"$T/p/cut.$f"
			status=0
			ours convert -f $f -O raw cut.$f x >"$T/p.out" 2>"$T/p.err" || status=$?
			[ $status = 1 ] || fail "$f of $cut bytes: exit status $status"
			says "cut.$f"
			[ ! -e "$T/p/x" ] || fail "$f of $cut bytes: a half-made output is left"
		done
		# Without its last data.
		head -c $(($(stat -c %s "$T/p/whole.$f") - 1500000)) "$T/p/whole.$f" >"$T/p/cut.$f"
		status=0
		ours convert -f $f -O raw cut.$f x >"$T/p.out" 2>"$T/p.err" || status=$?
		[ $status = 1 ] || fail "$f without its end: exit status $status"
		says "cut.$f"
		[ ! -e "$T/p/x" ] || fail "$f without its end: a half-made output is left"
	done
}

t_bad_read_only() {
	[ "$(id -u)" = 0 ] || skip 'not root'
	command -v setpriv >/dev/null || skip 'no setpriv'
	local cmd=(setpriv --inh-caps=-all --bounding-set=-all "$POSADA_IMG")
	in_p qemu-img create -q -f qcow2 a.qcow2 1M
	in_p chmod 444 a.qcow2
	for c in 'resize a.qcow2 2M' 'convert -n -O qcow2 a.qcow2 a2.qcow2' 'amend -o size=2M a.qcow2' 'create -f qcow2 a.qcow2 1M'; do
		in_p cp -p a.qcow2 a2.qcow2
		# shellcheck disable=SC2086
		if (cd "$T/p" && exec "${cmd[@]}" $c) >"$T/p.out" 2>"$T/p.err"; then fail "$c: it could"; fi
		says "a2?.qcow2'.*: Permission denied"
	done
	(cd "$T/p" && exec "${cmd[@]}" info a.qcow2) >/dev/null || fail 'it cannot be looked at'
	(cd "$T/p" && exec "${cmd[@]}" convert -O qcow2 a.qcow2 b.qcow2) >/dev/null || fail 'it cannot be read'
	in_p chmod 0 a.qcow2
	if (cd "$T/p" && exec "${cmd[@]}" info a.qcow2) >"$T/p.out" 2>"$T/p.err"; then fail 'it could be read'; fi
	says "cannot open 'a.qcow2': Permission denied"
}

t_bad_read_only_file_system() {
	need_mounts
	in_p qemu-img create -q -f qcow2 a.qcow2 1M
	# shellcheck disable=SC2016
	local in_ro=(unshare -m sh -c 'cd "$0" && mount --bind . . && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"' "$T/p" "$POSADA_IMG")
	"${in_ro[@]}" info a.qcow2 >/dev/null || fail 'it cannot be looked at'
	"${in_ro[@]}" resize a.qcow2 2M 2>"$T/p.err" && fail 'it was written'
	says "cannot open 'a.qcow2' for writing: Read-only file system"
	"${in_ro[@]}" create -f qcow2 b.qcow2 2M >/dev/null 2>"$T/p.err" && fail 'it was made'
	says "b.qcow2'?: .*Read-only file system"
}

t_bad_in_use() {
	in_p qemu-img create -q -f qcow2 a.qcow2 1M
	in_p cp a.qcow2 src.qcow2
	mkfifo "$T/cmd"
	(cd "$T/p" && exec qemu-io a.qcow2) <"$T/cmd" >"$T/io" 2>&1 &
	local other=$!
	exec 5>"$T/cmd"
	echo 'write 0 512' >&5
	for _ in {1..500}; do
		! grep -q 'wrote 512' "$T/io" || break
		sleep 0.02
	done
	ours_ok convert -O raw a.qcow2 x
	says "'a.qcow2' is .* process $other \\(qemu-io\\)"
	bad "'a.qcow2' is .* process $other \\(qemu-io\\)" resize a.qcow2 2M
	bad "'a.qcow2' is .* process $other \\(qemu-io\\)" create -f qcow2 a.qcow2 1M
	bad "'a.qcow2' is .* process $other \\(qemu-io\\)" convert -O qcow2 src.qcow2 a.qcow2
	[ -e "$T/p/a.qcow2" ] || fail 'the image of another was removed'
	in_p qemu-img create -q -f raw d.raw 1M
	in_p qemu-io -f raw -c 'write -P 7 0 1M' d.raw
	bad "'a.qcow2' is .* process $other \\(qemu-io\\)" create -f qcow2 -o data_file=d.raw a.qcow2 1M
	bad "'a.qcow2' is .* process $other \\(qemu-io\\)" convert -O qcow2 -o data_file=d.raw src.qcow2 a.qcow2
	for f in raw vdi vpc vmdk vmdk,subformat=monolithicFlat; do
		bad "'a.qcow2' is .* process $other \\(qemu-io\\)" create -f "${f%,*}" -o "size=1M${f#"${f%,*}"}" a.qcow2
	done
	[ ! -e "$T/p/a-flat.vmdk" ] || fail 'an extent is left'
	in_p qemu-io -f raw -c 'read -P 7 0 1M' d.raw
	ours_ok info a.qcow2
	says "process $other \\(qemu-io\\)"
	ours_ok convert -U -O raw a.qcow2 x
	exec 5>&-
	wait $other
	sound a.qcow2
	ours_ok convert -O raw a.qcow2 x
}

t_bad_data_file_in_use() {
	in_p qemu-img create -q -f qcow2 -o data_file=d.raw,data_file_raw=on a.qcow2 1M
	in_p qemu-io -c 'write -P 7 0 1M' a.qcow2
	in_p cp a.qcow2 was.qcow2
	in_p qemu-img create -q -f qcow2 src.qcow2 1M
	mkfifo "$T/cmd"
	(cd "$T/p" && exec qemu-io -f raw d.raw) <"$T/cmd" >"$T/io" 2>&1 &
	local other=$! i image
	exec 5>"$T/cmd"
	echo 'write -P 8 0 512' >&5
	for i in {1..500}; do
		! grep -q 'wrote 512' "$T/io" || break
		sleep 0.02
	done
	for image in a.qcow2 new.qcow2; do
		bad "data_file: 'd.raw' is .* process $other \\(qemu-io\\)" create -f qcow2 -o data_file=d.raw $image 1M
		bad "data_file: 'd.raw' is .* process $other \\(qemu-io\\)" convert -O qcow2 -o data_file=d.raw src.qcow2 $image
	done
	[ ! -e "$T/p/new.qcow2" ] || fail 'half an image is left'
	cmp "$T/p/a.qcow2" "$T/p/was.qcow2" || fail 'the image was changed'
	exec 5>&-
	wait $other
	in_p qemu-io -f raw -c 'read -P 8 0 512' -c 'read -P 7 512 1048064' d.raw

	bad "data_file: 'd.raw' is in use by|'d.raw'.* has it" convert -f raw -O qcow2 -o data_file=d.raw d.raw new.qcow2
	bad "data_file: 'd.raw' is the backing file" create -f qcow2 -b d.raw -F raw -o data_file=d.raw new.qcow2
	bad "data_file: 'a.qcow2' is the image itself" create -f qcow2 -o data_file=a.qcow2 a.qcow2 1M
	cmp "$T/p/a.qcow2" "$T/p/was.qcow2" || fail 'the image was changed'
	in_p qemu-io -f raw -c 'read -P 8 0 512' -c 'read -P 7 512 1048064' d.raw

	# Of a VMDK disk of two files, while the description is in use.
	in_p qemu-img create -q -f vmdk -o subformat=monolithicFlat f.vmdk 1M
	in_p qemu-io -c 'write -P 7 0 1M' f.vmdk
	(cd "$T/p" && exec qemu-io -f raw f.vmdk) <"$T/cmd" >"$T/io" 2>&1 &
	other=$!
	exec 5>"$T/cmd"
	echo 'read 0 1' >&5
	for i in {1..500}; do
		! grep -q 'read 1' "$T/io" || break
		sleep 0.02
	done
	bad "'f.vmdk' is .* process $other" create -f vmdk -o subformat=monolithicFlat f.vmdk 2M
	exec 5>&-
	wait $other
	in_p qemu-io -f vmdk -c 'read -P 7 0 1M' f.vmdk
}

# --- no room
small_fs() { # SIZE COMMAND...: our tool in $T/p/fs, a file system of that size
	local size=$1
	shift
	status=0
	# shellcheck disable=SC2016
	unshare -m sh -c 'mount -t tmpfs -o size="$1" none "$0" && cp "$0/../src.raw" /dev/null; cd "$0" && shift && sh -ec "$1"' \
		"$T/p/fs" "$size" "$1" >"$T/p.out" 2>"$T/p.err" || status=$?
}

t_bad_disk_full() {
	need_mounts
	in_p mkdir fs
	head -c 8M /dev/urandom >"$T/p/src.raw"
	local f o
	for f in raw qcow2 vdi vmdk vpc; do
		small_fs 4m "if $POSADA_IMG convert -f raw -O $f ../src.raw x; then exit 9; fi; [ ! -e x ] || exit 8"
		[ $status = 0 ] || fail "convert to $f: $status: $(cat "$T/p.err")"
		says "x: No space left on device"
		says "the file system of 'x' has .* free; up to .* were still to be written"
		says "'x' is removed"
	done
	small_fs 4m "if $POSADA_IMG convert -f raw -O vmdk -o subformat=streamOptimized ../src.raw x; then exit 9; fi; [ ! -e x ] || exit 8"
	[ $status = 0 ] || fail "streamOptimized: $status: $(cat "$T/p.err")"
	for o in 'raw -o preallocation=full' 'raw -o preallocation=falloc' 'qcow2 -o preallocation=full' 'qcow2 -o preallocation=falloc'; do
		small_fs 4m "if $POSADA_IMG create -q -f $o x 8M; then exit 9; fi; [ ! -e x ] || exit 8"
		[ $status = 0 ] || fail "create $o: $status: $(cat "$T/p.err")"
		says "x'?: .*No space left on device"
	done
	small_fs 64k "if $POSADA_IMG create -q -f qcow2 x 1G; then exit 9; fi; [ ! -e x ] || exit 8"
	[ $status = 0 ] || fail "create: $status: $(cat "$T/p.err")"
	says "'x': No space left"
}

# An image that is there already stays sound, with what it had.
t_bad_disk_full_keeps() {
	need_mounts
	in_p mkdir fs
	head -c 8M /dev/urandom >"$T/p/src.raw"
	small_fs 4m "qemu-img create -q -f qcow2 a.qcow2 8M; qemu-io -c 'write -P 5 7M 64k' a.qcow2 >/dev/null
		if $POSADA_IMG convert -n -f raw -O qcow2 ../src.raw a.qcow2; then exit 9; fi
		qemu-img check a.qcow2 || [ \$? = 3 ] || exit 8
		$POSADA_IMG convert -O raw a.qcow2 ../whole.raw"

	[ $status = 0 ] || fail "$status: $(cat "$T/p.out" "$T/p.err")"
	says 'a.qcow2: No space left on device'
	[ -e "$T/p/whole.raw" ] || fail 'what is left cannot be read'
	# Commit to a base without room: the overlay has it all still.
	small_fs 4m "truncate -s 8M base.raw; qemu-img create -q -f qcow2 -b \$PWD/base.raw -F raw ../top.qcow2
		qemu-io -c 'write -P 5 0 6M' ../top.qcow2 >/dev/null
		if $POSADA_IMG commit ../top.qcow2; then exit 9; fi
		qemu-img check ../top.qcow2
		qemu-io -c 'read -P 5 0 6M' ../top.qcow2 | grep -q '^read 6291456' || exit 8
		! qemu-io -c 'read -P 5 0 6M' ../top.qcow2 | grep -q 'Pattern' || exit 7"
	[ $status = 0 ] || fail "$status: $(cat "$T/p.out" "$T/p.err")"
	says 'base.raw.*No space left on device'
}

# --- block devices
with_loop() { # leaves $loop, a device of 32 MiB on $T/p/disk
	[ -w /dev/loop-control ] || skip 'no access to /dev/loop-control'
	command -v losetup >/dev/null || skip 'no losetup'
	truncate -s 32M "$T/p/disk"
	loop=$(losetup -f --show "$T/p/disk" 2>"$T/losetup") || skip "no loop device: $(cat "$T/losetup")"
	# shellcheck disable=SC2064
	trap "losetup -d $loop" EXIT
}

t_bad_device_in_use() {
	local loop
	with_loop
	need_mounts
	command -v mkfs.ext2 >/dev/null || skip 'no mkfs.ext2'
	mkfs.ext2 -q -F "$loop"
	in_p truncate -s 1M src.raw
	in_p mkdir mnt
	unshare -m sh -c "mount $loop $T/p/mnt && cp $T/p/src.raw $T/p/mnt/
		for c in 'convert -f raw -O raw $T/p/src.raw $loop' 'create -f qcow2 $loop 1M'; do
			$POSADA_IMG \$c; [ \$? = 1 ] || exit 9
		done
		$POSADA_IMG info $loop || exit 8" >"$T/p.out" 2>"$T/p.err" || fail "$? $(cat "$T/p.err")"
	[ "$(grep -c "'$loop' is in use: it is mounted at .*/mnt" "$T/p.err")" = 2 ] || fail "$(cat "$T/p.err")"
	e2fsck -fn "$loop" >/dev/null 2>&1 || fail 'the file system was written to'
}

t_device() {
	local loop
	with_loop
	in_p qemu-img create -q -f raw src.raw 8M
	in_p qemu-io -f raw -c 'write -P 3 1M 2M' src.raw
	head -c 32M /dev/urandom >"$T/p/disk" # what was there before must not show
	ours_ok info "$loop"
	grep -q '33554432 bytes' "$T/p.out" || fail "$(cat "$T/p.out")"
	ours_ok convert -f raw -O raw -t none src.raw "$loop"
	cmp -n $((8 << 20)) "$loop" "$T/p/src.raw" || fail 'raw: not what was written'
	head -c 32M /dev/urandom >"$T/p/disk"
	ours_ok convert -f raw -O qcow2 src.raw "$loop"
	sound "../../../../$loop" 2>/dev/null || qemu-img check -q -f qcow2 "$loop" || fail 'qcow2: not sound'
	qemu-img compare -q -f qcow2 -F raw "$loop" "$T/p/src.raw" || fail 'qcow2: not what was written'
	ours_ok compare -f qcow2 -F raw "$loop" src.raw
	# It grows by the host's means, and not by ours.
	bad "'$loop' has 33554432 bytes and cannot grow" resize -f raw "$loop" 64M
	truncate -s 40M "$T/p/disk"
	losetup -c "$loop"
	ours_ok info -f raw "$loop"
	grep -q '41943040 bytes' "$T/p.out" || fail "$(cat "$T/p.out")"
	bad "$loop" convert -f raw -O raw "$loop" "$loop"
	in_p truncate -s 64M large.raw
	bad "$loop.*33554432|$loop.*41943040|smaller" convert -f raw -O raw large.raw "$loop"
	[ -b "$loop" ] || fail 'the device is gone'
}
