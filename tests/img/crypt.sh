# SPDX-License-Identifier: GPL-2.0-or-later
# Encrypted images: made by one tool, used by the other, and key slots.

S="--object secret,id=sec0,data=123456"
N="--object secret,id=sec1,data=other"
I=driver=qcow2,encrypt.key-secret=sec0,file.filename
LUKS=encrypt.format=luks,encrypt.key-secret=sec0,encrypt.iter-time=10

# qemu-img gives up when it finds the clock of a busy machine too coarse: again, then.
theirs_made() {
	local i
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		theirs "$@" >"$T/q.out" 2>"$T/q.err" && return
		grep -q 'accurate CPU usage' "$T/q.err" || break
	done
	fail "qemu-img $*: $(cat "$T/q.err")"
}

# An image of theirs with data in it, in both rooms.
given_encrypted() { # FILE OPTIONS
	theirs_made create $S -q -f qcow2 -o "$LUKS$2" "$1" 4M
	qemu-io $S --image-opts "$I=$T/q/$1" -c 'write -P 1 0 100k' -c 'write -P 2 1M 1M' \
		-c 'write -z 1536k 64k' -c 'write -P 3 3000001 77' >/dev/null
	cp "$T/q/$1" "$T/p/$1"
}

# Salts, ids and how often something is hashed differ.
without_luck() { sed -E 's/(uuid|iters)"?:.*/\1/' "$1" >"$1.x" && mv "$1.x" "$1"; }

t_crypt_info() {
	given_encrypted a.qcow2 ""
	both info a.qcow2
	both info --output=json a.qcow2
	given aes.qcow2 qemu-img create -q $S -f qcow2 -o encrypt.format=aes,encrypt.key-secret=sec0 aes.qcow2 1M
	both info aes.qcow2
	both info --output=json aes.qcow2
	# Of an image of ours, but for what is random.
	ours_ok create $S -f qcow2 -o "$LUKS" mine.qcow2 4M
	ours_ok info mine.qcow2
	cp "$T/p.out" "$T/mine"
	theirs_made create $S -f qcow2 -o "$LUKS" mine.qcow2 4M
	theirs info mine.qcow2 >"$T/theirs"
	without_luck "$T/mine"
	without_luck "$T/theirs"
	compare_texts "$T/mine" "$T/theirs" info
	ours_ok info --image-opts "$I=mine.qcow2" $S
	ours_ok map --output=json a.qcow2
	ours_ok snapshot -l a.qcow2
}

t_crypt_create() {
	local o
	for o in "" ,cluster_size=512 ,cluster_size=2M ,extended_l2=on ,compat=0.10 ,preallocation=metadata \
		,encrypt.cipher-alg=aes-128 ,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256; do
		ours_ok create $S -q -f qcow2 -o "$LUKS$o" a.qcow2 4M
		qemu-img check -q $S --image-opts "$I=$T/p/a.qcow2" || fail "$o: not sound"
		qemu-io $S --image-opts "$I=$T/p/a.qcow2" -c 'read -P 0 0 4M' -c 'write -P 5 1234567 99999' >"$T/io"
		! grep -q 'verification failed' "$T/io" || fail "$o: does not read as zeroes"
		ours_ok convert $S --image-opts "$I=a.qcow2" -O raw a.raw
		qemu-img compare -q $S --image-opts "$I=$T/p/a.qcow2" "driver=raw,file.filename=$T/p/a.raw"
		[ "$(tail -c +1234568 "$T/p/a.raw" | head -c 99999 | tr -d '\005' | wc -c)" = 0 ] ||
			fail "$o: other bytes"
	done
	ours create $S -f qcow2 -o encryption=on x.qcow2 1M 2>"$T/p.err" && fail "made the old encryption"
	says "not made any more"
	ours create -f qcow2 -o "$LUKS" x.qcow2 1M 2>"$T/p.err" && fail "made it without the secret"
	says "encrypt.key-secret=sec0: no secret has this name"
	[ ! -e "$T/p/x.qcow2" ] || fail "x.qcow2 was made"
}

