# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# tests/bench/run's image benchmarks: qcow2, convert, growth. Speeds side by side with qemu-img, as ratios of
# medians of alternating rounds. Disk room is looked for first, and given back.

IMG=${POSADA_IMG:-build/posada-img}
BLKIO=build/tests/bench/blkio
img_peer=
if command -v qemu-img >/dev/null; then
	img_peer=$(qemu-img --version | sed -n '1s/qemu-img version \([0-9.]*\).*/qemu-img \1/p')
fi

# images_room MIB DIR...: a directory $work for images; false when there is no room
images_room() {
	local need=$1 free
	[ -x "$IMG" ] && [ -x $BLKIO ] || { echo "tests/bench/run: run 'make bench'"; exit 66; }
	work=$(mktemp -d -p "${2:-$tmp}" posada-bench.XXXXXX) || return
	trap 'rm -rf "$tmp" "$work"' EXIT
	free=$(df -Pm "$work" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$need" ] && return
	echo "skipped: $need MiB of disk room are wanted in $work, there are $free"
	rm -rf "$work"
	return 1
}
images_head() { # TITLE OURS PEERS
	printf '\n%-48s %14s %14s %8s  %-9s %s\n' "$1" "$2" "$3" ratio asked met
}
# speed WHAT OURS PEERS UNIT ASKED: both are speeds, the more the better; ASKED: times the peer's, or empty
speed() {
	awk -v what="$1" -v a="$2" -v b="$3" -v u="$4" -v asked="$5" 'BEGIN {
		if (a == "") a = 0
		r = b > 0 ? sprintf("%.2f", a / b) : "-"
		met = asked == "" ? "-" : b == "" ? "?" : a / b >= asked ? "yes" : "NO"
		printf "%-48s %14s %14s %8s  %-9s %s\n", what, sprintf("%.4g %s", a, u),
			b == "" ? "-" : sprintf("%.4g %s", b, u), r, asked == "" ? "-" : ">= " asked " x", met
	}'
}

# --- qcow2 ---

# requests FILE TOOL COUNT BENCH-OPTION...: adds requests a second
requests() {
	local f=$1 tool=$2 n=$3
	shift 3
	"$tool" bench -c "$n" "$@" 2>"$tmp/err" | awk -v n="$n" '/^Run completed in/ { print n / $4 }' >"$tmp/line"
	if [ -s "$tmp/line" ]; then
		cat "$tmp/line" >>"$f"
	else
		echo "tests/bench/run: failed: $tool bench $*" >&2
		cat "$tmp/err" >&2
	fi
}
fresh() { "$IMG" create -q -f qcow2 "$work/new.qcow2" 16G; }

# qcow2_row WHAT ASKED BEFORE COUNT BENCH-OPTION...: turn by turn, BEFORE each run
qcow2_row() {
	local what=$1 asked=$2 before=$3 n=$4 i
	shift 4
	rm -f "$tmp/ip" "$tmp/iq"
	for ((i = 0; i < ${QCOW2_ROUNDS:-3}; i++)); do
		$before
		requests "$tmp/ip" "$IMG" "$n" "$@"
		[ -n "$img_peer" ] || continue
		$before
		requests "$tmp/iq" qemu-img "$n" "$@"
	done
	speed "$what" "$(median "$tmp/ip" 1)" "$(median "$tmp/iq" 1)" /s "$asked"
}
# The reads again, against a raw file of the same contents.
raw_row() {
	local n=$1 i
	shift
	rm -f "$tmp/ip" "$tmp/ir"
	for ((i = 0; i < ${QCOW2_ROUNDS:-3}; i++)); do
		requests "$tmp/ip" "$IMG" "$n" "$@" -f qcow2 "$work/disk.qcow2"
		requests "$tmp/ir" "$IMG" "$n" "$@" -f raw "$work/disk.raw"
	done
	speed "  the same, against our own raw" "$(median "$tmp/ip" 1)" "$(median "$tmp/ir" 1)" /s 0.9
}

