# SPDX-License-Identifier: GPL-2.0-or-later
# Snapshots within qcow2 images: made by one tool, used by the other.

# qemu-io's commands on the file of each room.
each() { # FILE COMMAND...
	local f=$1 r c args=()
	shift
	for c; do args+=(-c "$c"); done
	for r in p q; do
		qemu-io "${args[@]}" "$T/$r/$f" >"$T/io" || fail "qemu-io: $(cat "$T/io")"
	done
}

# The disk, and each snapshot, by their tool out of both rooms; and by ours out of theirs.
same_snapshots() { # FILE NAME...
	local f=$1 s
	shift
	sound "$f"
	same_disk qcow2 "$f"
	for s; do
		qemu-img convert -l "snapshot.name=$s" -O raw "$T/p/$f" "$T/ours.raw"
		qemu-img convert -l "snapshot.name=$s" -O raw "$T/q/$f" "$T/theirs.raw"
		cmp "$T/ours.raw" "$T/theirs.raw" || fail "$f: snapshot $s: not the same contents"
		ours_ok convert -l "snapshot.name=$s" -O raw "$T/q/$f" "$T/read.raw"
		cmp "$T/read.raw" "$T/theirs.raw" || fail "$f: snapshot $s: ours reads other contents"
	done
}

# What each tool makes is handed to the other: the rooms' files change places.
swap() { # FILE
	mv "$T/p/$1" "$T/swap"
	mv "$T/q/$1" "$T/p/$1"
	mv "$T/swap" "$T/q/$1"
}

t_snapshot_matrix() {
	local o
	for o in cluster_size=512 cluster_size=4k,refcount_bits=4 cluster_size=64k,refcount_bits=64 \
		cluster_size=2M extended_l2=on,cluster_size=32k compat=0.10 compression_type=zstd \
		lazy_refcounts=on,refcount_bits=32 refcount_bits=4,preallocation=metadata; do
		echo "$o"
		given a.qcow2 qemu-img create -q -f qcow2 -o "$o" a.qcow2 5M
		each a.qcow2 'write -P 1 0 1M' 'write -P 2 2M 300k'
		both snapshot -c one a.qcow2
		swap a.qcow2
		each a.qcow2 'write -P 3 512k 1M' 'discard 2M 64k'
		[ "$o" = compat=0.10 ] || each a.qcow2 'write -z 64k 128k' 'write -zu 256k 64k'
		case $o in
		*zstd*) each a.qcow2 'write -c -P 4 4M 64k' 'write -c -P 5 4160k 64k' ;;
		esac
		both snapshot -c two a.qcow2
		each a.qcow2 'write -P 6 1M 2M'
		swap a.qcow2
		both snapshot -l a.qcow2
		same_snapshots a.qcow2 one two
		both snapshot -a one a.qcow2
		swap a.qcow2
		each a.qcow2 'write -P 7 100k 700k' 'read -P 1 900k 100k'
		same_snapshots a.qcow2 one two
		both snapshot -d one a.qcow2
		swap a.qcow2
		same_snapshots a.qcow2 two
		both snapshot -a two a.qcow2
		same_snapshots a.qcow2 two
		swap a.qcow2
		both snapshot -d two a.qcow2
		each a.qcow2 'write -P 8 0 1M' 'write -P 9 3M 1M'
		swap a.qcow2
		same_snapshots a.qcow2
		both snapshot -l a.qcow2
		both info a.qcow2
		rm "$T"/?/a.qcow2
	done
}

t_snapshot_compressed_backed() {
	given base.qcow2 qemu-img create -q -f qcow2 base.qcow2 3M
	io base.qcow2 'write -P 1 0 3M'
	given top.qcow2 qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o cluster_size=16k top.qcow2 5M
	io top.qcow2 'write -c -P 2 0 16k' 'write -c -P 3 16k 16k' 'write -c -P 4 1M 16k' 'write -z 2M 1M'
	both snapshot -c one top.qcow2
	each top.qcow2 'write -c -P 5 3M 16k' 'write -P 8 20k 1k' 'write -P 6 1030k 4k' 'write -P 7 4M 1M'
	both snapshot -c two top.qcow2
	same_snapshots top.qcow2 one two
	both snapshot -a one top.qcow2
	swap top.qcow2
	both snapshot -d one top.qcow2
	same_snapshots top.qcow2 two
	both snapshot -d two top.qcow2
	same_snapshots top.qcow2
	both map --output=json top.qcow2
}

