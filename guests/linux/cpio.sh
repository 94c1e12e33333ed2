# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# Writing a cpio archive ("newc") without cpio: the format is a line of hexadecimal numbers before each file. Sourced
# by initramfs and tools, which set $tmp and call archive_end when all is in.

# An entry is 110 characters of header, the name, the content, each padded to a multiple of four.
archive=$tmp/cpio
: >"$archive"
ino=0
at=0 # bytes written so far

zeros() { # N
	[ "$1" = 0 ] || head -c "$1" /dev/zero
}

# entry NAME MODE SIZE [MAJOR MINOR]: a header and its name; the content is the caller's to append. Content of a page
# or more starts at a page boundary (by padding the name), where a kernel can use it as it lies.
entry() {
	namesize=$((${#1} + 1))
	if [ "$3" -ge 4096 ]; then
		pad=$(((4096 - (at + 110 + namesize) % 4096) % 4096))
		if [ $((namesize + pad)) -gt 4096 ]; then # too long for a name: half of it goes to a name for the root
			header . 0040755 0 0 0 2048
			pad=$(((4096 - (at + 110 + namesize) % 4096) % 4096))
		fi
		namesize=$((namesize + pad))
	fi
	header "$1" "$2" "$3" "${4:-0}" "${5:-0}" $namesize
}

header() { # NAME MODE SIZE MAJOR MINOR NAMESIZE
	ino=$((ino + 1))
	{
		printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X' \
			$ino "$(($2))" 0 0 1 0 "$3" 0 0 "$4" "$5" "$6" 0
		printf %s "$1"
		zeros $(($6 - ${#1} + (4 - (110 + $6) % 4) % 4))
	} >>"$archive"
	at=$((at + (110 + $6 + 3) / 4 * 4))
}

content() { # SIZE, the bytes on standard input
	{
		cat
		zeros $(((4 - $1 % 4) % 4))
	} >>"$archive"
	at=$((at + ($1 + 3) / 4 * 4))
}

dir() { # NAME [MODE]
	entry "$1" $((0040000 | ${2:-0755})) 0
}

file() { # NAME MODE SOURCE
	size=$(stat -c %s "$3")
	entry "$1" $((0100000 | $2)) "$size"
	content "$size" <"$3"
}

link() { # NAME TARGET
	entry "$1" 0120777 ${#2}
	printf %s "$2" | content ${#2}
}

archive_end() { # OUT
	entry 'TRAILER!!!' 0 0
	zeros $(((512 - at % 512) % 512)) >>"$archive"
	mv "$archive" "$1"
}
