# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VNC client that looks at a guest which draws, for tests/bench/run.

# Adds to FILE "PICTURES_A_SECOND MS_EACH CPU_US_EACH". The CPU time is that of all threads but the vCPU's.
vnc_run() { # FILE VCPU-THREADS ENCODING FILL COMMAND...
	local f=$1 vcpu=$2 encoding=$3 fill=$4 sock=$tmp/vnc.sock serial=$tmp/vnc.serial server i
	shift 4
	rm -f "$sock" "$serial"
	"$@" -m 64 -vga std -vnc "unix:$sock" -serial "file:$serial" -kernel $G/vncdraw.elf -append "fill=$fill" </dev/null >/dev/null 2>"$tmp/err" &
	server=$!
	for ((i = 0; i < 600; i++)); do
		! grep -qa drawing "$serial" 2>/dev/null || break
		sleep 0.1
	done
	build/tests/boot/vncclient -e "$encoding" -c $server -x "$vcpu" "unix:$sock" count "${VNC_SECONDS:-5}" 2>>"$tmp/err" |
		awk '{ printf "%.2f %.3f %.1f\n", $1 * 1000 / $3, $3 / $1, $4 / $1 }' >"$tmp/line"
	kill $server
	wait $server 2>/dev/null
	if [ -s "$tmp/line" ]; then
		cat "$tmp/line" >>"$f"
	else
		echo "tests/bench/run: failed: $*" >&2
		cat "$tmp/err" >&2
	fi
}

bench_vnc() {
	local fill encoding i
	for fill in solid lines; do
		for encoding in raw tight; do
			rm -f "$tmp/vp" "$tmp/vq"
			for ((i = 0; i < ${VNC_ROUNDS:-3}; i++)); do
				vnc_run "$tmp/vp" vcpu $encoding $fill "$POSADA" -nodefaults
				[ -z "$peer" ] || vnc_run "$tmp/vq" CPU $encoding $fill qemu-system-x86_64 -M pc -accel kvm \
					-cpu "host,-arch-capabilities,-cx16" -name bench,debug-threads=on -nodefaults -no-user-config
			done
			vnc_row "VNC, $fill, $encoding: pictures a second" 1 1 '' '' ''
			vnc_row "  milliseconds for each" 2 1 ms 33.4 ''
			vnc_row "  host CPU for each" 3 1000 ms '' 1
		done
	done
}

vnc_row() { # WHAT COLUMN DIVISOR UNIT LIMIT RATIO
	row "$1" "$(median "$tmp/vp" "$2")" "$([ ! -s "$tmp/vq" ] || median "$tmp/vq" "$2")" "$3" "$4" "$5" "$6"
}
