# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a user can get wrong, and hosts that lack something: each a clear message that
# names the option or file, the right exit status, and nothing left behind.

K=(-nographic -kernel build/guests/hello.elf)

# --- the command line: 64
t_bad_no_kernel() { # the PC has firmware, which looks for itself
	vm -M micro -nographic
	refused 64 'kernel'
}
t_bad_option() {
	vm "${K[@]}" -kernal x
	refused 64 'kernal' 'kernel'
}
t_bad_option_value_missing() {
	vm -nographic -kernel
	refused 64 'kernel'
}
t_bad_stray_word() {
	vm "${K[@]}" disk.img
	refused 66 'disk.img: No such file'
}
t_bad_m() {
	local m
	for m in 0 5x 1P -5 '' abc 1K 99999999999999999999 1e400 nan; do
		vm "${K[@]}" -m "$m"
		refused 64 '-m'
		[ -z "$m" ] || expect_err "-m.*${m#-}"
	done
}
t_bad_smp() {
	local n
	for n in 0 10000 -1 x 2x '' cpus=0; do
		vm "${K[@]}" -smp "$n"
		refused 64 '-smp'
	done
}
t_bad_device() {
	vm "${K[@]}" -device isa-serail
	refused 64 'isa-serail' 'isa-serial'
	vm "${K[@]}" -device ''
	refused 64 '-device'
}
t_bad_device_property() {
	vm "${K[@]}" -device isa-debug-exit,iobsae=1
	refused 64 'iobsae' 'iobase'
	vm "${K[@]}" -device isa-debug-exit,iobase=zz
	refused 64 'iobase' 'zz'
	vm "${K[@]}" -device isa-debug-exit,iobase=0x10000
	refused 64 'iobase'
	vm "${K[@]}" -device isa-debug-exit,iosize=99
	refused 64 'iosize'
}
t_bad_duplicate_device_id() {
	vm "${K[@]}" -device isa-debug-exit,id=a,iobase=0x501 -device pvpanic,id=a
	refused 64 "'?a'?"
}
t_bad_duplicate_chardev_id() {
	vm "${K[@]}" -chardev null,id=n -chardev null,id=n
	refused 64 '-chardev' 'n'
}
t_bad_chardev() {
	vm "${K[@]}" -chardev nul,id=n
	refused 64 'nul' 'null'
	vm "${K[@]}" -chardev null
	refused 64 'id'
	vm "${K[@]}" -chardev file,id=f
	refused 64 'path'
	vm "${K[@]}" -serial chardev:nothere
	refused 64 'nothere'
}
t_bad_machine() {
	vm "${K[@]}" -machine pcc
	refused 64 'pcc' 'pc'
	vm "${K[@]}" -machine pc,memroy=memfd
	refused 64 'memroy' 'memory'
}
t_bad_accel() {
	vm "${K[@]}" -accel tcg
	refused 64 'tcg' 'kvm'
	vm "${K[@]}" -accel kvm,assist=maybe
	refused 64 'assist' 'maybe'
}
t_bad_cpu() {
	vm "${K[@]}" -cpu qemu65
	refused 64 'qemu65' 'host'
	vm "${K[@]}" -cpu host,+nosuchfeature
	refused 64 'nosuchfeature'
}
t_bad_uuid() {
	vm "${K[@]}" -uuid 1234
	refused 64 'uuid'
}
t_bad_rtc() {
	vm "${K[@]}" -rtc base=yesterday
	refused 64 'rtc' 'yesterday'
}
t_two_dashes() { checked hello --m 32 --append x; }
t_help_and_version() {
	local o
	vm -version
	expect_status 0
	expect_out '^posada [0-9]'
	for o in '-help' '-device help' '-machine help' '-cpu help' '-accel help' '-chardev help' \
		'-device isa-debug-exit,help'; do
		# shellcheck disable=SC2086
		vm $o
		expect_status 0
		[ -s "$T/out" ] || fail "posada $o prints nothing"
		[ ! -s "$T/err" ] || fail "posada $o writes to standard error"
	done
}

