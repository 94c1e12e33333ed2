/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot sector, and more behind it, started by the BIOS in real mode at 0:7c00 with
 * the drive's number in DL. From a disk it reads the rest of itself by INT 13h; El Torito has
 * loaded all of it from a CD.
 *
 * The byte at 0x1b0, for a test to set, says what it does:
 *   0  tries the BIOS's services, a line on port 0xe9 for each
 *   q  ends at once
 *   c, 9, k  resets by port 0xcf9, port 0x92 or the keyboard controller, and
 *      ends when it is started the second time
 * It ends by port 0x501 with 0 (exit status 1), or 0x10 (33) when all was well.
 */
	.code16
	.set EXIT_PORT, 0x501
	.set DEBUG_PORT, 0xe9
	.set STAGE2, 0x7e00
	.set STAGE2_SECTORS, 7
	.set BUFFER, 0x9000
	.set MAGIC, 0x5a7e
	.set CMOS_MARK, 0x66		/* a byte that nothing else uses */

	.text
	.globl _start
_start:
	ljmp $0, $1f
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	sti
	cld
	mov %dl, drive
	mov $hello, %si
	call say
	mov %dl, %al
	call say_hex8
	call newline
	mov command, %al
	cmp $'q', %al
	je quick
	test %al, %al
	jnz reset
	cmpw $MAGIC, stage2_magic	/* from a CD it is all there */
	je tests
	mov $0x0200 + STAGE2_SECTORS, %ax
	mov $2, %cx			/* cylinder 0, sector 2 */
	xor %dh, %dh
	mov drive, %dl
	mov $STAGE2, %bx
	int $0x13
	jc load_failed
	cmpw $MAGIC, stage2_magic
	je tests
load_failed:
	mov $text_load, %si
	call say
	xor %al, %al
	jmp exit
quick:	mov $0x10, %al
exit:	mov $EXIT_PORT, %dx
	out %al, %dx
1:	hlt
	jmp 1b

reset:	mov %al, %bl
	mov $CMOS_MARK | 0x80, %al	/* the second time: done */
	out %al, $0x70
	in $0x71, %al
	cmp $0xa7, %al
	je quick
	mov $CMOS_MARK | 0x80, %al
	out %al, $0x70
	mov $0xa7, %al
	out %al, $0x71
	cmp $'9', %bl
	je 2f
	cmp $'k', %bl
	je 3f
	mov $0xcf9, %dx
	mov $0x02, %al
	out %al, %dx
	mov $0x06, %al
	out %al, %dx
	jmp 4f
2:	in $0x92, %al
	or $1, %al
	out %al, $0x92
	jmp 4f
3:	mov $0xfe, %al
	out %al, $0x64
4:	hlt
	jmp 4b

/* SI: a string, to the debug port. All registers are kept by these. */
say:	push %ax
	push %si
1:	lodsb
	test %al, %al
	jz 2f
	out %al, $DEBUG_PORT
	jmp 1b
2:	pop %si
	pop %ax
	ret
say_hex8:			/* AL */
	push %ax
	shr $4, %al
	call 1f
	pop %ax
	push %ax
	and $15, %al
	call 1f
	pop %ax
	ret
1:	add $'0', %al
	cmp $'9', %al
	jbe 2f
	add $'a' - '9' - 1, %al
2:	out %al, $DEBUG_PORT
	ret
newline:
	push %ax
	mov $'\n', %al
	out %al, $DEBUG_PORT
	pop %ax
	ret

hello:	.asciz "boot sector: drive "
text_load: .asciz "FAIL reading what is behind the boot sector\n"
	.org 0x1ae
drive:	.byte 0
	.org 0x1b0
command: .byte 0
	.org 0x1fe
	.word 0xaa55

/* --- the second stage, at 0x7e00 ------------------------------------------------------ */
stage2_magic: .word MAGIC

	/* The flag of a condition as a line: check "what" after a compare that should be equal. */
	.macro check what
	call verdict
	.asciz "\what"
	.endm
	/* The same for the carry flag, which should be clear or set. */
	.macro check_nc what
	sbb %ax, %ax
	test %ax, %ax
	check "\what"
	.endm
	.macro check_c what
	sbb %ax, %ax
	inc %ax
	check "\what"
	.endm

