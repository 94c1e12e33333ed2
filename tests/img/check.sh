# SPDX-License-Identifier: GPL-2.0-or-later
# Damaged qcow2 images, checked and repaired by both tools. Of the images that these make: the
# header is cluster 0, then the refcount table, a block, L1, an L2 table, data; clusters are 64 KiB.

# Some data, and the same as raw in ref.raw.
data_image() { # [OPTIONS OF CREATE...]
	given a.qcow2 qemu-img create -q -f qcow2 "$@" a.qcow2 4M
	io a.qcow2 'write -P 1 0 256k' 'write -P 2 1M 64k' 'write -P 3 3M 2k'
	qemu-img convert -O raw "$T/q/a.qcow2" "$T/ref.raw"
}

# Writes bytes (printf's) into a.qcow2 in both rooms.
poke() { # OFFSET BYTES
	printf "$2" | dd of="$T/q/a.qcow2" bs=1 seek=$(($1)) conv=notrunc status=none
	cp "$T/q/a.qcow2" "$T/p/a.qcow2"
}

# The big-endian number of N bytes at OFFSET.
peek() { # OFFSET N
	echo $((0x$(dd if="$T/q/a.qcow2" bs=1 skip=$(($1)) count="$2" status=none | od -An -v -tx1 | tr -d ' \n')))
}

# What can be read of p's image afterwards is ref.raw; both tools find it sound, and it can be
# written to.
repaired() {
	qemu-img check -q "$T/p/a.qcow2" || fail "$1: $(qemu-img check "$T/p/a.qcow2" 2>&1)"
	ours_ok check a.qcow2
	qemu-img compare -q -F raw "$T/p/a.qcow2" "$T/ref.raw" || fail "$1: other contents"
	ours_ok compare -F raw a.qcow2 "$T/ref.raw"
	qemu-io -c 'write -P 9 0 3M' "$T/p/a.qcow2" >/dev/null || fail "$1: cannot be written"
	qemu-img check -q "$T/p/a.qcow2" || fail "$1: not sound after writing"
}

