# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# What the scripts of guests/linux share: where the cache is, and Debian packages as files. Sourced, not run.

cache=${POSADA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/posada}
mkdir -p "$cache/deb"
cache=$(cd "$cache" && pwd)

say() {
	echo "$@" >&2
}

die() {
	say "${0##*/}: $1"
	shift
	for line; do
		say "  $line"
	done
	exit 1
}

need() { # PROGRAM PACKAGE
	command -v "$1" >/dev/null || die "$1 is not installed" "Debian has it in the package $2; packages.txt lists all that is needed."
}

hash12() {
	sha256sum | cut -c1-12
}

# fetch_deb PACKAGE: prints the path of the package's .deb in the cache, downloading the version that apt would install
# if there is none. One that is there already stays in use, so that a new upload does not mean a new kernel; to take
# the newer one, remove it from the cache. Only one process at a time downloads.
fetch_deb() {
	(
		exec 8>"$cache/deb/lock"
		flock 8
		for deb in "$cache/deb/$1"_*.deb; do
			if [ -f "$deb" ]; then
				echo "$deb"
				exit 0
			fi
		done
		need apt-get apt
		size=$(apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Size: //p')
		say "Downloading Debian's package $1${size:+ ($((size / 1000000)) MB)} ..."
		tmp=$(mktemp -d "$cache/deb/tmp.XXXXXX")
		trap 'rm -rf "$tmp"' EXIT
		trap 'exit 1' HUP INT TERM
		chmod 755 "$tmp"
		(cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$1" >&2) ||
			die "cannot download $1" "Is the network there, and are the package lists up to date? Try: apt-get update"
		mv "$tmp"/*.deb "$cache/deb/"
		echo "$cache/deb/$1"_*.deb
	)
}