t_crypt_convert() {
	local o
	given_encrypted a.qcow2 ""
	theirs convert $S --image-opts "$I=a.qcow2" -O raw ref.raw
	ours_ok convert $S --image-opts "$I=a.qcow2" -O raw out.raw
	cmp "$T/p/out.raw" "$T/q/ref.raw" || fail "to raw: wrong bytes"
	for o in "" ,cluster_size=4k ,preallocation=full ,extended_l2=on; do
		ours_ok convert $S -O qcow2 -o "$LUKS$o" out.raw enc.qcow2
		qemu-img check -q $S --image-opts "$I=$T/p/enc.qcow2" || fail "$o: not sound"
		qemu-img compare -q $S --image-opts "$I=$T/p/enc.qcow2" "driver=raw,file.filename=$T/q/ref.raw" ||
			fail "$o: wrong contents"
	done
	grep -q -P '\x01{64}' "$T/p/enc.qcow2" && fail "data in the clear"
	ours_ok convert $S --image-opts "$I=enc.qcow2" -O qcow2 plain.qcow2
	qemu-img compare -q "$T/p/plain.qcow2" "$T/q/ref.raw" || fail "decrypted: wrong contents"
	# From one key to another, and into an image that is there.
	ours_ok convert $S $N --image-opts "$I=enc.qcow2" -O qcow2 -o "${LUKS/sec0/sec1}" other.qcow2
	ours_ok compare $S $N --image-opts "$I=enc.qcow2" "${I/sec0/sec1}=other.qcow2"
	ours_ok create $S -q -f qcow2 -o "$LUKS" empty.qcow2 1M
	ours_ok resize $S --image-opts "$I=empty.qcow2" 4M
	ours_ok convert -n $S -f raw --target-image-opts out.raw "$I=empty.qcow2"
	qemu-img compare -q $S --image-opts "$I=$T/p/empty.qcow2" "driver=raw,file.filename=$T/q/ref.raw" ||
		fail "-n: wrong contents"
	# The format luks: what is not written would not read as zeroes.
	ours_ok convert $S -O luks -o key-secret=sec0,iter-time=10 out.raw out.luks
	qemu-img compare -q $S --image-opts "driver=luks,key-secret=sec0,file.filename=$T/p/out.luks" \
		"driver=raw,file.filename=$T/q/ref.raw" || fail "luks: wrong contents"
	both_fail 1 "not supported at the same time" convert $S -c -O qcow2 -o "$LUKS" plain.qcow2 x.qcow2
	given aes.qcow2 qemu-img create -q $S -f qcow2 -o encrypt.format=aes,encrypt.key-secret=sec0 aes.qcow2 4M
	qemu-img convert $S -n --target-image-opts "$T/q/ref.raw" "$I=$T/q/aes.qcow2"
	cp "$T/q/aes.qcow2" "$T/p/aes.qcow2"
	ours_ok convert $S --image-opts "$I=aes.qcow2" -O raw aes.raw
	cmp "$T/p/aes.raw" "$T/q/ref.raw" || fail "from the old encryption: wrong bytes"
	ours resize $S --image-opts "$I=aes.qcow2" 8M 2>"$T/p.err" && fail "wrote to the old encryption"
	says "can only be read"
}

t_crypt_keys() {
	given_encrypted a.qcow2 ""
	both_fail 1 "encrypt.key-secret= is missing" convert -O raw a.qcow2 x.raw
	says "--object"
	both_fail 1 "fits none of its key slots" convert --object secret,id=sec0,data=wrong --image-opts $I=a.qcow2 -O raw x.raw
	both_fail 1 "no secret has this name" convert --image-opts $I=a.qcow2 -O raw x.raw
	both_fail 1 "another secret" convert $S $S a.qcow2 x.raw
	ours info --object iothread,id=t a.qcow2 2>"$T/p.err" && fail "took an iothread"
	says "no object 'iothread'"
	printf 123456 >"$T/p/pw"
	ours_ok convert --object secret,id=sec0,file=pw --image-opts "$I=a.qcow2" -O raw a.raw
	ours_ok convert --object '{"qom-type":"secret","id":"sec0","data":"MTIzNDU2","format":"base64"}' --image-opts "$I=a.qcow2" -O raw b.raw
	cmp "$T/p/a.raw" "$T/p/b.raw" || fail "other contents"
	# Behind another image.
	ours_ok create -q -f qcow2 -b a.qcow2 -F qcow2 top.qcow2
	ours convert -O raw top.qcow2 x.raw 2>"$T/p.err" && fail "read it without a key"
	says "backing.encrypt.key-secret"
	ours_ok convert $S --image-opts driver=qcow2,backing.encrypt.key-secret=sec0,file.filename=top.qcow2 -O raw b.raw
	cmp "$T/p/a.raw" "$T/p/b.raw" || fail "other contents behind another image"
	ours_ok map --output=json top.qcow2
}

