# SPDX-License-Identifier: GPL-2.0-or-later
# qcow2 images, made by one tool and used by the other.

# A base of 4 MiB, and an image of 6 MiB on it, each with data and zeroes of its own.
chain() {
	given base.qcow2 qemu-img create -q -f qcow2 base.qcow2 4M
	io base.qcow2 'write -P 1 0 100k' 'write -P 2 1M 1M' 'write -z 3M 64k'
	given top.qcow2 qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 6M
	io top.qcow2 'write -P 3 64k 10k' 'write -P 4 1536k 1M' 'write -z 1M 64k' 'write -P 5 5M 300k'
}

t_create_qcow2() {
	both create -f qcow2 a.qcow2 64M
	both info a.qcow2
	both info --output=json a.qcow2
	both create -f qcow2 -b a.qcow2 -F qcow2 b.qcow2
	both create -f qcow2 -o backing_file=a.qcow2,backing_fmt=qcow2 c.qcow2 128M
	both info --backing-chain c.qcow2
	both info --backing-chain --output=json c.qcow2
	both create -f qcow2 -u -b nonexistent -F raw d.qcow2 1G
	both info d.qcow2
	both create -f qcow2 -o compat=0.10,cluster_size=4k e.qcow2 10M
	both create -f qcow2 -o extended_l2=on,refcount_bits=64,compression_type=zstd,lazy_refcounts=on f.qcow2 10M
	both create -f qcow2 -o preallocation=metadata g.qcow2 10M
	for f in a b c e f g; do
		sound $f.qcow2
		both info $f.qcow2
		both map --output=json $f.qcow2
	done
	both_fail 1 "without backing format" create -f qcow2 -b a.qcow2 x.qcow2
	both_fail 1 "No such file" create -f qcow2 -b nonexistent -F raw x.qcow2
	both_fail 1 "needs a size" create -f qcow2 x.qcow2
	both_fail 1 "needs a size" create -f qcow2 -u -b nonexistent -F raw x.qcow2
	both_fail 1 "cluster_size" create -q -f qcow2 -o cluster_size=1000 x.qcow2 1M
	[ ! -e "$T/p/x.qcow2" ] || fail "x.qcow2 was made"
}

t_info_chain() {
	mkdir "$T/p/d" "$T/q/d"
	given d/base.qcow2 qemu-img create -q -f qcow2 d/base.qcow2 4M
	given d/mid.qcow2 qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 d/mid.qcow2
	given top.qcow2 qemu-img create -q -f qcow2 -b d/mid.qcow2 -F qcow2 top.qcow2
	both info d/mid.qcow2
	both info --output=json d/mid.qcow2
	both info --backing-chain top.qcow2
	both info --backing-chain --output=json top.qcow2
	given broken.qcow2 qemu-img create -q -f qcow2 -u -b nonexistent -F raw broken.qcow2 1M
	both info broken.qcow2
	both_fail 1 "nonexistent" info --backing-chain broken.qcow2
	given loop.qcow2 qemu-img create -q -f qcow2 loop.qcow2 1M
	given loop.qcow2 qemu-img rebase -u -b loop.qcow2 -F qcow2 loop.qcow2
	both_fail 1 "infinite loop" info --backing-chain loop.qcow2
}

t_map_qcow2() {
	local p o
	chain
	shared base.qcow2 top.qcow2
	both map top.qcow2
	both map --output=json top.qcow2
	both map --output=json base.qcow2
	both map --output=json -s 1M -l 2M top.qcow2
	given comp.qcow2 qemu-img convert -c -O qcow2 top.qcow2 comp.qcow2
	both map --output=json comp.qcow2
	both_fail 1 "compressed clusters" map comp.qcow2
	for p in off metadata falloc full; do
		for o in cluster_size=64k cluster_size=4k extended_l2=on compat=0.10; do
			given a.qcow2 qemu-img create -q -f qcow2 -o preallocation=$p,$o a.qcow2 4M
			shared a.qcow2
			both map --output=json a.qcow2
			given b.qcow2 qemu-img create -q -f qcow2 -o preallocation=$p,$o b.qcow2 4M
			io b.qcow2 'write 64k 64k' 'write -z 1M 200k' 'write -zu 2M 200k' 'write 3M 10k' 'discard 3500k 200k'
			shared b.qcow2
			both map b.qcow2
			both map --output=json b.qcow2
		done
	done
	given a.qcow2 qemu-img create -q -f qcow2 -b b.qcow2 -F qcow2 -o extended_l2=on a.qcow2 5M
	io a.qcow2 'write 128k 64k' 'write -z 1200k 200k' 'write 3100k 10k' 'write -c 2M 64k' 'write 4900k 1k'
	shared a.qcow2
	both map --output=json a.qcow2
	given a.qcow2 qemu-img create -q -f qcow2 -o data_file=data.raw a.qcow2 5M
	io a.qcow2 'write 128k 64k' 'write -z 1M 64k'
	shared a.qcow2 data.raw
	both map a.qcow2
	both map --output=json a.qcow2
}

