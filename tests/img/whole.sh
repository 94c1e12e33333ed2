# SPDX-License-Identifier: GPL-2.0-or-later
# Checking, snapshots and new options of qcow2 images.

# Whether the format can do it at all: exit status 63, or a message that it cannot.
needs() { # WHAT COMMAND...
	local what=$1
	shift
	given probe.qcow2 qemu-img create -q -f qcow2 probe.qcow2 1M
	ours "$@" probe.qcow2 >"$T/p.out" 2>&1 && return
	! grep -qE 'does not support|has no snapshots' "$T/p.out" || skip "no $what of qcow2 yet"
	fail "$(cat "$T/p.out")"
}

t_check_qcow2() {
	given a.qcow2 qemu-img create -q -f qcow2 a.qcow2 4M
	both check a.qcow2
	both check --output=json a.qcow2
	io a.qcow2 'write -P 1 0 100k' 'write -P 2 1M 1M'
	both check a.qcow2
	both check --output=json a.qcow2
	both check -q a.qcow2
	given comp.qcow2 qemu-img convert -c -O qcow2 a.qcow2 comp.qcow2
	both check comp.qcow2
	both check --output=json comp.qcow2
}

# Refcounts are 2 bytes each; the image's only block of them is its third cluster.
refcount() { # FILE CLUSTER VALUE (two octal bytes)
	printf "$3" | dd of="$T/q/$1" bs=1 seek=$((0x20000 + 2 * $2)) conv=notrunc status=none
	cp "$T/q/$1" "$T/p/$1"
}

t_check_leaks() {
	given a.qcow2 qemu-img create -q -f qcow2 a.qcow2 4M
	io a.qcow2 'write -P 1 0 1M' 'write -P 2 2M 64k' 'discard 2M 64k'
	refcount a.qcow2 21 '\000\002'
	both check a.qcow2
	refcount a.qcow2 6 '\000\002'
	both check a.qcow2
	both check --output=json a.qcow2
	both check -q a.qcow2
	both check -r leaks a.qcow2
	[ "$status" = 0 ] || fail "exit status $status after the repair"
	both check a.qcow2
	sound a.qcow2
}

t_check_corrupt() {
	given a.qcow2 qemu-img create -q -f qcow2 a.qcow2 4M
	io a.qcow2 'write -P 1 0 1M'
	refcount a.qcow2 6 '\000\000'
	ours check a.qcow2 >"$T/p.out" 2>"$T/p.err" && fail "took a corrupt image for a sound one"
	ours check -q a.qcow2 || status=$?
	[ "$status" = 2 ] || fail "exit status $status"
	ours_ok check -r all a.qcow2
	theirs check -r all a.qcow2 >"$T/q.out" 2>&1 || fail "qemu-img cannot repair it"
	# We need no new table; with one the image ends behind it.
	sed -i -E '/^(Image end offset|ERROR|Repairing|Rebuilding)/d' "$T/p.out" "$T/q.out"
	compare_texts "$T/p.out" "$T/q.out" "check -r all"
	sound a.qcow2
	same_disk qcow2 a.qcow2
}

t_snapshot() {
	needs snapshots snapshot -c x
	given a.qcow2 qemu-img create -q -f qcow2 a.qcow2 4M
	io a.qcow2 'write -P 1 0 1M'
	both snapshot -l a.qcow2
	both snapshot -c s1 a.qcow2
	both snapshot -l a.qcow2
	both info a.qcow2
	both info --output=json a.qcow2
	for r in p q; do qemu-io -c 'write -P 2 512k 1M' "$T/$r/a.qcow2" >/dev/null; done
	both snapshot -c "a long name of a snapshot" a.qcow2
	both snapshot -c s1 a.qcow2
	both snapshot -l a.qcow2
	both convert -l s1 -O raw a.qcow2 s1.raw
	same_disk raw s1.raw
	both convert -l snapshot.id=2 -O raw a.qcow2 s2.raw
	same_disk raw s2.raw
	both convert -l 'snapshot.name=a long name of a snapshot' -O raw a.qcow2 s2.raw
	both_fail 1 "Can't find snapshot" convert -l none -O raw a.qcow2 x.raw
	both_fail 1 "Could not apply snapshot 's2'" snapshot -a s2 a.qcow2
	both_fail 1 "Could not delete snapshot 's2'" snapshot -d s2 a.qcow2
	both snapshot -a s1 a.qcow2
	same_disk qcow2 a.qcow2
	sound a.qcow2
	both snapshot -d s1 a.qcow2
	both snapshot -d 2 a.qcow2
	both snapshot -l a.qcow2
	sound a.qcow2
	same_disk qcow2 a.qcow2
}

t_amend() {
	needs amend amend -o compat=1.1
	given a.qcow2 qemu-img create -q -f qcow2 a.qcow2 4M
	io a.qcow2 'write -P 1 0 1M' 'write -z 2M 64k'
	for o in lazy_refcounts=on refcount_bits=64 size=8M lazy_refcounts=off,refcount_bits=16 compat=0.10 compat=1.1; do
		both amend -o $o a.qcow2
		both info a.qcow2
		sound a.qcow2
		same_disk qcow2 a.qcow2
	done
	both_fail 1 "bogus" amend -o bogus=on a.qcow2
	both_fail 1 "Must specify options" amend a.qcow2
}