# Damages an image, checks it by both tools and repairs it by both. same: with the same words of
# qemu-img; differs: qemu-img gives up, or counts what comes of it. LOST: a range of
# bytes "OFFSET LENGTH" that reads as zeroes afterwards, or "".
damage() { # same|differs LOST OFFSET BYTES [OFFSET BYTES...]
	local how=$1 lost=$2 what="${*:3}" their=0
	shift 2
	while [ $# -gt 0 ]; do
		poke "$1" "$2"
		shift 2
	done
	cp "$T/q/a.qcow2" "$T/damaged"
	if [ "$how" = same ]; then
		both check a.qcow2
		both check --output=json a.qcow2
		[ "$status" = 2 ] || fail "$what: exit status $status"
	else
		status=0
		ours check -q a.qcow2 >"$T/p.out" 2>&1 || status=$?
		[ "$status" = 2 ] || fail "$what: exit status $status"
	fi
	cmp "$T/p/a.qcow2" "$T/damaged" || fail "$what: checking wrote to it"
	# Leaks alone: nothing that can be read is lost, and the rest of the damage stays.
	status=0
	ours check -r leaks a.qcow2 >"$T/p.out" 2>&1 || status=$?
	[ "$status" = 0 ] || [ "$status" = 2 ] || fail "$what: -r leaks: exit status $status"
	ours_ok check -r all a.qcow2
	[ -z "$lost" ] || dd if=/dev/zero of="$T/ref.raw" bs=64k conv=notrunc status=none \
		seek=$((${lost% *} / 65536)) count=$((${lost#* } / 65536))
	repaired "$what (after -r leaks)"
	cp "$T/damaged" "$T/p/a.qcow2"
	ours_ok check -r all a.qcow2
	theirs check -r all a.qcow2 >"$T/q.out" 2>&1 || their=$?
	if [ "$their" = 0 ] && qemu-img check -q "$T/q/a.qcow2"; then
		ours_ok check "$T/q/a.qcow2"
		same_disk qcow2 a.qcow2
	fi
	repaired "$what"
}

t_check_damaged_refcounts() {
	data_image && damage same "" 0x2000c '\0\0'        # of data: 0
	data_image && damage same "" 0x2000c '\0\3'        # too large
	data_image && damage same "" 0x20000 '\0\0'        # of the header
	data_image && damage same "" 0x20004 '\0\0'        # of the block itself
	data_image && damage same "" 0x20008 '\0\0\0\0'    # of the L2 table and of data
	data_image -o refcount_bits=1 && damage same "" 0x20000 '\0'
	data_image -o refcount_bits=64 && damage same "" 0x20030 '\x7f'
	data_image -o compat=0.10 && damage same "" 0x2000c '\0\0'
}

t_check_damaged_refcount_table() {
	data_image && damage same "" 0x10005 '\0'            # no block
	data_image && damage same "" 0x10007 '\1'            # reserved bits
	data_image && damage differs "" 0x10006 '\2'         # not aligned
	data_image && damage same "" 0x10004 '\x70'          # behind the end
	data_image && damage same "" 0x10005 '\5'            # data
	data_image && damage differs "" 0x1000d '\2'         # the same block twice
	data_image && damage differs "" 0x35 '\x07'          # the table in data
	data_image && damage same "" 0x33 '\x07'             # far away
	data_image && damage differs "" 0x36 '\x02'          # not aligned
	data_image && damage differs "" 0x38 '\0\0\0\0'      # no cluster
	data_image && damage differs "" 0x38 '\x7f'          # too many
	data_image -o cluster_size=4k && damage differs "" 0x33 '\x07'
}

t_check_damaged_l2() {
	data_image && damage same "" 0x40008 '\0'                     # COPIED is not set
	data_image && damage same "65536 65536" 0x4000e '\2'          # not aligned
	data_image && damage same "65536 65536" 0x4000c '\x7f'        # behind the end
	data_image && damage same "" 0x40008 '\x81'                   # reserved bits
	data_image && damage same "" 0x4000f '\2'
	data_image && damage same "65536 65536" 0x40006 '\0\0\x80\xff\xff\xff\xff\xff\xfe\0'
}

# Entries that refer to what is something else: they get places of their own when they are written.
t_check_shared_clusters() {
	local what
	for what in 3 4 2 1 7; do
		data_image
		poke 0x4000d "\\$what"
		both check a.qcow2
		[ "$status" = 2 ] || fail "cluster $what: exit status $status"
		ours_ok check -r all a.qcow2
		sound a.qcow2
		ours_ok check a.qcow2
		dd if="$T/ref.raw" bs=64k skip=2 status=none | cmp - <(qemu-img dd -O raw bs=64k skip=2 \
			if="$T/p/a.qcow2" of="$T/o" && cat "$T/o") || fail "cluster $what: other contents"
		qemu-io -c 'write -P 9 0 3M' "$T/p/a.qcow2" >/dev/null
		sound a.qcow2
	done
}

t_check_damaged_l1() {
	local all="0 4194304"
	data_image && damage same "" 0x30000 '\0'          # COPIED is not set
	data_image && damage same "" 0x30000 '\x81'        # reserved bits
	data_image && damage differs "$all" 0x30006 '\2'   # not aligned
	data_image && damage same "$all" 0x30004 '\x7f'    # behind the end
	# L1 as its own L2 table: a loop that is none.
	data_image
	poke 0x30005 '\3'
	both check a.qcow2
	ours_ok check -r all a.qcow2
	sound a.qcow2
	ours_ok check a.qcow2
}

t_check_damaged_subclusters() {
	data_image -o extended_l2=on && damage same "" 0x40018 '\0\0\0\1'          # stored and zero
	data_image -o extended_l2=on && damage same "65536 65536" 0x40010 '\0\0\0\0\0\0\0\0'
	data_image -o extended_l2=on && damage same "65536 65536" 0x40016 '\2'
	data_image -o extended_l2=on && damage same "65536 65536" 0x40014 '\x7f'
	# Reserved, which only we mind.
	data_image -o extended_l2=on
	poke 0x40017 '\1'
	ours_ok check -r all a.qcow2
	repaired "the zero flag, with subclusters"
}

t_check_damaged_compressed() {
	compressed && damage same "" 0x40000 '\xc0'                # COPIED is set
	compressed && damage same "0 65536" 0x40004 '\x7f'         # behind the end
}

compressed() {
	data_image
	given b.qcow2 qemu-img convert -c -O qcow2 a.qcow2 b.qcow2
	mv "$T/q/b.qcow2" "$T/q/a.qcow2"
	both check "$T/q/a.qcow2"
}

t_check_damaged_zeroes() {
	data_image
	io a.qcow2 'write -z 0 64k' 'write -z 2M 512k'
	qemu-img convert -O raw "$T/q/a.qcow2" "$T/ref.raw"
	both check a.qcow2
	damage same "" 0x40006 '\2'
}

t_check_data_file() {
	given a.qcow2 qemu-img create -q -f qcow2 -o data_file=d.raw a.qcow2 4M
	(cd "$T/q" && qemu-io -c 'write -P 1 0 256k' -c 'write -z 64k 64k' a.qcow2) >/dev/null
	cp "$T/q/a.qcow2" "$T/q/d.raw" "$T/p/"
	both check a.qcow2
	both check --output=json a.qcow2
	poke 0x40008 '\0'
	both check a.qcow2
	both check -r all a.qcow2
	both check a.qcow2
	[ "$status" = 0 ] || fail "not repaired"
	poke 0x4000f '\3'
	both check a.qcow2
	ours_ok check -r all a.qcow2
	(cd "$T/p" && qemu-img check -q a.qcow2) || fail "not repaired"
	poke 0x4000c '\x7f'
	status=0
	ours check a.qcow2 >"$T/p.out" 2>"$T/p.err" || status=$?
	[ "$status" = 2 ] || fail "exit status $status"
	says 'not where the external data file has'
}

# Two snapshots, and clusters written between them.
snapshots() {
	data_image
	for s in s1 s2; do
		qemu-img snapshot -c $s "$T/q/a.qcow2"
		io a.qcow2 'write -P 7 0 64k'
	done
	qemu-img convert -O raw "$T/q/a.qcow2" "$T/ref.raw"
	cp "$T/q/a.qcow2" "$T/p/"
	table=$(peek 64 8) l1=$(peek $(($(peek 64 8))) 8)
}

t_check_snapshots() {
	snapshots
	both check a.qcow2
	both check --output=json a.qcow2
	[ "$status" = 0 ] || fail "exit status $status"
	local i=0 big=
	# Many: refcounts are large, and each table is read once.
	while [ $((i += 1)) -le 40 ]; do big="$big -c snap$i"; done
	for i in $big; do [ "$i" = -c ] || qemu-img snapshot -c "$i" "$T/q/a.qcow2"; done
	both check "$T/q/a.qcow2"
}

t_check_damaged_snapshots() {
	snapshots && damage same "" $((table + 6)) '\2'          # its L1 not aligned
	snapshots && damage same "" $((table + 3)) '\x7f'        # behind the end
	snapshots && damage same "" $((table + 8)) '\x7f'        # too large
	snapshots && damage same "" $((l1 + 4)) '\x77'           # its L2 table behind the end
	snapshots && damage same "" $(($(peek $((l1 + 5)) 3) + 1)) '\x01'
	snapshots && damage same "" $(($(peek $((l1 + 5)) 3) + 14)) '\x02'
	# The other one is still there.
	snapshots
	poke $((table + 6)) '\2'
	ours_ok check -r all a.qcow2
	qemu-img snapshot -a s2 "$T/p/a.qcow2"
	qemu-img snapshot -d s1 "$T/p/a.qcow2"
	qemu-img snapshot -d s2 "$T/p/a.qcow2"
	sound a.qcow2
}

bitmaps_image() {
	local at
	data_image
	qemu-img bitmap --add "$T/q/a.qcow2" b1
	qemu-img bitmap --add "$T/q/a.qcow2" b2
	io a.qcow2 'write -P 7 0 64k'
	qemu-img convert -O raw "$T/q/a.qcow2" "$T/ref.raw"
	at=$(LC_ALL=C grep -abo $'\x23\x85\x28\x75' "$T/q/a.qcow2" | head -1 | cut -d: -f1)
	ext=$((at + 8)) dir=$(peek $((at + 24)) 8)
	table=$(peek $dir 8)
}

t_check_bitmaps() {
	bitmaps_image
	both check a.qcow2
	both check --output=json a.qcow2
	[ "$status" = 0 ] || fail "exit status $status"
	# Out of date.
	poke 95 '\0'
	both check a.qcow2
	[ "$status" = 3 ] || fail "exit status $status"
	both check -r leaks a.qcow2
	both check a.qcow2
	[ "$status" = 0 ] || fail "exit status $status"
	! ours info a.qcow2 | grep -q b1 || fail "bitmaps are still there"
	repaired "bitmaps out of date"
}

t_check_damaged_bitmaps() {
	bitmaps_image && damage differs "" $((dir + 6)) '\2'        # a table not aligned
	bitmaps_image && damage same "" $((table + 4)) '\x77'       # its data behind the end
	bitmaps_image && damage differs "" $table '\x77'            # reserved bits
	bitmaps_image && damage differs "" $((dir + 8)) '\x77'      # too large
	bitmaps_image && damage differs "" $((ext + 22)) '\2'       # the directory not aligned
	bitmaps_image && damage differs "" $((ext + 19)) '\2'       # behind the end
	bitmaps_image && damage differs "" $((ext + 3)) '\5'        # their number
}

# The corrupt bit: it can be read only, until it has been repaired.
t_check_marked_corrupt() {
	data_image
	poke 79 '\2'
	status=0
	ours resize a.qcow2 +1M >"$T/p.out" 2>"$T/p.err" || status=$?
	[ "$status" = 1 ] || fail "it was written"
	says "check -r all"
	ours_ok convert -O raw a.qcow2 out.raw
	cmp "$T/p/out.raw" "$T/ref.raw" || fail "wrong bytes"
	both check a.qcow2
	both check -r all a.qcow2
	both info --output=json a.qcow2
	grep -q '"corrupt": false' "$T/p.out" || fail "still marked"
	repaired "marked corrupt"
}

t_check_dirty() {
	local f
	data_image -o lazy_refcounts=on
	qemu-io -c 'write -P 5 2M 512k' -c flush -c abort "$T/q/a.qcow2" >/dev/null 2>&1 || true
	qemu-img convert -O raw "$T/q/a.qcow2" "$T/ref.raw"
	cp "$T/q/a.qcow2" "$T/p/a.qcow2"
	cp "$T/q/a.qcow2" "$T/p/open.qcow2"
	both check a.qcow2
	[ "$status" = 2 ] || fail "exit status $status"
	ours_ok check -r all a.qcow2
	repaired "dirty"
	# The same when it is opened.
	ours_ok bench -w -c 1 -s 4096 -o 3584k open.qcow2
	mv "$T/p/open.qcow2" "$T/p/a.qcow2"
	sound a.qcow2
	ours_ok check a.qcow2
}

# Refcounts of far more clusters than the table of the image has place for.
t_check_table_too_small() {
	local n
	given a.qcow2 qemu-img create -q -f qcow2 -o cluster_size=512,lazy_refcounts=on a.qcow2 40M
	io a.qcow2 'write -P 1 0 20M'
	qemu-img convert -O raw "$T/q/a.qcow2" "$T/ref.raw"
	n=$(peek 56 4)
	[ "$n" -gt 1 ] || fail "refcount_table_clusters is $n"
	poke 56 '\0\0\0\1'
	cp "$T/p/a.qcow2" "$T/p/open.qcow2"
	both check -q a.qcow2
	[ "$status" = 2 ] || fail "exit status $status"
	ours_ok check -r all a.qcow2
	repaired "a refcount table that is too small"
	# The same when it is opened, with the dirty bit.
	mv "$T/p/open.qcow2" "$T/q/a.qcow2"
	poke 79 '\1'
	ours_ok bench -w -c 1 -s 4096 -o 30M a.qcow2
	sound a.qcow2
	ours_ok check a.qcow2
}

# Data written over what the refcounts wrongly call free: caught, and the image marked.
t_check_overlap_caught() {
	local c
	for c in 8 4; do # the L2 table's refcount, the refcount block's
		data_image
		poke $((0x20000 + c)) '\0\0'
		status=0
		ours bench -w -c 8 -s 65536 -S 65536 -o 2M a.qcow2 >"$T/p.out" 2>"$T/p.err" || status=$?
		[ "$status" = 1 ] || fail "written over metadata: exit status $status"
		says "metadata"
		ours info a.qcow2 | grep -q "corrupt: true" || fail "not marked"
		ours_ok check -r all a.qcow2
		repaired "overlap"
	done
}

t_check_in_use() {
	local pid
	data_image
	coproc qemu-io "$T/p/a.qcow2"
	pid=$COPROC_PID
	echo 'read 0 512' >&"${COPROC[1]}"
	read -r _ <&"${COPROC[0]}"
	status=0
	ours check -r all a.qcow2 >"$T/p.out" 2>"$T/p.err" || status=$?
	[ "$status" = 1 ] || fail "exit status $status"
	says "$pid"
	ours check a.qcow2 >"$T/p.out" 2>"$T/p.err" || fail "cannot be looked at: $(cat "$T/p.err")"
	says "$pid"
	echo quit >&"${COPROC[1]}"
	wait "$pid"
	ours_ok check -r all a.qcow2
}

t_check_other_formats() {
	given a.img qemu-img create -q -f raw a.img 1M
	both check -f raw a.img
	[ "$status" = 63 ] || fail "exit status $status"
	both check nonexistent
	[ "$status" = 1 ] || fail "exit status $status"
	data_image
	both check -r what a.qcow2
	[ "$status" = 1 ] || fail "exit status $status"
}

# Entries of the snapshot table: one without what version 3 wants is completed, and what
# cannot be told from others is dropped, with a line for each.
t_check_snapshot_table() {
	local i at table
	in_p qemu-img create -q -f qcow2 a.qcow2 4M
	for i in 1 2 3; do
		in_p qemu-io -c "write -P $i ${i}M 64k" a.qcow2
		in_p qemu-img snapshot -c s$i a.qcow2
	done
	table=$((16#$(od -An -tx1 -j64 -N8 "$T/p/a.qcow2" | tr -d ' ')))
	at=$((table + 2 * 72)) # of the last: 40 bytes, 24 of extra data, "3", "s3"
	cp "$T/p/a.qcow2" "$T/p/short.qcow2"
	cp "$T/p/a.qcow2" "$T/p/long.qcow2"
	printf '\0\0\0\0' | dd of="$T/p/short.qcow2" bs=1 seek=$((at + 36)) conv=notrunc status=none
	printf '\200\0\0\0' | dd of="$T/p/long.qcow2" bs=1 seek=$((at - 72 + 36)) conv=notrunc status=none
	for i in short long; do
		status=0
		ours check $i.qcow2 >"$T/p.out" 2>"$T/p.err" || status=$?
		[ $status = 2 ] || fail "$i: exit status $status: $(cat "$T/p.out" "$T/p.err")"
		ours check -r all $i.qcow2 >"$T/p.out" 2>"$T/p.err" || fail "$i: $(cat "$T/p.out" "$T/p.err")"
		case $i in
		short) says 'Repairing snapshot table entry 2 is incomplete' ;;
		long) says 'Repairing snapshot table entry 1 .* dropped' && says 'table entry 2 .* dropped' ;;
		esac
		sound $i.qcow2
		in_p qemu-img snapshot -a s1 $i.qcow2
		in_p qemu-io -c 'read -P 1 1M 64k' -c 'read -P 0 2M 64k' $i.qcow2
	done
	[ "$(qemu-img snapshot -l "$T/p/short.qcow2" | grep -c ' s[123] ')" = 2 ] || fail "$(qemu-img snapshot -l "$T/p/short.qcow2")"
}
