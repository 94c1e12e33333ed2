# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# GRUB and ISOLINUX, started by the BIOS from disks and CDs, start a Multiboot guest and Linux, whose root file system is on
# the disk or the CD. Where kernel-mode code is emulated it is all about instructions: unpacking GRUB's core costs 6 s of
# processor time, its menu's modules 14 s, reading and unpacking a bzImage 60 s.

GRUB=/usr/lib/grub/i386-pc
need_grub() {
	need_bios
	need grub-mkimage grub-mkrescue xorriso mformat sfdisk mke2fs
	[ -e $GRUB/boot.img ] || skip 'no GRUB for BIOSes (package grub-pc-bin)'
}
# $T/tree/boot/grub/grub.cfg, on the serial port: a menu whose second entry is on standard input.
grub_menu() { # TIMEOUT DEFAULT
	mkdir -p "$T/tree/boot/grub"
	{
		printf '%s\n' 'serial --unit=0 --speed=115200' 'terminal_input serial' 'terminal_output serial' "set timeout=$1" "set default=$2" \
			'menuentry "Not this" {' ' echo wrong' ' halt' '}' 'menuentry "The guest" {'
		cat
		echo '}'
	} >"$T/tree/boot/grub/grub.cfg"
}
grub_hello() { # TIMEOUT DEFAULT: the Multiboot guest
	grub_menu "$1" "$2" <<-'END'
		multiboot /hello.elf one two
	END
	cp $G/hello-mb.elf "$T/tree/hello.elf"
}
grub_iso() { # FILE
	local modules='normal serial terminal echo test multiboot linux halt'
	modules+=" $(cd $GRUB && ls part_*.mod | sed 's/\.mod//' | tr '\n' ' ')" # its start-up file wants all of these
	grub-mkrescue -o "$1" --install-modules="$modules" --locales= --fonts= --themes= \
		"$T/tree" >"$T/mkrescue" 2>&1 || fail "grub-mkrescue: $(tail -3 "$T/mkrescue")"
}
# An MBR disk with one partition that has $T/tree on ext2; GRUB's core is in the gap before it. What grub-install
# does, without a loop device: boot.img reads sector 1, where core.img begins, and that reads the rest.
grub_disk() { # FILE
	local d=$T/tree/boot/grub/i386-pc
	mkdir -p "$d"
	cp $GRUB/*.lst $GRUB/{normal,serial,terminal,terminfo,extcmd,verifiers,datetime,crypto,boot,net,bufio,gettext,priority_queue,echo,test}.mod \
		$GRUB/{multiboot,linux,relocator,video,mmap,vbe,lsapm,acpi,halt,video_fb,bitmap,bitmap_scale,font}.mod "$d" 2>/dev/null || :
	grub-mkimage -O i386-pc -o "$T/core.img" -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2 || fail 'no core.img'
	truncate -s 24M "$1"
	echo 'start=2048, type=83, bootable' | sfdisk -q -X dos "$1" || fail 'no partition'
	dd if=$GRUB/boot.img of="$1" bs=440 count=1 conv=notrunc status=none
	dd if="$T/core.img" of="$1" bs=512 seek=1 conv=notrunc status=none
	mke2fs -q -t ext2 -d "$T/tree" -E offset=1048576 "$1" 23552k || fail 'no file system'
}
says_hello() {
	expect_status 33
	expect_out "$(as_it_comes 'Welcome to GRUB')" 'Hello from 64-bit mode' 'booted by: Multiboot' "$@"
	expect_not "$T/out" wrong
}

limit[grub_cd]=280
t_grub_cd() { # and the menu: the second entry chosen by keys
	need_grub
	grub_hello 100 0
	grub_iso "$T/iso"
	status=0
	"$TALK" -t 270 -e "$(as_it_comes 'Welcome to GRUB')" -e 'Not this' -e 'The guest' -e 'executed automatically in' -s '\x1b[B' -e '\*The guest' -s '\r' \
		-e 'Hello from 64-bit mode' -e '0 failed' "$POSADA" "${BIOS[@]}" -m 128 -cdrom "$T/iso" >"$T/out" 2>"$T/err" || status=$?
	says_hello
}
limit[grub_hda]=280
t_grub_hda() {
	need_grub
	grub_hello 0 1
	grub_disk "$T/disk"
	seconds=270 vm "${BIOS[@]}" -drive "file=$T/disk,format=raw"
	says_hello 'command line: .*one two'
}
limit[grub_virtio_qcow2]=280
t_grub_virtio_qcow2() {
	need_grub
	need qemu-img
	grub_hello 0 1
	grub_disk "$T/disk"
	qemu-img convert -q -f raw -O qcow2 "$T/disk" "$T/disk.qcow2"
	seconds=270 vm "${BIOS[@]}" -drive "file=$T/disk.qcow2,if=virtio"
	says_hello
}
t_grub_no_core() { # a disk whose gap was overwritten: GRUB's first sector alone
	need_grub
	truncate -s 2M "$T/disk"
	dd if=$GRUB/boot.img of="$T/disk" bs=512 count=1 conv=notrunc status=none
	truncate -s 512 "$T/disk"
	start_vm "${BIOS[@]}" -drive "file=$T/disk,format=raw"
	wait_out 'GRUB.*(Hard Disk|Read|Geom).* Error'
	kill "$vm"
	wait_vm
	expect_status 0
}

# --- Linux: its root file system is where it was loaded from
# Words for Linux that posada itself adds to -append where a kernel needs them.
linux_words() {
	timeout 5 "$POSADA" -S -nographic -kernel "$LINUX_UP/vmlinux" </dev/null 2>&1 >/dev/null | sed -n "s/.*added to the kernel's command line: //p"
}
linux_tree() { # what the initramfs has, and a test of drives
	need cpio
	mkdir -p "$T/tree"
	(cd "$T/tree" && cpio -idm --quiet --no-preserve-owner <"$INITRAMFS" 2>/dev/null) || :
	[ -x "$T/tree/init" ] || fail 'the initramfs was not unpacked'
	cp "$LINUX_UP/bzImage" "$T/tree/bzImage"
	cat >"$T/tree/tests/drives" <<-'END'
		#!/bin/sh
		. /tests/check.sh
		read -r cmdline </proc/cmdline
		root=${cmdline##*root=/dev/}
		root=${root%% *}
		check 'the root is on it' "$(grep -c "^/dev/root / " /proc/mounts)" 1
		check 'the controller can do DMA' "$(dmesg | grep -c 'ata[12]: PATA max MWDMA2 .* bmdma 0x[c-f]')" 2
		case $root in
		sda1)
			check 'the CD is mounted' "$(mount -t iso9660 -o ro /dev/sr0 /mnt && echo yes)" yes
			check 'its file' "$(md5sum </mnt/data)" "$(md5sum </data)"
			check 'the disk can be written' "$(echo 42 >/written && sync && cat /written)" 42
			check 'the size of the disk' "$(cat /sys/block/sda/size)" 49152
			;;
		sr0) check 'its file' "$(md5sum </data)" "$(cat /data.md5)" ;;
		esac
		finish
	END
	chmod +x "$T/tree/tests/drives"
	head -c 300000 /dev/urandom >"$T/tree/data"
	md5sum <"$T/tree/data" >"$T/tree/data.md5"
}
grub_linux() { # ROOT
	grub_menu 0 1 <<-END
		linux /bzImage console=ttyS0 quiet tsc=reliable no_timer_check root=/dev/$1 init=/init posada.test=drives $(linux_words)
	END
}
linux_passed() {
	expect_status 0
	expect_out "$(as_it_comes 'Welcome to GRUB')" '^.?Posada guest: Linux' '^Posada test drives: pass [1-9]'
}
limit[linux_grub_sda]=590
t_linux_grub_sda() {
	need_grub
	need qemu-img
	linux_tree
	mkdir "$T/cd"
	cp "$T/tree/data" "$T/cd"
	xorriso -as mkisofs -quiet -o "$T/iso" "$T/cd" >/dev/null 2>&1 || fail 'no ISO image'
	grub_linux 'sda1 rootfstype=ext4 rw'
	grub_disk "$T/disk"
	qemu-img convert -q -f raw -O qcow2 "$T/disk" "$T/disk.qcow2"
	seconds=580 vm "${BIOS[@]}" -m 128 -hda "$T/disk.qcow2" -cdrom "$T/iso"
	linux_passed
	qemu-img convert -q -f qcow2 -O raw "$T/disk.qcow2" "$T/disk"
	debugfs -R 'cat /written' "$T/disk?offset=1048576" 2>/dev/null | grep -qx 42 || fail 'what Linux wrote is not on the disk'
}
limit[linux_grub_cd]=590
t_linux_grub_cd() {
	need_grub
	linux_tree
	grub_linux 'sr0 rootfstype=iso9660 ro'
	grub_iso "$T/iso"
	seconds=580 vm "${BIOS[@]}" -m 128 -cdrom "$T/iso"
	linux_passed
}

# --- the BIOS starts -kernel, by an option ROM that reads it from fw_cfg
need_linuxboot() {
	need_bios
	[ -e /usr/share/qemu/linuxboot_dma.bin ] || skip 'no linuxboot_dma.bin (package qemu-system-data)'
}
limit[linux_bios]=290
t_linux_bios() { # a disk that could be booted is left alone
	need_linuxboot
	boot_disk "$T/disk" q
	seconds=280 vm "${BIOS[@]}" -m 128 -bios bios-256k.bin -kernel "$LINUX_UP/bzImage" -initrd "$INITRAMFS" \
		-append 'console=ttyS0 quiet tsc=reliable no_timer_check posada.poweroff' -drive "file=$T/disk,format=raw,if=none,id=d" \
		-device ide-hd,drive=d,bootindex=0
	expect_status 0
	expect_out 'Booting from ROM' 'Posada guest: Linux'
	expect_not "$T/out" 'Booting from Hard Disk'
	! software_kvm || expect_err "added to the kernel's command line: clearcpuid="
}
t_bios_bad_kernel() {
	need_linuxboot
	vm "${BIOS[@]}" -bios bios-256k.bin -kernel $G/hello.elf
	refused 66 "-kernel $G/hello.elf: firmware starts Linux bzImages only, and this is an ELF file" 'leave out -bios'
	vm "${BIOS[@]}" -bios bios-256k.bin -kernel "$T/nothing"
	refused 66 'no such file'
}

# --- ISOLINUX
limit[isolinux]=280
t_isolinux() {
	local lib=/usr/lib/syslinux/modules/bios
	need_bios
	need xorriso
	[ -e /usr/lib/ISOLINUX/isolinux.bin ] || skip 'no ISOLINUX (package isolinux)'
	[ -e $lib/mboot.c32 ] || skip 'no modules of SYSLINUX (package syslinux-common)'
	mkdir "$T/tree"
	cp /usr/lib/ISOLINUX/isolinux.bin $lib/{ldlinux,mboot,libcom32}.c32 "$T/tree"
	cp $G/hello-mb.elf "$T/tree/hello.elf"
	printf '%s\n' 'DEFAULT guest' 'SAY ISOLINUX reads its file' 'LABEL guest' ' KERNEL mboot.c32' ' APPEND hello.elf one' >"$T/tree/isolinux.cfg"
	xorriso -as mkisofs -quiet -o "$T/iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$T/tree" >/dev/null 2>&1 ||
		fail 'no ISO image'
	seconds=270 vm "${BIOS[@]}" -m 128 -cdrom "$T/iso"
	expect_status 33
	expect_out 'ISOLINUX [0-9]' 'ISOLINUX reads its file' 'Hello from 64-bit mode' 'booted by: Multiboot'
}