# --- files: 66
t_bad_kernel_missing() {
	vm -nographic -kernel /nonexistent/vmlinuz
	refused 66 '/nonexistent/vmlinuz' '[Nn]o such file'
}
t_bad_kernel_directory() {
	vm -nographic -kernel "$T"
	refused 66 "$T" 'directory'
}
t_bad_kernel_empty() {
	: >"$T/empty"
	vm -nographic -kernel "$T/empty"
	refused 66 "$T/empty" 'empty'
}
t_bad_kernel_text() {
	echo 'just a line of text' >"$T/text"
	vm -nographic -kernel "$T/text"
	refused 66 "$T/text" 'text' 'bzImage'
}
t_bad_kernel_fifo() {
	mkfifo "$T/fifo"
	seconds=10 vm -nographic -kernel "$T/fifo"
	refused 66 "$T/fifo"
}
t_bad_kernel_unreadable() {
	need_root
	need setpriv
	cp $G/hello.elf "$T/secret"
	chmod 0 "$T/secret"
	need_kvm
	# root without its capabilities: the file's mode counts, and /dev/kvm stays open to its owner
	run setpriv --inh-caps=-all --bounding-set=-all "$POSADA" -nographic -kernel "$T/secret"
	refused 66 "$T/secret" 'ermission'
}
t_bad_kernel_truncated_elf() {
	head -c 3000 $G/hello.elf >"$T/short.elf"
	vm -nographic -kernel "$T/short.elf"
	refused 66 'short.elf' 'truncated|too short|ends|beyond|short'
}
t_bad_kernel_larger_than_ram() {
	vm -nographic -m 1M -kernel $G/hello.elf
	refused 66 'hello.elf' 'memory|-m'
}
t_bad_initrd_missing() {
	vm "${K[@]}" -initrd /nonexistent/initrd
	refused 66 '-initrd' '/nonexistent/initrd'
}
t_bad_initrd_directory() {
	vm "${K[@]}" -initrd "$T"
	refused 66 '-initrd' "$T"
}
t_bad_initrd_too_large() {
	truncate -s 200M "$T/initrd"
	vm -m 64 "${K[@]}" -initrd "$T/initrd"
	refused 66 'initrd'
}
t_bad_append_too_long() {
	vm "${K[@]}" -append "$(head -c 100000 /dev/zero | tr '\0' x)"
	refused 64 '-append'
}
t_bad_serial_file() {
	vm -display none -kernel $G/hello.elf -serial file:/nonexistent/log
	refused 66 '/nonexistent/log'
	vm -display none -kernel $G/hello.elf -serial "file:$T"
	refused 66 "$T"
}
t_bad_serial_unwritable() {
	need_root
	need setpriv
	need_kvm
	: >"$T/log"
	chmod 444 "$T/log"
	run setpriv --inh-caps=-all --bounding-set=-all "$POSADA" -display none -kernel $G/hello.elf -serial "file:$T/log"
	refused 66 "$T/log" 'ermission'
}
t_bad_serial_socket_path() {
	vm -display none -kernel $G/hello.elf -serial "unix:/nonexistent/dir/sock,server=on,wait=off"
	refused 66 '/nonexistent/dir/sock'
	vm -display none -kernel $G/hello.elf -serial "unix:$T/nobody"
	refused 66 "$T/nobody"
	vm -display none -kernel $G/hello.elf -serial "unix:$T/$(head -c 200 /dev/zero | tr '\0' x),server=on,wait=off"
	case $status in
	64 | 66) ;;
	*) fail "exit status is $status" ;;
	esac
	expect_err 'long'
}
t_bad_socket_is_a_file() { # a server must not remove what is not a socket
	need_kvm
	echo precious >"$T/file"
	vm -display none -kernel $G/hello.elf -serial "unix:$T/file,server=on,wait=off"
	expect_err "$T/file"
	[ "$status" != 0 ] || fail "it started"
	[ "$(cat "$T/file")" = precious ] || fail "the file is gone"
}

