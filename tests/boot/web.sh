# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# -display web: its page by curl, what it refuses, and the guest's screen and keyboard in a real browser.

NOVNC=/usr/share/novnc

need_novnc() {
	need_kvm
	need curl
	[ -e $NOVNC/core/rfb.js ] || skip "no noVNC (package novnc)"
}

# A machine that is shown on any free port: $url.
web_vm() { # [OPTION...]
	local i
	need_novnc
	start_vm -display web=:0 -qmp "unix:$T/qmp,server=on,wait=off" "$@"
	for ((i = 0; i < 500; i++)); do
		url=$(sed -n "s/^posada: the screen is at \\([^ ]*\\)\$/\\1/p" "$T/err" 2>/dev/null) || :
		[ -z "$url" ] || return 0
		kill -0 "$vm" 2>/dev/null || break
		sleep 0.02
	done
	fail "it did not say where the screen is: $(cat "$T/err")"
}

end_web() {
	kill "$vm"
	wait_vm
	expect_status 0
}

# A machine that ends at once.
short_vm() { # OPTION...
	echo quit >"$T/quit"
	in=$T/quit vm -S -monitor stdio "$@"
	expect_status 0
}

code() { # STATUS CURL-ARGUMENT...: what the server answers with
	local want=$1 is
	shift
	is=$(curl -s -m 10 --path-as-is -o "$T/body" -D "$T/head" -w '%{http_code}' "$@") || :
	[ "$is" = "$want" ] || fail "$*: $is, not $want"
}