t_convert_qcow2() {
	local o
	chain
	qemu-img convert -O raw "$T/q/top.qcow2" "$T/ref.raw"
	ours_ok convert -O raw top.qcow2 out.raw
	cmp "$T/p/out.raw" "$T/ref.raw" || fail "to raw: wrong bytes"
	for o in "" "-W" "-m 16" "-c" "-c -o compression_type=zstd" "-S 0" "-o cluster_size=4k" "-o cluster_size=2M" \
		"-c -o cluster_size=512" "-o extended_l2=on" "-o compat=0.10" "-o preallocation=metadata" "-t none -T none"; do
		both convert $o -O qcow2 top.qcow2 out.qcow2
		sound out.qcow2
		same_disk qcow2 out.qcow2
		qemu-img compare -q -F raw "$T/p/out.qcow2" "$T/ref.raw" || fail "convert $o: wrong contents"
		ours_ok compare out.qcow2 "$T/q/out.qcow2"
	done
	both convert -O qcow2 top.qcow2 base.qcow2 two.qcow2
	same_disk qcow2 two.qcow2
	sound two.qcow2
	both convert -B base.qcow2 -F qcow2 -O qcow2 top.qcow2 thin.qcow2
	both info thin.qcow2
	same_disk qcow2 thin.qcow2
	sound thin.qcow2
	[ "$(stat -c %s "$T/p/thin.qcow2")" -le "$(stat -c %s "$T/q/thin.qcow2")" ] || fail "-B: larger"
	both_fail 1 "requires explicit backing format" convert -B base.qcow2 -O qcow2 top.qcow2 x.qcow2
	both_fail 1 "not supported at the same time" convert -c -o preallocation=full -O qcow2 top.qcow2 x.qcow2
	[ ! -e "$T/p/x.qcow2" ] || fail "x.qcow2 was made"
}

# Clusters that holes and the ends of sources cut are compressed whole.
t_convert_compressed_edges() {
	local o
	for o in "" "-c" "-c -o compression_type=zstd" "-c -o cluster_size=4k" "-c -W -m 16"; do
		printf 'x%.0s' {1..1000} >"$T/piece"
		rm -f "$T/p/a.img" "$T/p/b.img"
		truncate -s 5000k "$T/p/a.img"
		truncate -s 70k "$T/p/b.img"
		for at in 100000 300000 1199000 1310000 2100000 4097000 5119000; do
			dd if="$T/piece" of="$T/p/a.img" bs=1 seek=$at conv=notrunc status=none
		done
		dd if=/dev/urandom of="$T/p/a.img" bs=4k seek=400 count=59 conv=notrunc status=none
		dd if="$T/piece" of="$T/p/b.img" bs=1 seek=3000 conv=notrunc status=none
		cat "$T/p/a.img" "$T/p/b.img" "$T/p/b.img" "$T/p/a.img" >"$T/ref.raw"
		ours_ok convert $o -f raw -O qcow2 a.img b.img b.img a.img out.qcow2
		sound out.qcow2
		qemu-img compare -q -F raw "$T/p/out.qcow2" "$T/ref.raw" || fail "convert $o: wrong contents"
		ours_ok convert -O raw out.qcow2 back.raw
		cmp "$T/p/back.raw" "$T/ref.raw" || fail "convert $o and back: wrong bytes"
	done
}

# Tables are read with those around them: each must get its own.
t_dd_from_the_middle() {
	local at
	given big.qcow2 qemu-img create -q -f qcow2 big.qcow2 600M
	io big.qcow2 'write -P 1 1M 64k' 'write -P 2 40M 1M' 'write -P 3 100M 64k' 'write -P 4 161M 100k' 'write -P 5 520M 64k' \
		'write -P 6 599M 64k'
	qemu-img convert -O raw "$T/q/big.qcow2" "$T/ref.raw"
	for at in 598 500 150 99 35; do
		ours_ok dd -f qcow2 -O raw bs=1M skip=$at if=big.qcow2 of=out.raw
		cmp "$T/p/out.raw" <(tail -c +$(((at << 20) + 1)) "$T/ref.raw") || fail "from $at MiB on: wrong bytes"
	done
	rm -f "$T/ref.raw" "$T/p/out.raw"
}

# Of two images behind the source: only what is above the given one is copied, and all of it.
t_convert_onto_deeper_base() {
	chain
	given third.qcow2 qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 third.qcow2
	io third.qcow2 'write -P 9 2M 64k'
	ours_ok convert -B base.qcow2 -F qcow2 -O qcow2 third.qcow2 thin.qcow2
	sound thin.qcow2
	qemu-img compare -q "$T/p/thin.qcow2" "$T/p/third.qcow2" || fail "not the same contents"
	[ "$(stat -c %s "$T/p/thin.qcow2")" -le 2100000 ] || fail "copied what the base has"
}

