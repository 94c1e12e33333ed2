# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What the tests share. Each check is one line: check 'what it is' "$got" "$wanted". A test ends with `finish`, which
# tells /etc/rc the number of checks on descriptor 3 and exits with 1 if one of them failed.

checks=0 failed=0

check() {
	checks=$((checks + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $checks - $1"
	else
		failed=$((failed + 1))
		echo "not ok $checks - $1: got '$2', wanted '$3'"
	fi
}

finish() {
	echo "$checks" >&3
	[ "$failed" = 0 ]
	exit
}