t_snapshot_names() {
	given a.qcow2 qemu-img create -q -f qcow2 a.qcow2 1M
	io a.qcow2 'write -P 1 0 64k'
	both snapshot a.qcow2
	both snapshot -c 2 a.qcow2
	both snapshot -c "" a.qcow2
	both snapshot -q -c "mit Ümläut" a.qcow2
	both snapshot -l a.qcow2
	both info --output=json a.qcow2
	# Ids come before names.
	each a.qcow2 'write -P 2 0 64k'
	both snapshot -a 3 a.qcow2
	same_disk qcow2 a.qcow2
	both snapshot -a 2 a.qcow2
	both_fail 1 "Could not delete snapshot '1'" snapshot -d 1 a.qcow2
	both snapshot -d 2 a.qcow2
	both snapshot -l a.qcow2
	both snapshot -c next a.qcow2
	both snapshot -l a.qcow2
	sound a.qcow2
	both convert -l snapshot.id=4,snapshot.name=next -O raw a.qcow2 o.raw
	same_disk raw o.raw
	both_fail 1 "Can't find snapshot" convert -l snapshot.id=4,snapshot.name=x -O raw a.qcow2 x.raw
	both_fail 1 "snapshot.foo" convert -l snapshot.foo=4 -O raw a.qcow2 x.raw
	both measure -O raw -l next a.qcow2
	[ ! -e "$T/p/x.raw" ] || fail "x.raw was made"
}

t_snapshot_refused() {
	given a.qcow2 qemu-img create -q -f qcow2 -o refcount_bits=1 a.qcow2 1M
	both snapshot -c empty a.qcow2
	both snapshot -d empty a.qcow2
	io a.qcow2 'write -P 1 0 64k'
	both_fail 1 "Could not create snapshot 's'.*refcount_bits is 1" snapshot -c s a.qcow2
	sound a.qcow2
	cmp "$T/p/a.qcow2" "$T/q/a.qcow2" || same_disk qcow2 a.qcow2
	given d.qcow2 qemu-img create -q -f qcow2 -o data_file=d.raw d.qcow2 1M
	cp "$T/q/d.raw" "$T/p"
	both_fail 1 "external data file" snapshot -c s d.qcow2
	both snapshot -l d.qcow2
	given b.qcow2 qemu-img create -q -f qcow2 b.qcow2 1M
	both_fail 1 "Could not apply snapshot 'x'" snapshot -a x b.qcow2
	both_fail 1 "Could not delete snapshot 'x'" snapshot -d x b.qcow2
	chmod a-w "$T/p/b.qcow2"
	[ "$(id -u)" = 0 ] || both_fail 1 "" snapshot -c x b.qcow2
}

t_snapshot_resize() {
	given a.qcow2 qemu-img create -q -f qcow2 a.qcow2 4M
	io a.qcow2 'write -P 1 0 4M'
	both snapshot -c small a.qcow2
	both resize a.qcow2 8M
	each a.qcow2 'write -P 2 3M 5M'
	both snapshot -c large a.qcow2
	both resize --shrink a.qcow2 2M
	both info a.qcow2
	same_snapshots a.qcow2
	both snapshot -a large a.qcow2
	both info a.qcow2
	same_snapshots a.qcow2 large
	both snapshot -a small a.qcow2
	both info a.qcow2
	same_snapshots a.qcow2 small
	# With the size that it had, not with the disk's.
	ours_ok convert -l large -O raw a.qcow2 large.raw
	[ "$(stat -c %s "$T/p/large.raw")" = $((8 << 20)) ] || fail "large.raw: other size"
	given v2.qcow2 qemu-img create -q -f qcow2 -o compat=0.10 v2.qcow2 4M
	both snapshot -c s v2.qcow2
	both_fail 1 "version 2 and has snapshots" resize v2.qcow2 8M
}

# A machine that is saved with its memory: the other tool's snapshots are kept whole.
t_snapshot_machine() {
	command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64 to save a machine"
	given a.qcow2 qemu-img create -q -f qcow2 a.qcow2 4M
	io a.qcow2 'write -P 1 0 1M'
	machine "savevm one"
	io a.qcow2 'write -P 2 0 2M'
	both snapshot -l a.qcow2
	both snapshot -c two a.qcow2
	both snapshot -a one a.qcow2
	both snapshot -c three a.qcow2
	both snapshot -d two a.qcow2
	both snapshot -l a.qcow2
	same_snapshots a.qcow2 one three
	cp "$T/p/a.qcow2" "$T/q/a.qcow2"
	machine "loadvm one"
	machine "savevm four"
	ours_ok snapshot -d one a.qcow2
	sound a.qcow2
	cp "$T/p/a.qcow2" "$T/q/a.qcow2"
	machine "loadvm four"
	ours_ok snapshot -a four a.qcow2
	ours_ok resize a.qcow2 16M
	sound a.qcow2
	qemu-io -c 'read -P 0 4M 12M' "$T/p/a.qcow2" >"$T/io"
	! grep -q failed "$T/io" || fail "memory of the machine on the disk"
}

# A command of qemu's monitor for a small machine with q/a.qcow2, which is then copied to p.
machine() {
	local out
	out=$(printf '%s\nquit\n' "$1" | timeout -k 5 60 qemu-system-x86_64 -machine pc,accel=tcg -m 8 \
		-display none -nodefaults -S -monitor stdio -drive "file=$T/q/a.qcow2,if=ide" 2>&1) ||
		fail "$1: $out"
	! grep -qi error <<<"$out" || fail "$1: $out"
	cp "$T/q/a.qcow2" "$T/p/a.qcow2"
}
