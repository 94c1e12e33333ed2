# SPDX-License-Identifier: GPL-2.0-or-later
# Options that are seldom used: taken, refused and answered as scripts know it.

images() {
	given base.qcow2 qemu-img create -q -f qcow2 base.qcow2 4M
	io base.qcow2 'write -P 1 0 1M'
	given top.qcow2 qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
	io top.qcow2 'write -P 2 64k 64k' 'write -z 2M 64k'
	given third.qcow2 qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 third.qcow2
	io third.qcow2 'write -P 3 128k 64k'
	given raw.img qemu-img create -q raw.img 4M
	io raw.img 'write -P 2 64k 64k'
	shared raw.img
}

t_options_commit() {
	local begun
	images
	both commit -r 10M -d top.qcow2
	both commit -r 0 -d -p -t none top.qcow2
	both_fail 1 "Invalid rate limit" commit -r foo -d top.qcow2
	both_fail 1 "Invalid cache option" commit -t foo top.qcow2
	both commit -b base.qcow2 -d -q third.qcow2
	both commit -b top.qcow2 third.qcow2
	both commit --image-opts driver=qcow2,file.filename=top.qcow2
	for f in base top third; do same_disk qcow2 $f.qcow2; done
	both_fail 1 "Expecting one" commit
	both_fail 1 "Expecting one" commit a b
	# At 1 MiB a second 2 MiB take a while.
	given top.qcow2 qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
	io top.qcow2 'write -P 4 0 2M'
	begun=$(date +%s%N)
	ours_ok commit -r 1M top.qcow2
	[ $(($(date +%s%N) - begun)) -ge 900000000 ] || fail "commit -r: too fast"
}

t_options_convert() {
	local o
	images
	for o in "-r 10M" "-t none -T none" "--salvage" "-S 8k" "-S 0 -c" "-W -m 4" "-q -p" "-U" \
		"-o backing_file=base.qcow2,backing_fmt=qcow2"; do
		both convert $o -O qcow2 top.qcow2 o.qcow2
		same_disk qcow2 o.qcow2
	done
	both convert -n -O qcow2 third.qcow2 o.qcow2
	both convert -n --target-is-zero -O qcow2 top.qcow2 o.qcow2
	both convert --target-image-opts -n top.qcow2 driver=qcow2,file.filename=o.qcow2
	both convert --image-opts driver=qcow2,file.filename=top.qcow2 -O qcow2 o.qcow2
	same_disk qcow2 o.qcow2
	both convert -C -W -O raw raw.img o.raw
	both_fail 1 "copy offloading in salvaging mode" convert --salvage -C -O qcow2 top.qcow2 x.qcow2
	both_fail 1 "no effect when skipping" convert -n -o cluster_size=4k -O qcow2 top.qcow2 o.qcow2
	both_fail 1 "mutually exclusive" convert --target-image-opts -O qcow2 -n top.qcow2 driver=qcow2,file.filename=o.qcow2
	both_fail 1 "Backing format cannot be used without" convert -F qcow2 -O qcow2 top.qcow2 x.qcow2
	both_fail 1 "Invalid rate limit" convert -r foo -O raw top.qcow2 x.qcow2
	both_fail 1 "Invalid cache option" convert -T foo -O raw top.qcow2 x.qcow2
	both_fail 1 "Compression not supported" convert -c -O vdi top.qcow2 x.qcow2
	[ ! -e "$T/p/x.qcow2" ] || fail "x.qcow2 was made"
}

t_options_create() {
	images
	both create -u -b none -F qcow2 -f qcow2 c.qcow2 1M
	both create -f qcow2 -b base.qcow2 -F raw c.qcow2
	both create -f qcow2 -o size=1M c.qcow2
	both create -f qcow2 c.qcow2 0
	both create -f qcow2 -q -o data_file=df.raw,data_file_raw=on c.qcow2 2M
	both_fail 1 "without backing format" create -u -b base.qcow2 -f qcow2 x.qcow2 1M
	ours create -f qcow2 -F qcow2 x.qcow2 1M 2>"$T/p.err" && fail "-F without -b"
	says "Backing format cannot be used without backing file"
	both_fail 1 "size must be specified only once" create -f qcow2 -o size=1M x.qcow2 2M
	both_fail 1 "needs a size" create -u -b none -F qcow2 -f qcow2 x.qcow2
	[ ! -e "$T/p/x.qcow2" ] || fail "x.qcow2 was made"
}