bench_qcow2() {
	local mib=${QCOW2_MIB:-512} n=${QCOW2_COUNT:-60000} aio few
	few=$((n / 4))
	images_room $((4 * mib + 512)) "${QCOW2_DIR:-}" || return
	head -c $((mib << 20)) /dev/urandom >"$work/disk.raw"
	"$IMG" convert -O qcow2 "$work/disk.raw" "$work/disk.qcow2"
	base64 -w 0 "$work/disk.raw" | head -c $((mib << 20)) >"$work/text"
	"$IMG" convert -c -O qcow2 -o compression_type=zstd "$work/text" "$work/packed.qcow2"
	rm -f "$work/text"
	"$IMG" create -q -f qcow2 "$work/empty.qcow2" 16G
	sync -f "$work"
	for aio in io_uring native; do
		images_head "qcow2, 64 at once, cache=none, aio=$aio" posada "${img_peer:-no peer}"
		set -- -d 64 -s 4096 -t none -i $aio
		qcow2_row "4 KiB reads" 1.3 : "$n" "$@" -f qcow2 "$work/disk.qcow2"
		raw_row "$n" "$@"
		qcow2_row "4 KiB overwrites" 1.3 : "$n" -w "$@" -f qcow2 "$work/disk.qcow2"
		qcow2_row "4 KiB writes that allocate" 1.3 fresh "$few" -w -S 65536 "$@" -f qcow2 "$work/new.qcow2"
		qcow2_row "4 KiB reads of nothing" 1 : "$n" "$@" -f qcow2 "$work/empty.qcow2"
		qcow2_row "4 KiB reads of compressed clusters" 1 : "$few" -S 69632 "$@" -f qcow2 "$work/packed.qcow2"
		set -- -d 8 -s 1M -t none -i $aio
		qcow2_row "1 MiB reads in sequence, 8 at once" 0.9 : "$((mib - 1))" "$@" -f qcow2 "$work/disk.qcow2"
		qcow2_row "1 MiB writes in sequence, 8 at once" 0.9 : "$((mib - 1))" -w "$@" -f qcow2 "$work/disk.qcow2"
	done
	rm -rf "$work"
}

# --- convert ---

# Half of the disk in pieces of all sizes with holes between: files of this host, and a fifth that does not compress.
make_source() { # FILE MIB
	local sizes=(64 4096 256 16384 1024 4 2048) i=0 at=0 kib
	while ((at < $2 << 10)); do
		kib=${sizes[i % 7]}
		if ((i % 5 == 2)); then
			head -c $((kib << 10)) /dev/urandom
		else
			head -c $((kib << 10)) <&3
		fi | dd of="$1" bs=64K iflag=fullblock oflag=seek_bytes seek=$((at << 10)) conv=notrunc status=none
		at=$((at + 2 * kib))
		i=$((i + 1))
	done 3< <(while tar -C /usr -cf - lib share bin 2>/dev/null; do :; done)
	truncate -s "$2M" "$1"
}

# A virtual host whose own host takes free memory back (virtio-balloon's page reporting, 2 s after something is
# freed) finds new memory ten times as slowly as used memory: whoever runs first would pay. So just before each run
# as much page cache as it will want is filled and freed.
warm() {
	local d
	for d in /sys/bus/virtio/drivers/virtio_balloon/virtio*; do
		[ -e "$d" ] || return 0
	done
	sleep 3
	head -c $((${CONVERT_MIB:-4096} * 9 / 16 << 20)) /dev/zero | dd of="$work/junk" bs=1M iflag=fullblock status=none
	rm -f "$work/junk"
}

# Adds the seconds that a command takes to FILE; what it makes is $work/out.
seconds() { # FILE COMMAND...
	local f=$1 began
	shift
	rm -f "$work/out"
	sync -f "$work"
	$before
	began=$EPOCHREALTIME
	if "$@" "$work/out" >/dev/null 2>"$tmp/err"; then
		awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }' >>"$f"
	else
		echo "tests/bench/run: failed: $*" >&2
		cat "$tmp/err" >&2
	fi
}
# The peer's defaults, then what is quickest for it; and the other way round in every second round.
convert_round() { # ROUND CONVERT-OPTION...
	local i=$1 who order="p q b"
	shift
	((i % 2)) && order="b q p"
	for who in $order; do
		case $who in
		p) seconds "$tmp/cp" "$IMG" convert "$@" && [ -f "$work/out" ] && stat -c %s "$work/out" >"$tmp/size" ;;
		q) [ -z "$img_peer" ] || seconds "$tmp/cq" qemu-img convert "$@" && [ -f "$work/out" ] &&
			stat -c %s "$work/out" >"$tmp/qsize" ;;
		b) [ -z "$img_peer" ] || seconds "$tmp/cb" qemu-img convert -m 16 -W "$@" ;;
		esac
	done
}
per_second() { # MIB FILE: MiB/s
	[ -s "$2" ] && awk -v mib="$1" -v s="$(median "$2" 1)" 'BEGIN { print mib / s }'
}
convert_row() { # WHAT ROUNDS BEFORE CONVERT-OPTION...
	local what=$1 n=$2 before=$3 i mib=${CONVERT_MIB:-4096}
	shift 3
	rm -f "$tmp/cp" "$tmp/cq" "$tmp/cb" "$tmp/qsize"
	for ((i = 0; i < n; i++)); do
		convert_round $i "$@"
	done
	speed "$what" "$(per_second "$mib" "$tmp/cp")" "$(per_second "$mib" "$tmp/cq")" MiB/s 1.3
	speed "  against -m 16 -W" "$(per_second "$mib" "$tmp/cp")" "$(per_second "$mib" "$tmp/cb")" MiB/s ''
	[[ $what = *compressed* && -s $tmp/qsize ]] || return
	awk -v a="$(cat "$tmp/size")" -v b="$(cat "$tmp/qsize")" 'BEGIN {
		printf "%-48s %14s %14s %8.3f  %-9s %s\n", "  size", sprintf("%d MiB", a / 1048576),
			sprintf("%d MiB", b / 1048576), a / b, "<= 1.02 x", a / b <= 1.02 ? "yes" : "NO" }'
}