t_web_page() {
	local file
	web_vm
	[[ $url =~ ^http://127\.0\.0\.1:[0-9]+/$ ]] || fail "the address is $url"
	code 200 "$url"
	cmp "$T/body" src/display/web/index.html || fail "another page"
	expect_in "$T/head" '^Content-Type: text/html' '^Cache-Control: no-store' '^X-Content-Type-Options: nosniff' \
		"^Content-Security-Policy: default-src 'self';.* frame-ancestors 'none'"
	code 200 "${url}posada.js"
	expect_in "$T/head" '^Content-Type: text/javascript'
	code 200 "${url}core/rfb.js?x=1"
	cmp "$T/body" $NOVNC/core/rfb.js || fail "another core/rfb.js"
	# All that it needs is there.
	for file in $(cd $NOVNC && find core vendor -name '*.js'); do
		code 200 "$url$file"
		cmp "$T/body" "$NOVNC/$file" || fail "another $file"
	done
	code 200 -I "${url}core/rfb.js"
	expect_in "$T/head" "^Content-Length: $(stat -c %s $NOVNC/core/rfb.js)"
	[ ! -s "$T/body" ] || head -c 20 "$T/body" | grep -q '^HTTP' || fail "HEAD has a body"
	end_web
}

t_web_refuses() {
	local path
	web_vm
	for path in ../etc/passwd %2e%2e/%2e%2e/etc/passwd core/..%2f..%2fetc/passwd //etc/passwd core//rfb.js core/ core \
		'core\rfb.js' core%5crfb.js .git utils/novnc_proxy nothing.js; do
		code 404 "$url$path"
		expect_not "$T/body" root
	done
	code 400 "${url}%00"
	code 405 -X POST -d x "$url"
	code 405 -X TRACE "$url"
	code 431 -H "X: $(head -c 20000 /dev/zero | tr '\0' x)" "$url"
	code 426 "${url}websockify"
	# Names that may have been made to mean this host, and other pages' scripts.
	code 403 -H 'Host: evil.example' "$url"
	expect_in "$T/body" 'localhost' 'display web=HOST'
	code 200 -H 'Host: localhost:1234' "$url"
	code 200 -H 'Host: [::1]' "$url"
	code 403 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Origin: http://evil.example' "${url}websockify"
	code 403 -H 'Connection: Upgrade' -H 'Upgrade: websocket' "${url}websockify"
	end_web
}

# Bytes of any kind, connections that say nothing: the page is there, and the guest runs.
t_web_hostile() {
	local port i fd fds=()
	web_vm
	port=${url##*:}
	port=${port%/}
	for ((i = 0; i < 30; i++)); do
		exec {fd}<>"/dev/tcp/127.0.0.1/$port"
		fds+=("$fd")
	done
	for ((i = 0; i < 20; i++)); do
		{ head -c 20000 /dev/urandom >"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || :
	done
	code 200 "$url"
	for fd in "${fds[@]}"; do
		exec {fd}>&-
	done
	qmp '{"execute":"query-status"}' >"$T/answers"
	expect_in "$T/answers" '"running"'
	end_web
}

t_web_ports() {
	local first second
	web_vm -display web
	first=$url
	# The next takes the next; one that is told to have this one cannot.
	second=$(echo quit | timeout 20 "$POSADA" -display web -serial none -monitor stdio 2>&1 | sed -n 's/^posada: the screen is at //p') || :
	[ -n "$second" ] && [ "$second" != "$first" ] || fail "$first and $second"
	first=${first%/}
	vm -display "web=${first#http://}"
	refused 66 'web=127.0.0.1:[0-9]*: cannot listen on 127.0.0.1 port [0-9]*: Address already in use' 'first that is free'
	code 200 "$first/"
	end_web
}

t_web_other_hosts() {
	need_novnc
	short_vm -display web=0.0.0.0:0
	expect_err 'the screen is at http://127.0.0.1:' 'set a password .password-secret=ID.*ssh -L'
	echo -n secret >"$T/secret"
	short_vm -display web=0.0.0.0:0,password-secret=s -object "secret,id=s,file=$T/secret"
	expect_err 'the screen is at'
	expect_not "$T/err" 'set a password'
	short_vm -display web=localhost:0
	expect_err 'the screen is at'
	expect_not "$T/err" 'set a password'
}

t_bad_web() {
	local a
	for a in 127.0.0.1:65536 127.0.0.1:x 127.0.0.1: '[::1' '[]:1' '[::1]x' :-1 1:2:3; do
		vm -display "web=$a"
		refused 64 'HOST:PORT' "display web=${a//[[\]]/.}:"
	done
	vm -display web,prot=1
	refused 64 'prot'
	need_novnc
	vm -display web=256.256.256.256:1
	refused 66 '256.256.256.256'
	vm -display web,password-secret=none
	expect_err 'password-secret=none'
	[ "$status" != 0 ] || fail "it started"
	: >"$T/empty"
	vm -display web,password-secret=s -object "secret,id=s,file=$T/empty"
	refused 66 'password-secret=s: the secret is empty'
	vm -display web,novnc=/nonexistent
	refused 69 '/nonexistent' 'No such file' 'package novnc' 'novnc=DIRECTORY'
	mkdir -p "$T/n/core"
	vm -display "web,novnc=$T/n"
	refused 69 "$T/n/core/rfb.js" 'No such file' 'package novnc'
	ln -s $NOVNC/core/rfb.js "$T/n/core/rfb.js"
	vm -display "web,novnc=$T/n"
	refused 69 "$T/n/core/rfb.js"
}

t_bad_web_unreadable() {
	need_root
	need setpriv
	need_kvm
	mkdir -p "$T/n/core"
	: >"$T/n/core/rfb.js"
	chmod 0 "$T/n/core/rfb.js"
	run setpriv --inh-caps=-all --bounding-set=-all "$POSADA" -display "web,novnc=$T/n"
	refused 69 'rfb.js' 'ermission' 'package novnc'
}

# --- in a browser --------------------------------------------------------------------------------

browse() { # STEP...
	status=0
	"$BROWSER" -t 50 -d "$T/chromium" "$@" >"$T/browser" 2>&1 || status=$?
	[ $status != 77 ] || skip "no Chromium (package chromium)"
	[ $status = 0 ] || fail "$(cat "$T/browser")"
}

# The page has the guest's name and a connection; what it shows is what the guest drew, in each pixel.
seen_in_browser() { # LETTER of the boot sector
	local i
	need_seabios
	boot_sector "$1"
	web_vm -name 'The Guest' -drive "file=$T/disk,format=raw,if=virtio" -debugcon "file:$T/debug"
	for ((i = 0; i < 1500; i++)); do
		! grep -qa '^drawn' "$T/debug" 2>/dev/null || break
		sleep 0.02
	done
	[ "$i" -lt 1500 ] || fail "it did not draw: $(tail -n 3 "$T/debug")"
	qmp '{"execute":"screendump","arguments":{"filename":"'"$T"'/screen.ppm"}}' >"$T/answers"
	expect_not "$T/answers" '"error"'
	browse -o "$url" -j 'document.title === "The Guest"' -j 'document.querySelector("#status").textContent === ""' \
		-w "$T/screen.ppm"
	end_web
}

limit[web_browser_256_colours]=90
t_web_browser_256_colours() { seen_in_browser g; }
limit[web_browser_vbe]=90
t_web_browser_vbe() { seen_in_browser v; }

limit[web_browser_password]=90
t_web_browser_password() {
	local asked='document.querySelector("#ask").open' fill='(document.querySelector("#password").value = '
	printf 'secret\n' >"$T/secret"
	web_vm -m 64 -name 'The Guest' -vga std -kernel $G/kbd.elf -object "secret,id=s,file=$T/secret" -display web=:0,password-secret=s
	browse -o "$url" -j "$asked && $fill 'wrong', true)" -c '#ask button' \
		-j 'document.querySelector("#status").textContent.includes("password was wrong")' \
		-j "$asked && document.title !== 'The Guest' && $fill 'secret', true)" -c '#ask button' -j 'document.title === "The Guest"'
	end_web
}

limit[web_browser_types]=90
t_web_browser_types() {
	local connected='document.querySelector("#status").textContent === "" && document.querySelector("#screen canvas").width > 1'
	web_vm -m 64 -vga std -serial "file:$T/out" -device isa-debug-exit,iobase=0x501,iosize=2 -kernel $G/kbd.elf
	wait_out '^ready'
	browse -o "$url" -j "$connected" -k ab -c '#keys' -k c \
		-c '#paste' -j 'document.querySelector("#text").open' -j '(document.querySelector("#typed").value = "de", true)' \
		-c '#text button' -j 'document.querySelector("#status").textContent === "Typed: 2 characters"'
	wait_out '^key 92'
	kill "$vm"
	wait_vm
	[ "$(typed)" = '1e 9e 30 b0 1d 38 e0 53 e0 d3 b8 9d 2e ae 20 a0 12 92 ' ] || fail "what came is $(typed)"
}