# --- standard input and output
t_closed_stdout() {
	need_kvm
	status=0
	timeout -k 5 30 "$POSADA" "${K[@]}" -device isa-debug-exit,iobase=0x501,iosize=2 </dev/null >&- 2>"$T/err" || status=$?
	case $status in
	33 | 66 | 71) ;;
	*) fail "exit status is $status" ;;
	esac
	expect_not "$T/err" 'Sanitizer|core dumped|assert'
}
t_closed_everything() {
	need_kvm
	status=0
	timeout -k 5 30 "$POSADA" -display none -serial none -monitor none -device isa-debug-exit,iobase=0x501,iosize=2 \
		-kernel $G/hello.elf <&- >&- 2>&- || status=$?
	expect_status 33
}
t_full_stdout() {
	need_kvm
	[ -c /dev/full ] || skip "no /dev/full"
	status=0
	timeout -k 5 30 "$POSADA" "${K[@]}" -device isa-debug-exit,iobase=0x501,iosize=2 </dev/null >/dev/full 2>"$T/err" || status=$?
	case $status in
	33 | 71) ;;
	*) fail "exit status is $status" ;;
	esac
}
t_help_to_full() { # help that cannot be written is an error
	[ -c /dev/full ] || skip "no /dev/full"
	status=0
	"$POSADA" -help >/dev/full 2>"$T/err" || status=$?
	case $status in
	66 | 71) ;;
	*) fail "exit status is $status" ;;
	esac
}

# --- the host: 69, 71
hide_kvm() { # WHAT [OPTION...]: /dev/kvm covered by WHAT in a mount namespace of its own
	local cover=$1
	shift
	need_root
	need unshare
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	[ -e /dev/kvm ] || skip "no /dev/kvm to cover"
	# shellcheck disable=SC2016
	run unshare -m sh -c 'mount --bind "$0" /dev/kvm && exec "$@"' "$cover" "$POSADA" "${K[@]}" "$@"
}
t_kvm_missing() {
	need_root
	need unshare
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	# An empty /dev, but for what a program needs.
	# shellcheck disable=SC2016
	run unshare -m sh -c 'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/zero c 1 5 && exec "$@"' sh \
		"$POSADA" "${K[@]}"
	refused 69 '/dev/kvm' 'BIOS|modprobe|module|nested'
}
t_kvm_not_kvm() {
	: >"$T/file"
	hide_kvm "$T/file"
	refused 69 '/dev/kvm'
	hide_kvm /dev/null
	refused 69 '/dev/kvm'
}
t_kvm_no_permission() {
	need_root
	need setpriv unshare
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	[ -e /dev/kvm ] || skip "no /dev/kvm"
	# shellcheck disable=SC2016
	run unshare -m sh -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 660 /dev/kvm c 10 232 && exec "$@"' \
		sh setpriv --reuid 65534 --regid 65534 --clear-groups "$POSADA" "${K[@]}"
	[ "$status" != 126 ] && [ "$status" != 127 ] || skip "the unprivileged user cannot reach $POSADA"
	refused 69 '/dev/kvm' 'ermission' 'usermod -aG kvm'
}
t_no_memory() {
	need_kvm
	! grep -q __asan_init "$POSADA" || skip "AddressSanitizer reserves more address space than this test leaves"
	# shellcheck disable=SC2016
	run sh -c 'ulimit -v 400000; exec "$@"' sh "$POSADA" "${K[@]}" -m 2G
	refused 71 '-m|memory' '2'
}
t_no_file_descriptors() {
	need_kvm
	# shellcheck disable=SC2016
	run sh -c 'ulimit -n 8; exec "$@"' sh "$POSADA" "${K[@]}" -smp 8
	expect_status 71
	expect_not "$T/err" 'Sanitizer|assert'
}
