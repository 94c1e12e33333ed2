# SPDX-License-Identifier: GPL-2.0-or-later
# Raw images, and what all formats have in common.

t_create_raw() {
	both create a.img 10M
	both create -f raw -o size=5M b.img
	both create -f raw -o preallocation=falloc c.img 4M
	both create -f raw -o preallocation=full d.img 4M
	both create -q -f raw e.img 1.5k
	both create -f raw f.img 1000
	for f in a b c d e f; do
		same_disk raw $f.img
		both info $f.img
		[ "$(stat -c %s "$T/p/$f.img")" = "$(stat -c %s "$T/q/$f.img")" ] || fail "$f.img: other size"
	done
	[ "$(stat -c %b "$T/p/d.img")" -ge 8192 ] || fail "preallocation=full: holes"
	[ "$(stat -c %b "$T/p/c.img")" -ge 8192 ] || fail "preallocation=falloc: no room"
	# Over what is there: nothing of that is left.
	yes | head -c 1M >"$T/p/a.img"
	ours_ok create -q a.img 2M
	cmp -n 2097152 "$T/p/a.img" /dev/zero || fail "old contents show"
}

t_create_refused() {
	both_fail 1 "Unknown file format 'rae'" create -f rae x 1M
	says "did you mean 'raw'"
	both_fail 1 "unrecognized option '--qiet'" create --qiet x 1M
	says "did you mean 'quiet'"
	both_fail 1 "unknown key 'preallocatoin'" create -o preallocatoin=off x 1M
	says "did you mean 'preallocation'"
	both_fail 1 "'1Q' is not a size" create x 1Q
	both_fail 1 "is not a size" create x -- -5
	both_fail 1 "9E is more than" create x 9E
	both_fail 1 "needs a size" create x
	both_fail 1 "Expecting image file name" create
	both_fail 1 "Unexpected argument: 2M" create x 1M 2M
	both_fail 1 "Backing file not supported for file format 'raw'" create -b a -F raw x 1M
	both_fail 1 "Could not create '/nonexistent/x': No such file" create -q /nonexistent/x 1M
	[ ! -e "$T/p/x" ] || fail "x was made"
	both_fail 1 "Command not found: craete" craete x
	says "did you mean 'create'"
	both_fail 1 "Not enough arguments"
	both_fail 1 "option '-f' requires an argument" create -f
	ours create --object secret,id=s x 1M 2>"$T/p.err" && fail "--object was taken"
	says "neither file= nor data="
	# Room for it there is not.
	mkdir "$T/small" && mount -t tmpfs -o size=1M none "$T/small" 2>/dev/null || return 0
	ours create -q -o preallocation=full "$T/small/x" 2M 2>"$T/p.err" && fail "more than there is room for"
	umount "$T/small"
	says "No space left"
}

t_info() {
	given a.img qemu-img create -f raw a.img 64M
	io a.img 'write -P 7 1M 300k'
	both info a.img
	both info --output=json a.img
	both info -f raw a.img
	both info --output=json --backing-chain a.img
	both info --image-opts driver=raw,file.filename=a.img
	both info --image-opts --output=json driver=raw,file.driver=file,file.filename=a.img
	both info 'json:{"driver":"raw","file":{"driver":"file","filename":"a.img"}}'
	for size in 999 1024000 1047552 9999999999 8T; do
		given s.img qemu-img create -f raw s.img $size
		both info s.img
	done
	both_fail 1 "Could not open 'nonexistent'.*No such file" info nonexistent
	both_fail 1 "no format or driver 'foo'" info -f foo a.img
	both_fail 1 "must be used with human or json" info --output=xml a.img
	both_fail 1 "Expecting one image file name" info
	both_fail 1 "Expecting one image file name" info a.img a.img
	both_fail 1 "mutually exclusive" info -f raw --image-opts driver=raw,file.filename=a.img
	both_fail 1 "directory" info "$T"
}