t_compare_qcow2() {
	chain
	both compare top.qcow2 base.qcow2
	both compare -s top.qcow2 top.qcow2
	given flat.qcow2 qemu-img convert -O qcow2 top.qcow2 flat.qcow2
	both compare top.qcow2 flat.qcow2
	both compare -s top.qcow2 flat.qcow2
	ours_ok convert -O raw top.qcow2 flat.raw
	ours_ok compare top.qcow2 flat.raw
}

t_resize_qcow2() {
	chain
	both resize top.qcow2 +10M
	both resize top.qcow2 100G
	same_disk qcow2 top.qcow2
	both resize --shrink base.qcow2 2M
	same_disk qcow2 base.qcow2
	sound top.qcow2
	sound base.qcow2
	both info base.qcow2
}

t_measure_qcow2() {
	chain
	both measure -O qcow2 --size 1G
	both measure -O qcow2 --size 1G --output=json
	both measure -O qcow2 -o cluster_size=4k --size 1T
	both measure -O qcow2 top.qcow2
	both measure -O qcow2 --output=json top.qcow2
	both measure -O raw top.qcow2
	both measure -O qcow2 -o compat=0.10 top.qcow2
}

t_rebase() {
	chain
	qemu-img convert -O raw "$T/q/top.qcow2" "$T/ref.raw"
	given other.qcow2 qemu-img create -q -f qcow2 other.qcow2 5M
	io other.qcow2 'write -P 2 1M 1M' 'write -P 8 3M 1500k'
	both rebase -b other.qcow2 -F qcow2 top.qcow2
	both info top.qcow2
	sound top.qcow2
	qemu-img compare -q -F raw "$T/p/top.qcow2" "$T/ref.raw" || fail "contents changed"
	both rebase -p -b "" top.qcow2
	both info top.qcow2
	sound top.qcow2
	qemu-img compare -q -F raw "$T/p/top.qcow2" "$T/ref.raw" || fail "contents changed: no backing file"
	both rebase -u -b base.qcow2 -F qcow2 top.qcow2
	both info top.qcow2
	both rebase -u -b nonexistent -F raw top.qcow2
	both info top.qcow2
	both_fail 1 "format must be specified" rebase -u -b base.qcow2 top.qcow2
	both_fail 1 "Invalid format name: 'foo'" rebase -u -b base.qcow2 -F foo top.qcow2
	both_fail 1 "No such file" rebase -b base.qcow2 -F qcow2 top.qcow2
	ours_ok rebase -u -b base.qcow2 -F qcow2 top.qcow2
	ours rebase -b top.qcow2 -F qcow2 top.qcow2 2>"$T/p.err" && fail "an image behind itself"
	says "the image itself"
	ours rebase -b top.qcow2 -F qcow2 base.qcow2 2>"$T/p.err" && fail "a loop"
	says "base.qcow2"
}

t_commit() {
	chain
	given third.qcow2 qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 third.qcow2 7M
	io third.qcow2 'write -P 9 2M 64k' 'write -z 5M 64k' 'write -P 10 6500k 100k'
	qemu-img convert -O raw "$T/q/third.qcow2" "$T/ref.raw"
	both_fail 1 "Did not find 'x' in the backing chain" commit -b x third.qcow2
	both_fail 1 "does not have a backing file" commit base.qcow2
	both commit -d third.qcow2
	for f in third top; do
		sound $f.qcow2
		qemu-img compare -q -F raw "$T/p/$f.qcow2" "$T/ref.raw" || fail "$f.qcow2: contents changed"
	done
	both commit -p -b base.qcow2 third.qcow2
	sound base.qcow2
	qemu-img compare -q -F raw "$T/p/base.qcow2" "$T/ref.raw" || fail "base.qcow2: wrong contents"
	both commit -q top.qcow2
	same_disk qcow2 top.qcow2
	# Nothing is left in it.
	ours_ok map --output=json top.qcow2
	! grep '"depth": 0' "$T/p.out" || fail "top.qcow2 still has data"
}

t_dd_qcow2() {
	chain
	both dd -O qcow2 bs=64k count=40 skip=10 if=top.qcow2 of=out.qcow2
	same_disk qcow2 out.qcow2
	sound out.qcow2
}

t_bench_qcow2() {
	chain
	both bench -c 300 top.qcow2
	both bench -c 300 -w --pattern=7 -d 16 top.qcow2
	same_disk qcow2 top.qcow2
	sound top.qcow2
}

# What a shorter image in the middle hides stays hidden.
t_commit_past_a_shorter_one() {
	given base.qcow2 qemu-img create -q -f qcow2 base.qcow2 4M
	io base.qcow2 'write -P 1 0 4M'
	given mid.qcow2 qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 2M
	io mid.qcow2 'write -P 2 1M 64k'
	given top.qcow2 qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 4M
	io top.qcow2 'write -P 3 3M 64k'
	qemu-img convert -O raw "$T/q/top.qcow2" "$T/ref.raw"
	ours_ok commit -b base.qcow2 top.qcow2
	sound base.qcow2
	qemu-img compare -q -F raw "$T/p/base.qcow2" "$T/ref.raw" || fail "wrong contents"
}
