# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# iPXE: its CD, started by the BIOS and ISOLINUX, and its kernel-like image, started by the BIOS with a script. Unpacking
# itself costs it minutes where kernel-mode code is emulated: there "make check-stock" runs them, not "make check".

IPXE=/usr/lib/ipxe
need_ipxe() { # FILE
	need_bios
	need_patience
	[ -e "$IPXE/$1" ] || skip "no $1 (package ipxe)"
}

limit[ipxe_cd]=590
t_ipxe_cd() {
	local steps=(-e 'ISOLINUX' -e 'iPXE initialising devices\.\.\.ok' -e 'Open Source Network Boot Firmware' -e 'Press Ctrl-B')
	need_ipxe ipxe.iso
	software_kvm || steps+=(-s '\x02' -e 'iPXE>' -s 'echo 4${}2\r' -e '^42')
	status=0
	"$TALK" -t 580 "${steps[@]}" -s '\x01x' "$POSADA" -nographic -m 128 -cdrom $IPXE/ipxe.iso >"$T/out" 2>"$T/err" || status=$?
	expect_out 'Booting from DVD/CD' 'Press Ctrl-B'
	! software_kvm || skip 'iPXE runs to its prompt; its first timer interrupt then ends it: a software KVM stores the frame without the base of SS'
	expect_status 0
}

limit[ipxe_script]=590
t_ipxe_script() {
	need_ipxe ipxe.lkrn
	need_linuxboot
	seconds=580 vm -nographic -m 128 -no-reboot -bios bios-256k.bin -kernel $IPXE/ipxe.lkrn -append 'echo The script runs here && reboot'
	expect_out 'Booting from ROM' 'iPXE initialising devices\.\.\.ok' '^The script runs' # of its last line SeaBIOS keeps a part back
	expect_status 0
	expect_not "$T/err" clearcpuid # it is no Linux
}