t_map_raw() {
	given a.img qemu-img create -f raw a.img 8M
	io a.img 'write -P 7 1M 64k' 'write -P 7 5M 4k'
	shared a.img
	both map a.img
	both map --output=json a.img
	both map --output=json -s 1M -l 2M a.img
	both map --output=json --start-offset=100 --max-length=1000 a.img
	both map --output=json -s 100M a.img
	both map -s 100M a.img
	given f.img fallocate -l 1M f.img
	io f.img 'write 64k 64k'
	shared f.img
	both map --output=json f.img
	both map f.img
	head -c 3 /dev/urandom >"$T/q/odd.img"
	cp "$T/q/odd.img" "$T/p"
	both map --output=json odd.img
	both_fail 1 "is not a size" map -s x a.img
}

t_resize_raw() {
	given a.img qemu-img create -f raw a.img 8M
	both resize -f raw a.img +1M
	both resize -f raw a.img 16M
	both resize -f raw a.img +0
	both_fail 1 "Use the --shrink option" resize -f raw a.img -1M
	both resize -f raw --shrink a.img -1M
	both resize -q -f raw a.img +512
	both resize -f raw --preallocation=falloc a.img +1M
	both resize -f raw --preallocation=full a.img +1M
	both_fail 1 "Invalid preallocation mode 'fallok'" resize -f raw --preallocation=fallok a.img +1M
	says "did you mean 'falloc'"
	both_fail 1 "only be used for growing" resize -f raw --shrink --preallocation=full a.img 1M
	both_fail 1 "must be positive" resize -f raw a.img 0
	both_fail 1 "must be positive" resize -f raw --shrink a.img -100M
	both_fail 1 "is not a size" resize -f raw a.img foo
	both_fail 1 "Not enough arguments" resize a.img
	[ "$(stat -c %s "$T/p/a.img")" = "$(stat -c %s "$T/q/a.img")" ] || fail "other sizes"
	both resize a.img +1M
	says "looks like raw"
}

t_convert_raw() {
	local o
	given a.img qemu-img create -f raw a.img 9M
	io a.img 'write -P 1 0 1M' 'write -P 2 3M 3M' 'write -P 0 4M 1M' 'write -P 3 8M 1000k'
	given b.img qemu-img create -f raw b.img 3M
	io b.img 'write -P 4 1M 10k'
	for o in "" "-W" "-m 1" "-m 16 -W" "-S 0" "-S 64k" "-C" "-t none -T none" "-t writethrough" "-p" "--salvage" \
		"-r 100M" "-o preallocation=falloc"; do
		both convert $o -f raw -O raw a.img b.img a.img out.img
		same_disk raw out.img
		qemu-img convert -f raw -O raw "$T/q/a.img" "$T/q/b.img" "$T/q/a.img" "$T/ref.img"
		cmp "$T/p/out.img" "$T/ref.img" || fail "convert $o: wrong bytes"
	done
	# Zeroes are left out, unless told not to be.
	ours_ok convert -f raw -O raw a.img out.img
	[ "$(stat -c %b "$T/p/out.img")" -le 8500 ] || fail "not sparse"
	ours_ok convert -S 0 -f raw -O raw a.img out.img
	[ "$(stat -c %b "$T/p/out.img")" -ge 18432 ] || fail "-S 0: sparse"
	# Into what is there.
	yes | head -c 20M | tee "$T/p/there.img" >"$T/q/there.img"
	both convert -n -f raw -O raw a.img there.img
	cmp "$T/p/there.img" "$T/q/there.img" || fail "convert -n: wrong bytes"
	both convert -n --target-image-opts -f raw a.img driver=raw,file.filename=there.img
	truncate -s 9M "$T/p/zero.img" "$T/q/zero.img"
	both convert -n --target-is-zero -f raw -O raw a.img zero.img
	cmp "$T/p/zero.img" "$T/p/a.img"
}

