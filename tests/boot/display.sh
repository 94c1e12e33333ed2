# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What shows the screen when no option says so, and who has the terminal.

t_display_default_is_text_on_a_terminal() {
	need_seabios
	boot_sector t
	status=0
	"$TALK" -t 40 -e 'the screen is in this terminal \(there is no desktop session; Ctrl-A h: help\); -display help lists others' \
		-e "$(as_it_comes 'Hello by INT 10h')" -s '\x01x' env TERM=xterm "$POSADA" -drive "file=$T/disk,format=raw,if=virtio" \
		>"$T/out" 2>&1 || status=$?
	expect_status 0
}

t_display_default_is_web_without_a_terminal() {
	need_seabios
	need_novnc
	short_vm
	expect_err 'the screen is at http://127.0.0.1:58[0-9][0-9]/ \(there is neither a desktop session nor a free terminal\); -display help lists others'
	short_vm -vga std -kernel $G/hang.elf
	expect_err 'the screen is at'
	# Not when there is another use, or nothing to show.
	for o in '-serial null' '-display none' '-vga none' '-nodefaults' "-kernel $G/hang.elf"; do
		# shellcheck disable=SC2086
		short_vm $o
		expect_not "$T/err" 'the screen is'
	done
}

# Nobody asked for it: the guest runs all the same, and its console is where it was.
t_display_default_without_novnc() {
	need_root
	need unshare
	need_seabios
	unshare -m true 2>/dev/null || skip "no mount namespaces"
	mkdir -p "$T/empty"
	[ -d /usr/share/novnc ] || skip "no /usr/share/novnc to cover"
	# shellcheck disable=SC2016
	run unshare -m sh -c 'mount --bind "$0" /usr/share/novnc && exec "$@"' "$T/empty" "$POSADA" -m 64 -vga std \
		-device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/hello.elf
	expect_status 33
	expect_out 'checks, 0 failed'
	expect_err '-display web: cannot read noVNC' 'the guest runs without a screen that is shown; install the package novnc'
}

t_display_terminal_has_one_use() {
	vm -display text -serial stdio
	refused 64 '-display text: the terminal is in use' 'mon:stdio' '-nographic'
	vm -display text -chardev stdio,id=c -device isa-serial,chardev=c
	refused 64 '-display text: the terminal is in use' '-nographic'
	vm -display none -serial stdio -monitor stdio
	refused 64 '-monitor stdio: standard input and output are in use' 'mon:stdio' '-nographic'
}

# The screen sleeps by then; the signal makes it look, and there is a line 30.
t_display_text_follows_the_terminal() {
	need_seabios
	boot_sector g
	status=0
	"$TALK" -t 40 -w 80x25 -e '▀' -p 2500 -w 100x40 -e $'\e\\[3[01];' -s '\x01x' env TERM=xterm COLORTERM=truecolor "$POSADA" -display text \
		-drive "file=$T/disk,format=raw,if=virtio" >"$T/out" 2>&1 || status=$?
	expect_status 0
}

t_display_screendump_path() {
	vm -display none -serial none -screendump /nonexistent/x.png
	refused 66 '-screendump' '/nonexistent/x.png: No such file'
	vm -display none -serial none -screendump "$T"
	refused 66 '-screendump' 'directory'
	vm -display none -serial none -screendump "$T/x.png,on=exti"
	refused 64 'exti' 'exit'
	vm -display none -serial none -screendump "$T/x.png,after=1,on=exit"
	refused 64 'after=.*on=exit'
	[ ! -e "$T/x.png" ] || fail "it left a file"
}

t_display_screendump_on_exit() {
	need_kvm
	echo old >"$T/x.png"
	vm -m 64 -display none -serial none -vga std -device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/hello.elf \
		-screendump "$T/x.png,on=exit"
	expect_status 33
	[ "$(head -c 4 "$T/x.png" | tail -c 3)" = PNG ] || fail "no PNG file"
}
