# SPDX-License-Identifier: GPL-2.0-or-later
# Persistent dirty bitmaps of qcow2 images.

# What the bitmap says is dirty, by qemu-nbd: lines of "start length".
dirty() { # ROOM FILE BITMAP
	local s=$T/nbd.sock
	rm -f "$s" "$s.pid"
	qemu-nbd -r -f qcow2 -k "$s" -B "$3" --fork --pid-file="$s.pid" "$T/$1/$2" || fail "$1/$2: no bitmap $3"
	qemu-img map --output=json --image-opts \
		"driver=nbd,server.type=unix,server.path=$s,x-dirty-bitmap=qemu:dirty-bitmap:$3" >"$T/dirty"
	kill "$(cat "$s.pid")" 2>/dev/null || true
	while [ -e "$s.pid" ] && kill -0 "$(cat "$s.pid")" 2>/dev/null; do :; done
	sed -n 's/.*"start": \([0-9]*\), "length": \([0-9]*\),.*"data": false.*/\1 \2/p' "$T/dirty"
}

same_bits() { # FILE BITMAP...
	local f=$1 b ours theirs
	command -v qemu-nbd >/dev/null || skip "no qemu-nbd (package qemu-utils) to read bitmaps with"
	shift
	for b; do
		ours=$(dirty p "$f" "$b")
		theirs=$(dirty q "$f" "$b")
		[ "$ours" = "$theirs" ] || fail "$f: bitmap $b: $ours, and qemu-img's: $theirs"
	done
}

# An image of 20 MiB with three bitmaps, made by each tool in its room, and written to.
bitmaps() {
	both create -q -f qcow2 a.qcow2 20M
	both bitmap --add a.qcow2 b0
	both bitmap --add -g 4k a.qcow2 b1
	both bitmap --add --disable -g 1M a.qcow2 b2
	for r in p q; do
		qemu-io -c 'write -P 1 1M 100k' -c 'discard 5M 1M' -c 'write -z 7000k 10k' "$T/$r/a.qcow2" >/dev/null
	done
}

t_bitmap() {
	bitmaps
	both info a.qcow2
	both info --output=json a.qcow2
	same_bits a.qcow2 b0 b1 b2
	# Our own writes are recorded just as theirs.
	both bench -c 3 -w -o 10M -s 5000 -S 50000 a.qcow2
	same_bits a.qcow2 b0 b1 b2
	both bitmap --merge b1 a.qcow2 b2
	both bitmap --merge b0 --disable a.qcow2 b0
	both bench -c 1 -w -o 15M a.qcow2
	same_bits a.qcow2 b0 b1 b2
	both bitmap --enable a.qcow2 b2
	both bitmap --clear a.qcow2 b1
	both bench -c 1 -w -o 16M a.qcow2
	same_bits a.qcow2 b0 b1 b2
	both info a.qcow2
	both bitmap --clear --add --remove a.qcow2 b3
	both bitmap --add --merge b2 --disable a.qcow2 b3
	same_bits a.qcow2 b3
	both bitmap --remove a.qcow2 b0
	both bitmap --remove --add -g 64k a.qcow2 b1
	both info a.qcow2
	same_bits a.qcow2 b1 b2 b3
	sound a.qcow2
	for b in b1 b2 b3; do both bitmap --remove a.qcow2 $b; done
	both info a.qcow2
	sound a.qcow2
	same_disk qcow2 a.qcow2
}

t_bitmap_from_another_file() {
	bitmaps
	both create -q -f qcow2 -o cluster_size=4k c.qcow2 20M
	both bitmap --add --merge b0 -b a.qcow2 -F qcow2 c.qcow2 new
	both bitmap --merge b1 -b a.qcow2 c.qcow2 new
	same_bits c.qcow2 new
	sound c.qcow2
	both bitmap --add --image-opts driver=qcow2,file.filename=c.qcow2 opts
	both info c.qcow2
	both create -q -f qcow2 small.qcow2 1M
	both_fail 1 "of different sizes" bitmap --add --merge b0 -b a.qcow2 small.qcow2 x
	given r.img qemu-img create -q r.img 20M
	both_fail 1 "format raw have no bitmaps|not found" bitmap --merge b0 -b r.img -F raw a.qcow2 b1
}