t_crypt_amend() {
	given_encrypted a.qcow2 ""
	ours_ok amend $S $N --image-opts "$I=a.qcow2" \
		-o encrypt.state=active,encrypt.new-secret=sec1,encrypt.iter-time=10
	qemu-img compare -q $N --image-opts "${I/sec0/sec1}=$T/p/a.qcow2" "${I/sec0/sec1}=$T/p/a.qcow2" || fail "sec1"
	ours amend $S --image-opts "$I=a.qcow2" -o encrypt.state=inactive,encrypt.old-secret=sec1 2>"$T/p.err" &&
		fail "took a secret that is not there"
	ours_ok amend $S --image-opts "$I=a.qcow2" -o encrypt.state=inactive,encrypt.old-secret=sec0
	ours convert $S --image-opts "$I=a.qcow2" -O raw x.raw 2>"$T/p.err" && fail "the old passphrase is good still"
	ours_ok convert $N --image-opts "${I/sec0/sec1}=a.qcow2" -O raw a.raw
	qemu-img compare -q $S --image-opts "$I=$T/q/a.qcow2" "driver=raw,file.filename=$T/p/a.raw" || fail "other contents"
	# The last one only by force.
	ours amend $N --image-opts "${I/sec0/sec1}=a.qcow2" -o encrypt.state=inactive,encrypt.keyslot=1 2>"$T/p.err" &&
		fail "erased the last key"
	says "refusing"
	# The format luks has the same options.
	ours_ok create $S -q -f luks -o key-secret=sec0,iter-time=10 a.luks 1M
	ours_ok amend $S $N --image-opts driver=luks,key-secret=sec0,file.filename=a.luks -o state=active,new-secret=sec1,iter-time=10
	ours_ok amend $S $N --image-opts driver=luks,key-secret=sec1,file.filename=a.luks -o state=inactive,keyslot=0
	qemu-img convert $N --image-opts "driver=luks,key-secret=sec1,file.filename=$T/p/a.luks" -O raw "$T/q/a.raw" || fail "luks"
	both amend -f qcow2 -o compat=1.1 a.qcow2
	[ "$status" = 1 ] || fail "amended it without a key"
}

# The key of a backing file that is recorded by its name: by backing.X of the image above.
t_crypt_backing_by_name() {
	local top=driver=qcow2,file.filename=top.qcow2
	given_encrypted base.qcow2 ""
	in_p cp base.qcow2 new.qcow2
	qemu-io $S --image-opts "$I=$T/p/new.qcow2" -c 'write -P 9 2M 64k' >/dev/null
	ours_ok convert $S --image-opts "$I=base.qcow2" -O raw want.raw
	in_p qemu-img create -q -f qcow2 -u -b base.qcow2 -F qcow2 top.qcow2 4M
	in_p qemu-io $S --image-opts $top,backing.encrypt.key-secret=sec0 -c 'write -P 8 3M 64k'
	in_p qemu-io -f raw -c 'write -P 8 3M 64k' want.raw

	bad 'base.qcow2 is encrypted, and encrypt.key-secret= is missing' rebase $S -b new.qcow2 -F qcow2 top.qcow2
	says 'file.filename=NAME,backing.encrypt.key-secret=sec1'
	bad 'base.qcow2 is encrypted, and encrypt.key-secret= is missing' commit top.qcow2
	says 'file.filename=NAME,backing.encrypt.key-secret=sec1'
	bad 'new.qcow2 is encrypted' rebase $S -b new.qcow2 -F qcow2 --image-opts $top,backing.encrypt.key-secret=sec0
	says "give the new backing file as -b 'json:"
	bad "encrypt.key-secret=none: no secret has this name" commit $S --image-opts $top,backing.encrypt.key-secret=none
	bad "unknown key 'encrypt.nonsense'" commit $S --image-opts $top,backing.encrypt.nonsense=sec0
	bad "unknown key 'file.filename'" rebase $S -b '' --image-opts $top,backing.encrypt.key-secret=sec0,backing.file.filename=new.qcow2

	ours_ok rebase $S -b 'json:{"driver":"qcow2","encrypt.key-secret":"sec0","file.filename":"new.qcow2"}' -F qcow2 \
		--image-opts $top,backing.encrypt.key-secret=sec0
	in_p qemu-img compare -q $S --image-opts $top driver=raw,file.filename=want.raw
	ours_ok rebase -u -b new.qcow2 -F qcow2 top.qcow2
	in_p qemu-img compare -q $S --image-opts $top,backing.encrypt.key-secret=sec0 driver=raw,file.filename=want.raw

	# Over two layers, the lower one's key two steps down.
	in_p qemu-img create -q -f qcow2 -u -b top.qcow2 -F qcow2 high.qcow2 4M
	in_p qemu-io $S --image-opts driver=qcow2,file.filename=high.qcow2,backing.backing.encrypt.key-secret=sec0 -c 'write -P 7 0 64k'
	in_p qemu-io -f raw -c 'write -P 7 0 64k' want.raw
	bad 'new.qcow2 is encrypted' commit $S -b new.qcow2 high.qcow2
	ours_ok commit $S -b new.qcow2 --image-opts driver=qcow2,file.filename=high.qcow2,backing.backing.encrypt.key-secret=sec0
	in_p qemu-img compare -q $S --image-opts driver=qcow2,file.filename=new.qcow2,encrypt.key-secret=sec0 driver=raw,file.filename=want.raw
	qemu-img check -q $S --image-opts "$I=$T/p/new.qcow2" || fail 'not sound'

	in_p qemu-io $S --image-opts $top,backing.encrypt.key-secret=sec0 -c 'write -P 6 64k 64k'
	in_p qemu-io -f raw -c 'write -P 6 64k 64k' -c 'write -P 8 3M 64k' want.raw
	ours_ok commit $S --image-opts $top,backing.encrypt.key-secret=sec0
	in_p qemu-img compare -q $S --image-opts driver=qcow2,file.filename=new.qcow2,encrypt.key-secret=sec0 driver=raw,file.filename=want.raw
}