/* ZF set: ok. The text follows the call. */
verdict:
	pushf
	pusha
	mov $text_ok, %si
	jz 1f
	mov $text_fail, %si
	incb failures
1:	call say
	mov %sp, %bp
	mov 18(%bp), %si	/* the return address */
	call say
2:	lodsb
	test %al, %al
	jnz 2b
	mov %si, 18(%bp)
	call newline
	popa
	popf
	ret

tests:
	call test_video
	call test_memory
	call test_disk
	call test_clock
	call test_keyboard
	xor %al, %al
	cmpb $0, failures
	jne exit
	mov $text_done, %si
	call say
	jmp quick

/* INT 10h: text of 80 columns, a cursor that moves, teletype output. */
test_video:
	mov $0x0f00, %ax
	int $0x10
	cmp $0x5003, %ax
	check "INT 10h: mode 3, 80 columns"
	mov $0x0200, %ax
	xor %bx, %bx
	mov $0x0507, %dx
	int $0x10
	mov $0x0300, %ax
	xor %bx, %bx
	xor %dx, %dx
	int $0x10
	cmp $0x0507, %dx
	check "INT 10h: the cursor stays where it was put"
	mov $text_tty, %si
1:	lodsb
	test %al, %al
	jz 2f
	mov $0x0e, %ah
	mov $0x0007, %bx
	int $0x10
	jmp 1b
2:	mov $0x0300, %ax
	xor %bx, %bx
	int $0x10
	test %dl, %dl
	check "INT 10h: teletype output moves the cursor"
	ret

/* INT 12h and INT 15h: E820 as lines for the test to read, E801 and 88. */
test_memory:
	int $0x12
	cmp $0x27f, %ax			/* 639 KiB: the last is the BIOS's */
	check "INT 12h: 639 KiB"
	xor %ebx, %ebx
	xor %bp, %bp
1:	mov $0xe820, %eax
	mov $20, %ecx
	mov $0x534d4150, %edx
	mov $BUFFER, %di
	int $0x15
	jc 2f
	cmp $0x534d4150, %eax
	jne 2f
	mov $text_e820, %si
	call say
	mov $BUFFER + 7, %si
	call say_hex64
	mov $BUFFER + 15, %si
	call say_hex64
	mov BUFFER + 16, %al
	call say_hex8
	call newline
	inc %bp
	test %ebx, %ebx
	jnz 1b
2:	cmp $4, %bp
	setb %al
	test %al, %al
	check "INT 15h E820: four entries or more"
	mov $0xe801, %ax
	xor %cx, %cx
	xor %dx, %dx
	int $0x15
	check_nc "INT 15h E801"
	cmp $0x3c00, %cx
	check "INT 15h E801: 15 MiB below 16 MiB"
	mov $0x8800, %ax
	int $0x15
	cmp $0x3c00, %ax
	setb %al
	test %al, %al
	check "INT 15h 88: 15 MiB or more"
	mov $0x2401, %ax
	int $0x15
	check_nc "INT 15h 2401: A20 on"
	ret

say_hex64:			/* the eight bytes that end at SI */
	mov $8, %cx
1:	mov (%si), %al
	dec %si
	call say_hex8
	loop 1b
	mov $' ', %al
	out %al, $DEBUG_PORT
	ret