t_convert_refused() {
	given a.img qemu-img create -f raw a.img 2M
	given small.img qemu-img create -f raw small.img 1M
	both_fail 1 "Compression not supported" convert -c -O raw a.img x
	both_fail 1 "smaller than input" convert -n -O raw a.img small.img
	both_fail 1 "No such file" convert -n -O raw a.img nonexistent
	both_fail 1 "No such file" convert -O raw nonexistent x
	both_fail 1 "Unknown file format 'foo'" convert -O foo a.img x
	both_fail 1 "Must specify image file name" convert -O raw a.img
	both_fail 1 "between 1 and 16" convert -m 17 -O raw a.img x
	both_fail 1 "between 1 and 16" convert -m 0 -O raw a.img x
	both_fail 1 "multiples of 512" convert -S 3 -O raw a.img x
	both_fail 1 "Failed to load snapshot" convert -l s1 -O raw a.img x
	both_fail 1 "Invalid cache option: non" convert -t non -O raw a.img x
	says "did you mean 'none'"
	both_fail 1 "copy offloading when -S" convert -C -S 4k -O raw a.img x
	both_fail 1 "unknown key 'bogus'" convert -o bogus=1 -O raw a.img x
	both_fail 1 "requires use of -n" convert --target-is-zero -O raw a.img x
	both_fail 1 "requires use of -n" convert --target-image-opts a.img driver=raw,file.filename=x
	[ ! -e "$T/p/x" ] || fail "x was made"
	# Nothing is lost when an image is to be converted into itself.
	cp "$T/p/a.img" "$T/before"
	both_fail 1 "both input and output" convert -O raw a.img a.img
	cmp "$T/p/a.img" "$T/before"
}

t_compare() {
	given a.img qemu-img create -f raw a.img 2M
	given b.img qemu-img create -f raw b.img 3M
	both compare a.img a.img
	both compare a.img b.img
	both compare -s a.img b.img
	[ "$status" = 1 ] || fail "exit status $status"
	io b.img 'write -P 3 2560k 1k'
	both compare a.img b.img
	[ "$status" = 1 ] || fail "exit status $status"
	io a.img 'write -P 3 1234567 10'
	both compare a.img b.img
	grep -qx 'Content mismatch at offset 1234432!' "$T/p.out" || fail "$(cat "$T/p.out")"
	both compare -q a.img b.img
	[ "$status" = 1 ] || fail "exit status $status"
	both compare -f raw -F raw -T none b.img b.img
	both compare -s a.img a.img
	both_fail 2 "No such file" compare a.img nonexistent
	both_fail 2 "No such file" compare nonexistent a.img
	both_fail 1 "Expecting two" compare a.img
}

t_measure_raw() {
	given a.img qemu-img create -f raw a.img 5M
	both measure --size 1G
	both measure --size 1000 --output=json
	both measure -O raw a.img
	both_fail 1 "Either --size N or one filename" measure
	both_fail 1 "cannot be used together" measure --size 1G a.img
	both_fail 1 "No such file" measure nonexistent
	both_fail 1 "Unknown file format" measure -O foo --size 1
}

t_dd() {
	given a.img qemu-img create -f raw a.img 3M
	io a.img 'write -P 1 0 1M' 'write -P 2 2M 100k'
	for o in "bs=1M count=2" "bs=1M count=2 skip=1" "bs=100 count=3" "bs=1M count=30" "bs=1M skip=3" "bs=4k skip=300" ""; do
		both dd -f raw -O raw $o if=a.img of=out.img
		cmp "$T/p/out.img" "$T/q/out.img" || fail "dd $o: other bytes"
	done
	both dd -f raw bs=1M skip=100 if=a.img of=out.img
	says "cannot skip to specified offset"
	both_fail 1 "Invalid bs" dd bs=0 if=a.img of=x
	both_fail 1 "Invalid count" dd count=x if=a.img of=x
	both_fail 1 "both input and output files" dd if=a.img
	both_fail 1 "unrecognized operand foo" dd if=a.img of=x foo=bar
	both_fail 1 "No such file" dd if=nonexistent of=x
}

