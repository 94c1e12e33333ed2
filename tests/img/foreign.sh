# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Images for other programs: made here, looked at by qemu-img, and taken back.

source_image() {
	given raw.img qemu-img create -q -f raw raw.img 7M
	io raw.img 'write -P 1 0 1M' 'write -P 2 3M 100k' 'write -P 3 6500k 512' 'write -P 4 5100k 4k'
}

# Made from a raw image by us and by qemu-img, with these options; and made empty, and written.
makes() { # FORMAT [OPTIONS]
	local f=$1 o=(${2:+-o "$2"})
	both convert -f raw -O "$f" "${o[@]}" raw.img "a.$f"
	[ "$status" = 0 ] || fail "convert: $(cat "$T/p.err")"
	same_disk "$f" "a.$f"
	qemu-img compare -q -f "$f" -F raw "$T/p/a.$f" "$T/p/raw.img" || fail "a.$f: not what it was made from"
	[ "$f" = vpc ] || sound "a.$f"
	ours_ok compare -q -f "$f" -F raw "a.$f" raw.img
	ours_ok convert -f "$f" -O qcow2 "a.$f" back.qcow2
	qemu-img compare -q -F raw "$T/p/back.qcow2" "$T/p/raw.img" || fail 'back.qcow2: not what it was made from'
	case ${2-} in *streamOptimized*) return ;; esac
	# Onto one that is there, in any order.
	ours_ok create -q -f "$f" "${o[@]}" "n.$f" 7M
	ours_ok convert -n -W -f raw -O "$f" raw.img "n.$f"
	qemu-img compare -q -f "$f" -F raw "$T/p/n.$f" "$T/p/raw.img" || fail "n.$f: not what it was made from"
	(cd "$T/p" && qemu-io -f "$f" -c 'write -P 9 2M 1M' "n.$f" >/dev/null && qemu-io -f raw -c 'write -P 9 2M 1M' raw.img >/dev/null)
	ours_ok compare -q -f "$f" -F raw "n.$f" raw.img
}

t_make_vpc() { source_image; makes vpc; }
t_make_vpc_fixed() { source_image; makes vpc subformat=fixed; }
t_make_vpc_exact() { source_image; makes vpc force_size=on; }
t_make_vmdk() { source_image; makes vmdk; }
t_make_vmdk_zeroed() { source_image; makes vmdk zeroed_grain=on; }
t_make_vmdk_flat() { source_image; makes vmdk subformat=monolithicFlat; }
t_make_vmdk_stream() { source_image; makes vmdk subformat=streamOptimized; }
t_make_vdi() { source_image; makes vdi; }
t_make_vdi_static() { source_image; makes vdi static=on; }

t_make_sizes() { # VHD's geometries
	for s in 512 1M 100M 500M 2G 33G 127G 200G; do
		ours_ok create -q -f vpc a.vpc $s
		theirs create -q -f vpc a.vpc $s
		[ "$(qemu-img info "$T/p/a.vpc" | grep virtual)" = "$(qemu-img info "$T/q/a.vpc" | grep virtual)" ] ||
			fail "$s: $(qemu-img info "$T/p/a.vpc" | grep virtual), qemu-img's: $(qemu-img info "$T/q/a.vpc" | grep virtual)"
		both info a.vpc
	done
}

t_make_refused() {
	ours create -f vmdk -o subformat=twoGbMaxExtentSparse a.vmdk 1M >/dev/null 2>"$T/p.err" && fail 'made it'
	says 'subformat=twoGbMaxExtentSparse'
	ours create -f vpc a.vpc 3T >/dev/null 2>"$T/p.err" && fail 'made it'
	says "'a.vpc': size 3298534883328"
	ours create -f vmdk -b x -F raw a.vmdk 1M >/dev/null 2>"$T/p.err" && fail 'made it'
	says 'Backing file not supported'
	[ ! -e "$T/p/a.vmdk" ] && [ ! -e "$T/p/a.vpc" ] || fail 'a file was left'
}

t_vdi_resize() {
	given a.vdi qemu-img create -q -f vdi a.vdi 3M
	(cd "$T/p" && qemu-io -f vdi -c 'write -P 1 0 3M' a.vdi >/dev/null)
	ours_ok resize a.vdi 3G
	sound a.vdi
	ours_ok resize a.vdi +1500G
	sound a.vdi
	(cd "$T/p" && qemu-io -f vdi -c 'read -P 1 0 3M' -c 'read -P 0 3M 1M' -c 'write -P 2 1400G 1M' a.vdi) >"$T/io"
	! grep -q 'failed' "$T/io" || fail "$(cat "$T/io")"
	ours_ok check a.vdi
	ours resize --shrink a.vdi 1M 2>"$T/p.err" && fail 'it shrank'
	says 'a.vdi: VDI images can grow, not shrink'
}

