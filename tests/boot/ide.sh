# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# IDE: a bare-metal guest with a disk and a CD, places and options, media changed by the monitor, Linux.

ide() { # APPEND [OPTION...]: the guest, with the disk $T/disk of pattern 5, which it leaves with pattern 7
	local append=$1
	shift
	disk 5
	checked ide "$@" -append "$append"
	disk_has 7
}
cd_image() { # $T/cd: 1 MiB of pattern 9
	pattern 9 $((1 << 20)) >"$T/cd"
}

t_ide() {
	cd_image
	ide '' -drive "file=$T/disk,format=raw,if=ide" -cdrom "$T/cd"
	expect_not "$T/err" 'warn|truncated|guessed'
}
t_ide_devices() {
	cd_image
	ide '' -nodefaults -serial stdio -drive "file=$T/disk,format=raw,if=none,id=d0" -drive "file=$T/cd,format=raw,if=none,id=c0,media=cdrom" \
		-device ide-cd,drive=c0,bus=ide.1,unit=0,model='A CD' -device ide-hd,drive=d0,bus=ide.0,unit=0,serial=S1
}
t_ide_hda() {
	ide cd=empty -drive if=ide,media=cdrom,index=2,id=ide1-cd0 -hda "$T/disk" # sector 0 keeps its text, so the guess that it is raw holds
	expect_err 'raw was guessed'
}
t_ide_no_cd() { ide cd=none -nodefaults -serial stdio -drive "file=$T/disk,format=raw"; }
t_ide_smp() { ide cd=empty -drive if=ide,media=cdrom,index=2,id=ide1-cd0 -smp 2 -drive "file=$T/disk,format=raw,cache=none"; }
t_ide_qcow2() {
	need qemu-img
	disk 5
	qemu-img convert -q -f raw -O qcow2 "$T/disk" "$T/disk.qcow2"
	checked ide -append cd=empty -drive if=ide,media=cdrom,index=2 -hda "$T/disk.qcow2"
	qemu-img convert -q -f qcow2 -O raw "$T/disk.qcow2" "$T/disk"
	disk_has 7
}
t_ide_truncated_cd() {
	cd_image
	truncate -s 1000000 "$T/cd"
	ide '' -drive "file=$T/disk,format=raw" -cdrom "$T/cd"
	expect_err '1000000 bytes of .*/cd .*2048.*truncated'
}

# --- the monitor
t_ide_media() {
	disk 5
	cd_image
	monitored hang -append how=idle -drive "file=$T/disk,format=raw" -drive if=ide,media=cdrom,index=2,id=ide1-cd0
	ask '{"execute":"query-block"}' "$(human 'info block')" "$(human "change ide1-cd0 $T/cd raw")" "$(human 'info block ide1-cd0')" \
		'{"execute":"eject","arguments":{"device":"ide1-cd0"}}' '{"execute":"eject","arguments":{"device":"ide0-hd0"}}' \
		"{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"device\":\"ide1-cd0\",\"filename\":\"$T/nothing\"}}" \
		"{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"device\":\"ide1-cd0\",\"filename\":\"$T/cd\",\"format\":\"raw\"}}"
	answers 'ide1-cd0: \[not inserted\]' 'Removable device: not locked, tray closed' "ide1-cd0 \(.*$T/cd \(raw, read-only\)" \
		"'ide0-hd0' is not removable" "$T/nothing.*No such file" '"removable": ?true'
	end
}

# --- what cannot be
t_ide_refused() {
	local i opts=()
	for i in 1 2 3 4 5; do
		truncate -s 1M "$T/$i"
		opts+=(-drive "file=$T/$i,format=raw")
	done
	vm "${K[@]}" "${opts[@]}"
	refused 64 "-drive file=$T/5,format=raw: no place is left.*four drives" 'if=virtio'
	vm "${K[@]}" -hda "$T/1" -drive "file=$T/2,format=raw,if=ide,index=0"
	refused 64 "-drive file=$T/2.*index=0: another drive"
	vm "${K[@]}" -hdc "$T/1" -cdrom "$T/2"
	refused 64 '-cdrom .*/2: .*place of -hdc'
	vm "${K[@]}" -cdrom "$T/2" -cdrom "$T/3"
	refused 64 'there is a -cdrom already'
	vm "${K[@]}" -cdrom "$T/nothing"
	refused 66 '-cdrom .*nothing.*No such file'
	vm "${K[@]}" -drive "file=$T/1,format=raw,readonly=on"
	refused 64 'read-only'
	vm "${K[@]}" -drive "file=$T/1,format=raw,media=cdrom,if=virtio"
	refused 64 'no virtio CD drive'
	vm -machine micro "${K[@]}" -drive "file=$T/1,format=raw,if=ide"
	refused 64 'no IDE controller' '-machine pc'
	vm -machine micro "${K[@]}" -cdrom "$T/1"
	refused 64 '-cdrom .*no virtio CD drive'
	vm "${K[@]}" -drive "file=$T/1,format=raw,if=none,id=d0" -device ide-hd,drive=d0,bus=ide.7
	refused 64 'bus=ide\.7' 'ide\.0 and ide\.1'
	vm "${K[@]}" -device ide-hd
	refused 64 'drive= is missing'
}