t_bitmap_refused() {
	bitmaps
	both_fail 1 "Bitmap already exists: b0" bitmap --add a.qcow2 b0
	both_fail 1 "Granularity must be power of 2 and at least 512" bitmap --add -g 1000 a.qcow2 x
	both_fail 1 "Granularity must be power of 2" bitmap --add -g 256 a.qcow2 x
	both_fail 1 "Granularity must be power of 2" bitmap --add -g 4G a.qcow2 x
	both_fail 1 "Invalid granularity" bitmap --add -g foo a.qcow2 x
	both_fail 1 "cannot be empty" bitmap --add a.qcow2 ""
	both_fail 1 "Name length exceeds" bitmap --add a.qcow2 "$(printf '%01024d' 1)"
	both bitmap --add a.qcow2 "$(printf '%01023d' 1)"
	for o in remove clear enable disable "merge b0"; do
		both_fail 1 "Operation ${o% *} on bitmap nope failed: Dirty bitmap 'nope' not found" bitmap --$o a.qcow2 nope
	done
	both_fail 1 "Dirty bitmap 'nope' not found" bitmap --merge nope a.qcow2 b0
	both_fail 1 "Need at least one of" bitmap a.qcow2 b0
	both_fail 1 "Expecting filename and bitmap name" bitmap --add a.qcow2
	both_fail 1 "only supported with --merge" bitmap --add -b a.qcow2 a.qcow2 x
	both_fail 1 "-F only supported with -b" bitmap --merge b0 -F raw a.qcow2 b1
	both_fail 1 "granularity only supported with --add" bitmap --clear -g 64k a.qcow2 b0
	both_fail 1 "unrecognized option '--frob'" bitmap --frob a.qcow2 b0
	both_fail 1 "No such file" bitmap --add nonexistent b0
	both create -q -f qcow2 -o compat=0.10 v2.qcow2 1M
	both_fail 1 "v2 files" bitmap --add v2.qcow2 b
	both create -q -f qcow2 huge.qcow2 8T
	both_fail 1 "Use larger granularity" bitmap --add -g 512 huge.qcow2 b
	given r.img qemu-img create -q r.img 1M
	both_fail 1 "Operation add on bitmap b failed" bitmap --add -f raw r.img b
	both info a.qcow2
	sound a.qcow2
	same_bits a.qcow2 b0 b1 b2
}

# Who had the image was killed: what its bitmaps have missed nobody knows.
t_bitmap_inconsistent() {
	bitmaps
	for r in p q; do
		coproc qemu-io "$T/$r/a.qcow2"
		local pid=$COPROC_PID
		echo "write 0 512" >&"${COPROC[1]}"
		read -r -u "${COPROC[0]}"
		kill -9 "$pid"
		wait "$pid" || true
	done
	both info a.qcow2
	grep -q in-use "$T/p.out" || fail "$(cat "$T/p.out")"
	for o in clear enable disable "merge b1"; do
		both_fail 1 "Bitmap 'b0' is inconsistent and cannot be used" bitmap --$o a.qcow2 b0
		says "posada-img bitmap --remove a.qcow2 b0"
	done
	both bench -c 1 -w a.qcow2
	both info a.qcow2
	both_fail 1 "is inconsistent" resize a.qcow2 40M
	both_fail 1 "Cannot copy inconsistent bitmap" convert --bitmaps -O qcow2 a.qcow2 x.qcow2
	[ ! -e "$T/p/x.qcow2" ] || fail "x.qcow2 was made"
	both bitmap --add a.qcow2 fresh
	both convert --bitmaps --skip-broken-bitmaps -O qcow2 a.qcow2 c.qcow2
	says "Skipping inconsistent bitmap 'b0'"
	both info c.qcow2
	for b in b0 b1 b2; do both bitmap --remove a.qcow2 $b; done
	both info a.qcow2
	sound a.qcow2
	sound c.qcow2
}

t_bitmap_resize() {
	bitmaps
	both resize a.qcow2 100M
	both bench -c 1 -w -o 90M a.qcow2
	same_bits a.qcow2 b0 b1 b2
	both resize --shrink a.qcow2 6001k
	same_bits a.qcow2 b0 b1 b2
	both resize a.qcow2 30M
	same_bits a.qcow2 b0 b1 b2
	both info a.qcow2
	sound a.qcow2
}

t_bitmap_convert() {
	bitmaps
	both convert --bitmaps -O qcow2 a.qcow2 c.qcow2
	both info c.qcow2
	same_bits c.qcow2 b0 b1 b2
	sound c.qcow2
	same_disk qcow2 c.qcow2
	both convert -c --bitmaps -o cluster_size=4k -O qcow2 a.qcow2 c.qcow2
	both info c.qcow2
	same_bits c.qcow2 b0 b1 b2
	both convert -O qcow2 a.qcow2 none.qcow2
	both info none.qcow2
	given r.img qemu-img create -q r.img 20M
	both_fail 1 "Source lacks bitmap support" convert --bitmaps -O qcow2 r.img x.qcow2
	both_fail 1 "'raw' does not support bitmaps" convert --bitmaps -O raw a.qcow2 x
	both_fail 1 "requires --bitmaps" convert --skip-broken-bitmaps -O qcow2 a.qcow2 x.qcow2
	both_fail 1 "only possible with single source" convert --bitmaps -O qcow2 a.qcow2 a.qcow2 x.qcow2
	shared a.qcow2
	for o in "-O qcow2" "-O qcow2 --output=json" "-O qcow2 -o cluster_size=4k" "-O raw" "-O qcow2 -o compat=0.10"; do
		both measure $o a.qcow2
	done
	shared r.img
	both measure -O qcow2 r.img
}

# Writing into a backing file is recorded there.
t_bitmap_commit() {
	both create -q -f qcow2 base.qcow2 8M
	both bitmap --add base.qcow2 b
	both create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
	for r in p q; do qemu-io -c 'write -P 3 3M 1M' "$T/$r/top.qcow2" >/dev/null; done
	both commit top.qcow2
	same_bits base.qcow2 b
	sound base.qcow2
	both snapshot -l base.qcow2
}