# What is compressed is inflated once for all that read it.
t_stream_is_cached() {
	source_image
	given a.vmdk qemu-img convert -f raw -O vmdk -o subformat=streamOptimized raw.img a.vmdk
	ours_ok bench -f vmdk -c 4096 -d 16 -s 4096 a.vmdk
	ours_ok convert -f vmdk -O raw -m 16 -W a.vmdk back.img
	cmp "$T/p/back.img" "$T/p/raw.img" || fail 'not the same'
}

t_mixed_chain() { # qcow2 on vmdk, on qcow2 on raw; names are from where each image is
	source_image
	mkdir -p "$T/p/one/two" "$T/q/one/two"
	for r in p q; do
		(
			cd "$T/$r" || exit
			mv raw.img one/base.img
			qemu-img create -q -f qcow2 -b ../base.img -F raw one/two/a.qcow2
			qemu-io -c 'write -P 7 2M 1M' one/two/a.qcow2
			qemu-img create -q -f qcow2 -b one/two/a.qcow2 -F qcow2 top.qcow2 9M
			qemu-io -c 'write -P 8 8M 64k' top.qcow2
		) >/dev/null
	done
	both convert -O raw top.qcow2 out.raw
	same_disk raw out.raw
	both info --backing-chain top.qcow2
	for f in vmdk vdi vpc vhdx; do
		for r in p q; do
			(cd "$T/$r" && qemu-img convert -O $f out.raw one/m.$f && qemu-img create -q -f qcow2 -b one/m.$f -F $f over.qcow2 &&
				qemu-io -c 'write -P 5 64k 64k' over.qcow2 >/dev/null)
		done
		both convert -O raw over.qcow2 over.raw
		same_disk raw over.raw
		# From elsewhere, by an absolute path.
		(cd / && "$POSADA_IMG" compare -q "$T/p/over.qcow2" "$T/q/over.qcow2") || fail "$f: not the same from another folder"
	done
}

t_json_names() {
	source_image
	local json='json:{"driver":"raw","offset":1048576,"file":{"driver":"file","filename":"raw.img"}}'
	both convert -O qcow2 "$json" a.qcow2
	same_disk qcow2 a.qcow2
	for r in p q; do (cd "$T/$r" && qemu-img create -q -f qcow2 -b "$json" -F raw j.qcow2 6M); done
	both convert -O raw j.qcow2 j.raw
	same_disk raw j.raw
	both compare -f qcow2 -F qcow2 j.qcow2 a.qcow2
	for r in p q; do (cd "$T/$r" && qemu-img create -q -f qcow2 -u -b 'json:{"driver":"qcow2","file":{"driver":"file","filename":"j.qcow2"},"backing":null}' -F qcow2 k.qcow2 6M); done
	both convert -O raw k.qcow2 k.raw
	same_disk raw k.raw
	ours convert -O raw 'json:{"driver":"raw"' x 2>"$T/p.err" && fail 'took half of a JSON text'
	says 'JSON: line 1'
	for r in p q; do (cd "$T/$r" && qemu-img create -q -f qcow2 -u -b 'json:{"driver":"rwa","file.filename":"raw.img"}' -F raw bad.qcow2 6M); done
	ours convert -O raw bad.qcow2 x 2>"$T/p.err" && fail 'an unknown driver'
	says "bad.qcow2: backing file: .*'rwa'"
}

# Keys come before what the header says.
t_backing_keys() {
	source_image
	truncate -s 7M "$T/p/other.img"
	qemu-io -f raw -c 'write -P 6 0 7M' "$T/p/other.img" >/dev/null
	(cd "$T/p" && qemu-img create -q -f qcow2 -b raw.img -F raw a.qcow2 && qemu-io -c 'write -P 8 2M 64k' a.qcow2 >/dev/null)
	ours_ok convert --image-opts -O raw driver=qcow2,file.filename=a.qcow2,backing.driver=raw,backing.file.filename=other.img out
	cmp -n 4096 "$T/p/out" "$T/p/other.img" || fail 'not the other backing file'
	ours_ok convert --image-opts -O raw driver=qcow2,file.filename=a.qcow2,backing.file.filename=other.img out
	cmp -n 4096 "$T/p/out" "$T/p/other.img" || fail 'not the other backing file'
	ours_ok convert --image-opts -O raw driver=qcow2,file.filename=a.qcow2,backing.driver=raw,backing.offset=3M out
	cmp -n 4096 "$T/p/out" <(tail -c +$((3 * 1048576 + 1)) "$T/p/raw.img") || fail 'not from the offset'
	ours_ok convert --image-opts -O raw driver=qcow2,file.filename=a.qcow2,backing=null out
	cmp -n 4096 "$T/p/out" /dev/zero || fail 'there is a backing file'
	for bad in backing=nobody:'backing=nobody: no node' backing.bogus=1:'bogus' backing.driver=qcow3:"qcow3" \
		backing=null,backing.driver=raw:'both backing= and backing'; do
		ours convert --image-opts -O raw "driver=qcow2,file.filename=a.qcow2,${bad%%:*}" out 2>"$T/p.err" && fail "$bad"
		says "${bad#*:}"
	done
}
