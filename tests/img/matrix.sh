# SPDX-License-Identifier: GPL-2.0-or-later
# Every kind of qcow2 image: cluster size x refcount bits x subclusters x compression x version. One
# random sequence of writes, zeroes, discards, compressed writes and snapshots, fixed by a seed, makes
# an image with our tools (diskops, posada-img) and one with theirs (qemu-io, qemu-img). Each
# tool finds nothing wrong with either image and the same contents in both, also after
# it has gone back to a snapshot that the other has made.
#
# A test is a cluster size; $MATRIX (a shell pattern) picks combinations by name, and
# $MATRIX_SEED makes other sequences.

DISKOPS=$(realpath -m "${DISKOPS:-build/tests/img/diskops}")

# --- the operations of one phase --------------------------------------------------

# A number below $1, in $rnd: no process of its own.
rnd() {
	rnd=$(((RANDOM << 15 | RANDOM) % $1))
}

# $off and $len of a write: small ones, and some of several clusters. Sectors.
somewhere() { # SIZE CLUSTER
	local most=16
	rnd 3
	[ $rnd != 0 ] || most=$(($2 * 3 / 512 > 2048 ? 2048 : $2 * 3 / 512))
	rnd $(($1 / 512))
	off=$((rnd * 512))
	rnd $most
	len=$(((rnd + 1) * 512))
	[ $len -le $(($1 - off)) ] || len=$(($1 - off))
}

# The same in whole clusters, not the last one, which may be cut short.
clusters() { # SIZE CLUSTER MOST
	local all=$(($1 / $2)) n
	rnd "$3"
	n=$((rnd + 1))
	[ $n -lt $all ] || n=1
	rnd $((all - n + 1))
	off=$((rnd * $2)) len=$((n * $2))
}

# Some bytes to write, in $data: alike, or not to be compressed.
some_data() {
	data="-s random.bin"
	rnd 4
	[ $rnd = 0 ] || { rnd 255; data="-P $((rnd + 1))"; }
}

# qemu-io (7.2) writes compressed clusters only where there are none, and packs new ones into a cluster
# that it has given to others meanwhile. So they come last in a phase, which is a process of
# its own, and nothing is freed between them.
packed_data() { # SIZE CLUSTER
	local end
	clusters "$1" "$2" 6
	echo "discard $off $len"
	for ((end = off + len; off < end; off += len)); do
		rnd 3
		len=$(((rnd + 1) * $2))
		[ $len -le $((end - off)) ] || len=$((end - off))
		some_data
		echo "write -c $data $off $len"
	done
}

plan() { # SIZE CLUSTER OPERATIONS COMPRESSED DISCARD
	local i kind data
	for ((i = 0; i < $3; i++)); do
		rnd 9
		kind=$rnd
		some_data
		case $kind in
		[0-3]) somewhere "$1" "$2"; echo "write $data $off $len" ;;
		4) somewhere "$1" "$2"; echo "write -z $off $len" ;;
		5) somewhere "$1" "$2"; echo "write -z -u $off $len" ;;
		6) clusters "$1" "$2" 8; [ -z "$5" ] || echo "discard $off $len" ;;
		7) somewhere "$1" "$2"; [ -z "$5" ] || echo "discard $off $len" ;;
		8) [ $i -lt 4 ] || echo flush ;;
		esac
	done
	[ -z "$4" ] || packed_data "$1" "$2"
}

# --- both tools ---------------------------------------------------------------------

run_ours() {
	(cd p && exec timeout -k 5 60 "$@") </dev/null >ours.log 2>&1 || fail "ours: $*: exit status $?: $(cat ours.log)"
}

run_theirs() {
	(cd q && exec timeout -k 5 60 "$@") </dev/null >theirs.log 2>&1 || fail "theirs: $*: exit status $?: $(cat theirs.log)"
}

# One phase: the same script to both.
operate() { # COMPRESSED
	plan "$size" "$cluster" 12 "$1" "$discard" >script
	cat script >>scripts
	(cd p && exec timeout -k 5 60 "$DISKOPS" disk.qcow2 <../script) >ours.log 2>&1 || fail "ours: $(cat ours.log)"
	(cd q && exec timeout -k 5 60 qemu-io -d unmap disk.qcow2 <../script) >theirs.log 2>&1 || fail "theirs: $(grep -v -e ' ops; ' -e ' at offset ' theirs.log)"
}

snapshot() { # -c|-a|-d NAME
	echo "# snapshot $1 $2" >>scripts
	run_ours "$POSADA_IMG" snapshot "$1" "$2" disk.qcow2
	run_theirs qemu-img snapshot "$1" "$2" disk.qcow2
}

# Both check both, and compare them.
examine() {
	local room
	for room in p q; do
		(cd $room && qemu-img check disk.qcow2) >out 2>&1 || fail "$1: qemu-img check in $room: $(cat out)"
		(cd $room && timeout 60 "$POSADA_IMG" check disk.qcow2) >out 2>&1 || fail "$1: posada-img check in $room: $(cat out)"
	done
	qemu-img compare p/disk.qcow2 q/disk.qcow2 >out 2>&1 || fail "$1: qemu-img compare: $(cat out)"
	timeout 60 "$POSADA_IMG" compare p/disk.qcow2 q/disk.qcow2 >out 2>&1 || fail "$1: posada-img compare: $(cat out)"
}