bench_convert() {
	local mib=${CONVERT_MIB:-4096} rounds=${CONVERT_ROUNDS:-3}
	images_room $((mib * 7 / 4)) "${CONVERT_DIR:-}" || return
	make_source "$work/src.raw" "$mib"
	"$IMG" convert -f raw -O qcow2 "$work/src.raw" "$work/src.qcow2"
	sync -f "$work"
	cat "$work"/src.* >/dev/null
	images_head "convert, $mib MiB half full (speeds of the disk)" posada "${img_peer:-no peer}"
	convert_row "qcow2 to raw" "$rounds" warm -f qcow2 -O raw "$work/src.qcow2"
	convert_row "raw to qcow2" "$rounds" warm -f raw -O qcow2 "$work/src.raw"
	convert_row "raw to compressed qcow2, zstd" $(((rounds + 1) / 2)) : -c -f raw -O qcow2 -o compression_type=zstd "$work/src.raw"
	convert_row "raw to compressed qcow2, zlib" $(((rounds + 4) / 5)) : -c -f raw -O qcow2 "$work/src.raw"
	rm -rf "$work"
}

# --- growth ---

# rate FILE BLKIO-OPTION... IMAGE: adds random reads a second
rate() {
	local f=$1
	shift
	$BLKIO -R -d 64 "$@" 2>"$tmp/err" | awk '/requests a second/ { print $1 }' >"$tmp/line"
	if [ -s "$tmp/line" ]; then
		cat "$tmp/line" >>"$f"
	else
		echo "tests/bench/run: failed: blkio $*" >&2
		cat "$tmp/err" >&2
	fi
}
growth_images() {
	rm -f "$work"/*
	"$IMG" create -q -f qcow2 -o preallocation=metadata "$work/small.qcow2" 1G
	"$IMG" create -q -f qcow2 -o preallocation=metadata "$work/large.qcow2" 64G
	"$IMG" resize -q "$work/large.qcow2" 1T
	truncate -s 1G "$work/small.raw"
	truncate -s 1T "$work/large.raw"
}
growth_row() { # WHAT ASKED FORMAT BEFORE BLKIO-OPTION...
	local what=$1 asked=$2 format=$3 before=$4 i
	shift 4
	rm -f "$tmp/gs" "$tmp/gl"
	for ((i = 0; i < ${GROWTH_ROUNDS:-5}; i++)); do
		$before
		rate "$tmp/gl" "$@" -f "$format" -l $((64 << 30)) "$work/large.$format"
		rate "$tmp/gs" "$@" -f "$format" "$work/small.$format"
	done
	speed "$what" "$(median "$tmp/gl" 1)" "$(median "$tmp/gs" 1)" /s "$asked"
}

bench_growth() {
	local n=${GROWTH_COUNT:-200000} format asked
	images_room 1024 "${GROWTH_DIR:-}" || return
	images_head "random 4 KiB reads of 64 GiB, 64 at once" "of 1 TiB" "1 GiB"
	growth_images
	for format in qcow2 raw; do
		asked=
		[ $format = raw ] || asked=0.8
		growth_row "$format, cache=none" "$asked" $format : -t none -i io_uring -c "$n" -W "$n"
		growth_row "$format, cache=none, from opening on" "$asked" $format : -t none -i io_uring -c $((n / 5))
		growth_row "$format, page cache, empty at first" "$asked" $format growth_images -t writeback -i io_uring -c $((n / 4))
	done
	rm -rf "$work"
}