t_bench() {
	given a.img qemu-img create -f raw a.img 2M
	both bench -c 100 -f raw a.img
	both bench -c 100 -w -q -f raw a.img
	both bench -c 1000 -f raw -w --flush-interval=10 -d 4 -s 4k -S 8k --pattern=65 -o 64k a.img
	# 8 KiB steps, half of which are written; from 64 KiB on, and again from the start.
	[ "$(tr -cd A <"$T/p/a.img" | wc -c)" -ge 950000 ] || fail "nothing was written"
	both bench -c 100 -f raw -w --flush-interval=64 --no-drain a.img
	both bench -c 100 -f raw -n -t none a.img
	both bench -c 100 -f raw -i io_uring -t none -w a.img
	both bench -c 100 -f raw -i threads -t directsync -w a.img
	both bench -c 0 -f raw a.img
	both_fail 1 "only available in write tests" bench --flush-interval=10 a.img
	both_fail 1 "smaller than depth" bench -w --flush-interval=10 a.img
	both_fail 1 "Invalid aio option: nativ" bench -i nativ a.img
	both_fail 1 "Invalid pattern byte" bench -w --pattern=300 a.img
	both_fail 1 "Invalid buffer size" bench -s 3G a.img
	both_fail 1 "Invalid queue depth" bench -d x a.img
	both_fail 1 "Failed request: Input/output error" bench -c 10 -o 100M -f raw a.img
	both_fail 1 "-U is for reading" bench -U -w -f raw a.img
}

t_no_such_thing_in_raw() {
	given a.img qemu-img create -f raw a.img 1M
	both_fail 63 "does not support checks" check a.img
	both_fail 63 "does not support checks" check -q --output=json a.img
	both_fail 1 "No such file" check nonexistent
	both_fail 1 "expecting 'leaks' or 'all'\): foo" check -r foo a.img
	both_fail 1 "Could not create snapshot 's'" snapshot -c s -f raw a.img
	both snapshot -l a.img
	both_fail 1 "Cannot mix" snapshot -l -c x a.img
	both_fail 1 "does not support option amendment" amend -f raw -o size=1M a.img
	both_fail 1 "Must specify options" amend -f raw a.img
	both_fail 1 "does not have a backing file" commit -f raw a.img
	both_fail 1 "no backing file" rebase -f raw -b x -F raw a.img
	both_fail 1 "Must specify backing file" rebase -f raw a.img
}

# Another program has the image: looking at it needs no option, and says who that is.
t_in_use() {
	given a.img qemu-img create -f raw a.img 1M
	coproc qemu-io -f raw "$T/p/a.img"
	local pid=$COPROC_PID
	read -r -N 8 -u "${COPROC[0]}" # its prompt: it has the image
	for c in info map "map --output=json" "info --output=json" "snapshot -l" measure "compare a.img" "bench -c 1" \
		"convert -O raw" "dd of=x if=a.img"; do
		case $c in
		convert*) set -- $c a.img x ;;
		dd*) set -- $c ;;
		*) set -- $c a.img ;;
		esac
		ours_ok "$@"
		says "a.img' .*process $pid \(qemu-io\)"
		[ "$(grep -c . "$T/p.err")" -le 2 ] || fail "$c: $(cat "$T/p.err")"
	done
	[ "$(ours check a.img 2>&1 >/dev/null | grep -c "process $pid")" = 1 ] || fail "check does not say who"
	for c in "resize -f raw" "create -f raw -q" "convert -n -f raw -O raw other.img" "bench -w -c 1 -f raw" \
		"snapshot -c s -f raw" "bitmap --add -f raw" "rebase -u -b x -F raw" "commit -f raw" "convert -O raw other.img"; do
		truncate -s 1M "$T/p/other.img"
		case $c in
		resize*) set -- $c a.img +1M ;;
		create*) set -- $c a.img 1M ;;
		bitmap*) set -- $c a.img b ;;
		*) set -- $c a.img ;;
		esac
		ours "$@" >"$T/p.out" 2>"$T/p.err" && fail "$*: took an image in use"
		says "a.img' .*process $pid \(qemu-io\)"
	done
	ours_ok compare -U a.img a.img
	ours_ok info -U a.img
	[ ! -s "$T/p.err" ] || fail "-U: $(cat "$T/p.err")"
	echo quit >&"${COPROC[1]}"
	wait "$pid"
	ours_ok resize -f raw a.img +1M
}

t_help() {
	ours_ok --help
	for c in amend bench bitmap check commit compare convert create dd info map measure rebase resize snapshot; do
		grep -q "^  $c " "$T/p.out" || fail "--help lacks $c"
		ours $c --help | grep -q "^  $c " || fail "$c --help"
		grep -q "^\.It Cm $c " docs/posada-img.1 || fail "docs/posada-img.1 lacks $c"
	done
	ours_ok --version
	both create -f raw -o help x
	both convert -O raw -o help a b
}
