# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SMBIOS tables of a guest without firmware, and mistakes in -smbios.

t_smbios() {
	checked smbios -uuid 00112233-4455-6677-8899-aabbccddeeff
	expect_out '^SMBIOS 2\.8' '^type 0,' '^system: \[Posada\] \[Standard PC' '^uuid 33221100554477668899aabbccddeeff' \
		'^type 3,' '^type 4,' '^type 16,' '^memory: 64 MiB' '^type 19,' '^type 32,' '^type 127,'
	expect_not "$T/out" '^type (2|11),'
}
t_smbios_options() {
	printf '\200\006\001\200\001\0of a vendor\0\0' >"$T/bin"
	checked smbios -smbios 'type=1,manufacturer=ACME,product=Anvil,,heavy,version=3,serial=42' \
		-smbios type=1,uuid=00112233-4455-6677-8899-aabbccddeeff -smbios type=2,product=board \
		-smbios type=11,value=first,value=second -smbios "file=$T/bin" -m 3G
	expect_out '^system: \[ACME\] \[Anvil,heavy\] \[3\] \[42\]' '^uuid 33221100' '^type 2,' '^oem string: \[first\]' \
		'^oem string: \[second\]' '^type 128, handle 8001' '^memory: 3072 MiB'
}
t_smbios_after_reset() {
	need_kvm
	start_vm -m 64 -display none -serial "file:$T/serial" -kernel $G/poweroff.elf -append 'button' \
		-qmp "unix:$T/qmp,server=on,wait=off" -smbios type=1,serial=7
	for ((i = 0; i < 500; i++)); do
		! grep -q waiting "$T/serial" 2>/dev/null || break
		sleep 0.02
	done
	qmp "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":983040,\"size\":65536,\"filename\":\"$T/before\"}}" \
		'{"execute":"system_reset"}' \
		"{\"execute\":\"pmemsave\",\"arguments\":{\"val\":983040,\"size\":65536,\"filename\":\"$T/after\"}}" \
		'{"execute":"quit"}' >/dev/null || true
	wait_vm
	grep -aq _SM_ "$T/before" || fail "no anchor"
	cmp "$T/before" "$T/after"
}

t_smbios_by_firmware() { # SeaBIOS moves the tables, and says its own name nowhere
	local i
	need_kvm
	start_vm -m 64 -display none -serial "file:$T/serial" -qmp "unix:$T/qmp,server=on,wait=off" \
		-smbios type=1,serial=in-the-guest -uuid 00112233-4455-6677-8899-aabbccddeeff
	for ((i = 0; i < 1000; i++)); do
		! grep -aqi 'boot' "$T/serial" 2>/dev/null || break
		sleep 0.02
	done
	grep -aq SeaBIOS "$T/serial" || skip "no SeaBIOS: $(head -1 "$T/err")"
	qmp "{\"execute\":\"pmemsave\",\"arguments\":{\"val\":917504,\"size\":131072,\"filename\":\"$T/rom\"}}" \
		'{"execute":"quit"}' >/dev/null || true
	wait_vm
	grep -aq '_SM_.*_DMI_' "$T/rom" || fail "no anchor"
	LC_ALL=C grep -aqP 'in-the-guest' "$T/rom" || fail "not in its memory"
}

bad_smbios() { # ARG STATUS REGEX
	need_kvm
	vm -nographic -kernel $G/hello.elf -smbios "$1"
	refused "$2" "$3"
}
t_smbios_bad() {
	bad_smbios type=5,a=b 64 'type=5: no such type is made'
	bad_smbios type=1,serail=1 64 "unknown key 'serail'"
	expect_err "did you mean 'serial'"
	bad_smbios type=x 64 'type=x: a number up to 255'
	bad_smbios serial=1 64 'type=N or file=FILE is missing'
	bad_smbios type=1,uuid=12 64 "'12' is not a UUID"
	bad_smbios type=0,release=1 64 'release=1: two numbers'
	bad_smbios type=4,max-speed=70000 64 'max-speed=70000: a number of MHz'
	bad_smbios "type=1,serial=$(printf 'a\001b')" 64 'control character'
	bad_smbios file=/nonexistent 66 'nonexistent.*No such file'
	printf '\001\033\001' >"$T/short"
	bad_smbios "file=$T/short" 66 'at byte 0 there is no whole structure'
	: >"$T/empty"
	bad_smbios "file=$T/empty" 66 'is empty'
	head -c 70000 /dev/zero >"$T/big"
	bad_smbios "file=$T/big" 66 'more than 61440 bytes'
	vm -nographic -M micro -kernel $G/hello.elf -smbios type=1,serial=1
	refused 64 'the micro machine has no'
}
t_smbios_file_and_type() {
	printf '\001\033\000\001\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\006\000\000\000\000' >"$T/bin"
	checked smbios -smbios "file=$T/bin"
	expect_out '^system: \[\] \[\]' '^type 1, handle 100'
	vm -nographic -kernel $G/hello.elf -smbios "file=$T/bin" -smbios type=1,serial=1
	refused 64 'type 1 comes from a file= and by type=1'
}