/* INT 13h: CHS and extended reads give the same, a write arrives, beyond the end is an error. */
test_disk:
	mov $0x4100, %ax
	mov $0x55aa, %bx
	mov drive, %dl
	int $0x13
	check_nc "INT 13h 41: extensions"
	cmp $0xaa55, %bx
	check "INT 13h 41: signature"
	movw $30, params
	mov $0x4800, %ax
	mov drive, %dl
	mov $params, %si
	int $0x13
	check_nc "INT 13h 48: parameters"
	mov params + 24, %ax
	mov $text_sector, %si
	call say
	xchg %al, %ah
	call say_hex8
	xchg %al, %ah
	call say_hex8
	call newline
	cmp $2048, %ax
	je test_cd
	cmp $512, %ax
	check "INT 13h 48: sectors of 512 bytes"

	mov $0x0800, %ax
	mov drive, %dl
	xor %di, %di
	int $0x13
	push %cs
	pop %es
	check_nc "INT 13h 08: geometry"
	mov $0x1500, %ax
	mov drive, %dl
	int $0x13
	cmp $3, %ah
	check "INT 13h 15: a hard disk"

	movl $1, packet_lba
	mov $0x4200, %ax
	call extended
	check_nc "INT 13h 42: read sector 1"
	mov $STAGE2, %si
	mov $BUFFER, %di
	mov $128, %cx
	repe cmpsl
	check "INT 13h 42: the same as by 02"

	mov $BUFFER, %di		/* sector 100, for the test to look at */
	mov $128, %cx
	mov $0x21544954, %eax
	rep stosl
	movl $100, packet_lba
	mov $0x4300, %ax
	call extended
	check_nc "INT 13h 43: write sector 100"
	mov $BUFFER, %di
	mov $128, %cx
	xor %eax, %eax
	rep stosl
	mov $0x4200, %ax
	call extended
	check_nc "INT 13h 42: read it"
	cmpl $0x21544954, BUFFER + 508
	check "INT 13h 42: it is what was written"

	mov params + 16, %eax		/* the first that is not there */
	mov %eax, packet_lba
	mov $0x4200, %ax
	call extended
	check_c "INT 13h 42: beyond the end is refused"
	ret

test_cd:				/* the volume descriptor */
	movl $16, packet_lba
	mov $0x4200, %ax
	call extended
	check_nc "INT 13h 42: read sector 16 of the CD"
	cmpl $0x30304443, BUFFER + 1
	check "INT 13h 42: CD001 is there"
	mov $0x4b01, %ax
	mov drive, %dl
	mov $params, %si
	int $0x13
	check_nc "INT 13h 4b01: El Torito status"
	movl $0x7fffffff, packet_lba
	mov $0x4200, %ax
	call extended
	check_c "INT 13h 42: beyond the end is refused"
	ret

extended:			/* AH: the function */
	mov drive, %dl
	mov $packet, %si
	movw $1, packet + 2
	int $0x13
	ret

/* INT 1Ah: the tick count goes on, the clock has a date of this century. */
test_clock:
	xor %ax, %ax
	int $0x1a
	mov %dx, %bx
	mov $200, %cx
1:	hlt
	xor %ax, %ax
	push %cx
	int $0x1a
	pop %cx
	cmp %dx, %bx
	loope 1b
	setz %al
	test %al, %al
	check "INT 1Ah: ticks are counted"
	mov $0x0400, %ax
	int $0x1a
	cmp $0x20, %ch
	check "INT 1Ah: the century"
	ret

/* INT 16h: a key as if typed (the controller's command D2), seen, then taken. */
test_keyboard:
	mov $0x0100, %ax
	int $0x16
	setnz %al
	test %al, %al
	check "INT 16h: no key yet"
	call wait_8042
	mov $0xd2, %al
	out %al, $0x64
	call wait_8042
	mov $0x1e, %al			/* A, pressed */
	out %al, $0x60
	mov $50, %cx			/* ticks to wait for it */
1:	mov $0x0100, %ax
	int $0x16
	jnz 2f
	hlt
	loop 1b
2:	mov $0x0100, %ax
	int $0x16
	setz %al
	test %al, %al
	check "INT 16h 01: a key was typed"
	jnz 3f				/* 00 would wait for it for ever */
	mov $0x0000, %ax
	int $0x16
	cmp $0x1e61, %ax
	check "INT 16h 00: it is A"
3:	ret

wait_8042:
	mov $1000, %cx
1:	in $0x64, %al
	test $2, %al
	loopnz 1b
	ret

text_ok: .asciz "ok   "
text_fail: .asciz "FAIL "
text_tty: .asciz "Teletype output\r\n"
text_e820: .asciz "e820 "
text_sector: .asciz "bytes of a sector: "
text_done: .asciz "all is well\n"
failures: .byte 0
	.balign 4
packet:	.byte 16, 0
	.word 1, BUFFER, 0
packet_lba: .long 0, 0
params:	.fill 30
	.org 512 * (1 + STAGE2_SECTORS)