# --- one combination --------------------------------------------------------------------

# One bit counts one reference: no snapshot of anything. Two bits: one snapshot at a time. Compressed
# clusters share host clusters, up to the most that refcounts hold: where that is little they come
# after the snapshots.
phases() { # BITS
	case $1 in
	1)
		operate 1
		refused_snapshot
		operate 1
		;;
	2)
		operate ""
		snapshot -c first
		operate ""
		snapshot -a first
		operate ""
		snapshot -d first
		snapshot -c second
		operate 1
		;;
	*)
		[ "$1" = 4 ] || early=1
		operate "$early"
		snapshot -c first
		operate "$early"
		snapshot -c second
		operate 1
		snapshot -a first
		operate 1
		snapshot -d first
		operate 1
		;;
	esac
}

refused_snapshot() {
	! (cd p && "$POSADA_IMG" snapshot -c first disk.qcow2) >ours.log 2>&1 || fail "ours took a snapshot with refcount_bits=1"
	! (cd q && qemu-img snapshot -c first disk.qcow2) >theirs.log 2>&1 || fail "theirs took a snapshot with refcount_bits=1"
	grep -q "disk.qcow2" ours.log || fail "no file name in: $(cat ours.log)"
	# Theirs forgets a cluster then.
	(cd q && qemu-img check -q -r leaks disk.qcow2) >theirs.log 2>&1 || fail "qemu-img check -r leaks: $(cat theirs.log)"
}

combination() { # CLUSTER BITS SUBCLUSTERS COMPRESSION COMPAT SEED
	local cluster=$1 size discard=1 early= options backing=()
	mkdir p q
	cp "$T/random.bin" p
	cp "$T/random.bin" q
	RANDOM=$6
	size=$(($1 <= 1024 ? 512 << 10 : $1 <= 8192 ? 1 << 20 : $1 <= 65536 ? 4 << 20 : $1 * 12))
	[ "$1" = 512 ] || size=$((size - 512))
	options=cluster_size=$1,refcount_bits=$2,extended_l2=$3,compression_type=$4,compat=$5
	if [ $(($6 % 3)) = 0 ]; then
		cp "$T/random.bin" p/base.img
		cp "$T/random.bin" q/base.img
		backing=(-b base.img -F raw)
		# Of version 2 a discarded cluster shows the backing file, or not: as a tool likes.
		[ "$5" != 0.10 ] || discard=
	fi
	run_ours "$POSADA_IMG" create -q -f qcow2 -o "$options" "${backing[@]}" disk.qcow2 $size
	run_theirs qemu-img create -q -f qcow2 -o "$options" "${backing[@]}" disk.qcow2 $size
	phases "$2"
	examine "after all operations"
	[ "$2" != 1 ] || return 0
	# Each goes back to the other's snapshot.
	qemu-img snapshot -a second p/disk.qcow2 >out 2>&1 || fail "qemu-img applies ours: $(cat out)"
	"$POSADA_IMG" snapshot -a second q/disk.qcow2 >out 2>&1 || fail "posada-img applies theirs: $(cat out)"
	examine "after each went back to the other's snapshot"
}

# --- all of one cluster size, two at a time -------------------------------------------------

# Names: CLUSTER-BITS-SUBCLUSTERS-COMPRESSION-COMPAT.
combinations() { # CLUSTER
	local bits ext comp
	echo "$1-16-off-zlib-0.10"
	for ext in off on; do
		[ $ext = off ] || [ "$1" -ge 16384 ] || continue
		for bits in 1 2 4 8 16 32 64; do
			for comp in zlib zstd; do
				echo "$1-$bits-$ext-$comp-1.1"
			done
		done
	done
}

one() { # NAME SEED: in a process of its own
	mkdir "$T/$1"
	cd "$T/$1"
	combination ${1//-/ } "$2"
	cd "$T"
	rm -r "${T:?}/$1"
}

told() { # NAME STATUS
	[ "$2" != 0 ] || return 0
	bad=$((bad + 1))
	[ $bad -gt 3 ] || echo "$1: $(head -30 "$T/$1.log")"
}

matrix() { # CLUSTER
	local name seed=${MATRIX_SEED:-0} n=0 bad=0 before=
	[ -x "$DISKOPS" ] || fail "no $DISKOPS: make img-bin"
	for ((i = 0; i < 1024; i++)); do
		echo $i | sha512sum
	done | cut -c1-128 | tr a-f A-F | basenc --base16 -di >"$T/random.bin"
	for name in $(combinations "$1"); do
		seed=$((seed + 1))
		[[ $name == ${MATRIX:-*} ]] || continue
		n=$((n + 1))
		(set -eu; one "$name" $seed) >"$T/$name.log" 2>&1 &
		[ -z "$before" ] || { wait "${before#*:}" && told "${before%:*}" 0 || told "${before%:*}" $?; }
		before=$name:$!
	done
	[ -z "$before" ] || { wait "${before#*:}" && told "${before%:*}" 0 || told "${before%:*}" $?; }
	echo "$n combinations" >"$T/note"
	[ $n -gt 0 ] || fail "no combination"
	[ $bad = 0 ] || fail "$bad of $n combinations failed"
}

for c in 512 1024 2048 4096 8192 16384 32768 65536 131072 262144 524288 1048576 2097152; do
	eval "t_matrix_$c() { matrix $c; }"
done