# What cannot be made leaves nothing behind; what was there is still there.
t_options_create_failed() {
	local o
	images
	for o in "-f qcow2 -o cluster_size=1000" "-f qcow2 -o compat=0.10,extended_l2=on" "-f qcow2 -o refcount_bits=3" \
		"-f qcow2 -o compat=foo" "-f qcow2 -o data_file=/nonexistent/data" "-f qcow2 -o data_file_raw=on" \
		"-f qcow2 -b nonexistent -F raw" "-f raw -o preallocation=metadata" "-f vdi -o preallocation=foo"; do
		ours create -q $o x 1M 2>"$T/p.err" && fail "$o was taken"
		[ ! -e "$T/p/x" ] || fail "create $o left a file"
		cp "$T/p/raw.img" "$T/p/x"
		ours create -q $o x 1M 2>"$T/p.err" && fail "$o was taken"
		cmp "$T/p/raw.img" "$T/p/x" || fail "create $o destroyed what was there"
		rm "$T/p/x"
	done
	# A limit of the host's: 8 MiB a file.
	(ulimit -f 8192; trap '' XFSZ; ours create -q -f qcow2 -o preallocation=full x 100M 2>"$T/p.err") && fail "no limit"
	[ ! -e "$T/p/x" ] || fail "preallocation left a file"
	(ulimit -f 8192; trap '' XFSZ; ours create -q -f raw x 100M 2>"$T/p.err") && fail "no limit"
	[ ! -e "$T/p/x" ] || fail "raw left a file"
	(ulimit -f 8192; trap '' XFSZ; ours create -q -f qcow2 -o data_file=d x 100M 2>"$T/p.err") && fail "no limit"
	[ ! -e "$T/p/x" ] && [ ! -e "$T/p/d" ] || fail "data_file left a file"
}

t_options_resize() {
	local o f
	images
	for o in off metadata falloc full; do
		both resize --preallocation=$o base.qcow2 +1M
		both resize --preallocation=$o top.qcow2 +1M
		for f in base top; do
			sound $f.qcow2
			same_disk qcow2 $f.qcow2
			both info $f.qcow2
		done
	done
	[ "$(stat -c %b "$T/p/base.qcow2")" -ge 6000 ] || fail "no room for what was preallocated"
	both_fail 1 "Invalid preallocation mode" resize --preallocation=foo top.qcow2 +1M
	both resize --image-opts driver=qcow2,file.filename=base.qcow2 9M
	both_fail 1 "mutually exclusive" resize -f qcow2 --image-opts driver=qcow2,file.filename=base.qcow2 1G
	both_fail 1 "is not a size|not a multiple" resize base.qcow2 foo
}

t_options_looking() {
	images
	both info -f qcow2 --backing-chain third.qcow2
	both info --image-opts driver=qcow2,file.filename=third.qcow2
	both info -U --output json third.qcow2
	both info -f raw third.qcow2
	both map --start-offset 64k --max-length 64k --output json third.qcow2
	both map -s 64k -l 0 third.qcow2
	both map -U --image-opts driver=raw,file.filename=raw.img
	both compare -s top.qcow2 third.qcow2
	both compare -s base.qcow2 raw.img
	both compare -p base.qcow2 base.qcow2
	both compare --image-opts driver=qcow2,file.filename=base.qcow2 driver=raw,file.filename=raw.img
	both_fail 2 "Invalid cache option" compare -T foo base.qcow2 base.qcow2
	shared base.qcow2 top.qcow2
	both measure -U -O qcow2 -f qcow2 top.qcow2
	both measure -O qcow2 --image-opts driver=qcow2,file.filename=top.qcow2
	for o in off metadata falloc full; do both measure -O qcow2 -o preallocation=$o --size 1G; done
	both_fail 1 "Can't find snapshot|has no snapshots" measure -O qcow2 -l foo top.qcow2
	both_fail 1 "not a power of 2" measure -O qcow2 -o cluster_size=3 --size 1G
}

t_options_rebase() {
	images
	both rebase -u -b base.qcow2 -F qcow2 -p third.qcow2
	both rebase -b top.qcow2 -F qcow2 -p -t none -T none third.qcow2
	both rebase -U -b top.qcow2 -F qcow2 third.qcow2
	both rebase -u -b '' third.qcow2
	both rebase --image-opts -u -b top.qcow2 -F qcow2 driver=qcow2,file.filename=third.qcow2
	both info third.qcow2
	both rebase -q -p -b '' third.qcow2
	same_disk qcow2 third.qcow2
	both_fail 1 "Invalid cache option" rebase -b top.qcow2 -F qcow2 -T foo third.qcow2
	both_fail 1 "format must be specified" rebase -b top.qcow2 third.qcow2
}

t_options_dd_bench() {
	local o
	images
	for o in "-f qcow2 -O raw bs=64k count=1 skip=1" "-U bs=64k" "count=0"; do
		both dd $o if=top.qcow2 of=d.raw
		same_disk raw d.raw
	done
	both dd --image-opts bs=64k if=driver=qcow2,file.filename=top.qcow2 of=d.raw
	both_fail 1 "Invalid bs" dd bs=3G if=top.qcow2 of=x
	both_fail 1 "unrecognized operand iflag" dd if=top.qcow2 of=x iflag=direct
	both_fail 1 "invalid option -- 'n'" dd -n if=top.qcow2 of=x
	both bench -c 10 -d 1 -s 512 -S 1024 -o 512 -f raw raw.img
	both bench -c 10 -w --pattern=0x41 -f raw raw.img
	both bench -c 10 -w --flush-interval=1 -d 1 --no-drain -f raw raw.img
	both bench -c 10 --image-opts driver=raw,file.filename=raw.img
	both_fail 1 "Invalid request count" bench -c -1 -f raw raw.img
	both_fail 1 "Invalid offset" bench -o -1 -f raw raw.img
}
