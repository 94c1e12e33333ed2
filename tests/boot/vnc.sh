# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The screen by VNC: real clients (libvncclient, vncsnapshot), keys, passwords, sockets, and clients that do
# not behave. What single bytes do is for tests/unit/test_rfb.c.
VNC=build/tests/boot/vncclient

need_vnc() {
	need_kvm
	ldconfig -p | grep -q 'libvncserver\.so\.1' || skip "no libvncserver1"
}

# Starts posada with a VNC server on a free display from 1000 on: $port is its port.
vnc_vm() { # VNC-KEYS [OPTION...]
	local keys=$1 i
	need_vnc
	shift
	start_vm -m 64 -vga std -vnc ":1000,to=9000$keys" -qmp "unix:$T/qmp,server=on,wait=off" "$@"
	for ((i = 0; i < 1000; i++)); do
		[ ! -S "$T/qmp" ] || break
		kill -0 "$vm" 2>/dev/null || fail "posada ended: $(cat "$T/err")"
		sleep 0.02
	done
	qmp '{"execute":"query-vnc"}' >"$T/answer"
	port=$(sed -n 's/.*"enabled": true.*"service": "\([0-9]*\)".*/\1/p' "$T/answer")
	[ -z "$port" ] || return 0
	port=$(grep -o '"service": "[0-9]*"' "$T/answer" | head -1 | tr -dc 0-9)
	[ -n "$port" ] || fail "query-vnc says: $(cat "$T/answer")"
}

vnc_end() {
	qmp '{"execute":"quit"}' >"$T/answer"
	wait_vm
	expect_status 0
}

vnc_dump() { # FILE
	qmp '{"execute":"screendump","arguments":{"filename":"'"$1"'"}}' >"$T/answer"
	expect_not "$T/answer" error
}

vnc_echo_vm() { # VNC-KEYS [OPTION...]: a guest that puts keys on the screen
	local i keys=$1
	shift
	need_seabios
	cp "$G/echo.img" "$T/disk"
	truncate -s 1M "$T/disk"
	vnc_vm "$keys" -serial none -drive "file=$T/disk,format=raw,if=virtio" -debugcon "file:$T/debug" "$@"
	for ((i = 0; i < 1500; i++)); do
		! grep -qa '^ready' "$T/debug" 2>/dev/null || break
		sleep 0.02
	done
	[ "$i" -lt 1500 ] || fail "the guest is not ready: $(tail -n 3 "$T/debug")"
}

vnc_wait_drawn() { # by vncdraw
	local i
	for ((i = 0; i < 1000; i++)); do
		! grep -qa '^drawn' "$T/serial" || return 0
		sleep 0.02
	done
	fail "the guest did not draw: $(tail -n 3 "$T/serial")"
}

vnc_client() { # STEP...: with $port
	status=0
	"$VNC" -t 20 "localhost:$port" "$@" >"$T/client" 2>&1 || status=$?
	[ $status = 0 ] || fail "the client: $(cat "$T/client")"
}

t_vnc_same_pixels() {
	local e
	vnc_vm '' -serial "file:$T/serial" -kernel "$G/vncdraw.elf" -append 'fill=lines still'
	vnc_wait_drawn
	for e in raw hextile zlib tight zrle; do
		"$VNC" -t 20 -e $e "localhost:$port" shot "$T/$e.ppm" || fail "$e"
		vnc_dump "$T/dump.ppm"
		"$VNC" -t 20 -e $e "localhost:$port" same "$T/dump.ppm" || fail "$e is not what screendump says"
	done
	[ "$(head -n 2 "$T/dump.ppm" | tail -n 1)" = '1024 768' ] || fail "the screen is $(head -n 2 "$T/dump.ppm")"
	vnc_end
}

t_vnc_snapshot() { # a client that is none of ours
	need vncsnapshot
	vnc_vm '' -serial "file:$T/serial" -kernel "$G/vncdraw.elf" -append 'fill=solid still'
	vnc_wait_drawn
	timeout 20 vncsnapshot -quality 100 "localhost:$((port - 5900))" "$T/a.jpg" >"$T/log" 2>&1 || fail "$(cat "$T/log")"
	expect_in "$T/log" '1024x768'
	[ "$(head -c 3 "$T/a.jpg" | od -An -tx1 | tr -d ' ')" = ffd8ff ] || fail "no picture"
	vnc_end
}

t_vnc_typing() {
	vnc_echo_vm ''
	vnc_client shot "$T/before.ppm" type 'aB' changed
	vnc_wait_debug 'aB'
	vnc_dump "$T/after.ppm"
	vnc_client same "$T/after.ppm"
	! cmp -s "$T/before.ppm" "$T/after.ppm" || fail "nothing changed on the screen"
	vnc_end
}

vnc_wait_debug() { # REGEX
	local i
	for ((i = 0; i < 1000; i++)); do
		! grep -qaE "$1" "$T/debug" || return 0
		sleep 0.02
	done
	fail "the guest did not say $1 but $(tail -n 1 "$T/debug")"
}

t_vnc_mouse() {
	local i moved
	vnc_vm '' -serial "file:$T/serial" -kernel "$G/kbd.elf" -append mouse -device isa-debug-exit,iobase=0x501,iosize=2
	for ((i = 0; i < 1000; i++)); do
		! grep -qa '^ready' "$T/serial" || break
		sleep 0.02
	done
	# The key keeps the first two from becoming one.
	vnc_client point 100,100,0 type a point 105,103,0 point 105,103,1 point 105,103,0
	# Moved right by 5 and down by 3, then the button.
	for ((i = 0; i < 1000; i++)); do
		moved=$(tr -d '\r' <"$T/serial" | sed -n 's/^mouse //p' | tr '\n' ' ')
		[ "$moved" != '28 5 fd 0 9 0 0 0 8 0 0 0 ' ] || break
		sleep 0.02
	done
	[ "$i" -lt 1000 ] || fail "the mouse sent $moved"
	vnc_client key ff1b
	wait_vm
	expect_status 33
}

t_vnc_password() {
	vnc_vm ',password=on' -S
	status=0
	"$VNC" -p '' "localhost:$port" >/dev/null 2>&1 || status=$?
	expect_status 3 # none was set: nobody gets in
	qmp '{"execute":"set_password","arguments":{"protocol":"vnc","password":"Sesame"}}' >"$T/answer"
	expect_not "$T/answer" error
	vnc_client_with Sesame 0
	vnc_client_with sesame 3
	qmp '{"execute":"human-monitor-command","arguments":{"command-line":"change vnc password other"}}' \
		'{"execute":"human-monitor-command","arguments":{"command-line":"info vnc"}}' >"$T/answer"
	expect_in "$T/answer" 'Password: needed'
	vnc_client_with Sesame 3
	vnc_client_with other 0
	vnc_end
}

vnc_client_with() { # PASSWORD STATUS
	status=0
	"$VNC" -p "$1" "localhost:$port" >/dev/null 2>&1 || status=$?
	expect_status "$2"
}

t_vnc_password_secret() {
	echo Sesame >"$T/secret"
	vnc_vm ',password-secret=s0' -S -object "secret,id=s0,file=$T/secret"
	vnc_client_with Sesame 0
	vnc_client_with x 3
	vnc_end
	vm -vnc :0,password-secret=s1 -vga std -display none
	refused 64 'password-secret=s1' '-object secret'
}

# The password of one server does not let anybody in at another, whatever comes in between.
t_vnc_two_servers() {
	local open
	vnc_vm ',password=on' -S -vnc ":2000,to=9000"
	qmp '{"execute":"query-vnc-servers"}' >"$T/answer"
	open=$(grep -o '"service": "[0-9]*"' "$T/answer" | tr -dc '0-9\n' | sort -n | uniq)
	for port in $open; do
		if [ "$port" -ge 7900 ]; then vnc_client_with x 0; else vnc_client_with x 3; fi
	done
	vnc_end
}

t_vnc_unix() {
	need_vnc
	start_vm -m 64 -vga std -vnc "unix:$T/sock" -serial "file:$T/out" -kernel "$G/vncdraw.elf" -append still
	wait_out '^drawing'
	"$VNC" -t 20 "unix:$T/sock" shot "$T/a.ppm" || fail "no picture by the socket"
	vm -m 64 -vga std -vnc "unix:$T/sock" -kernel "$G/vncdraw.elf"
	refused 66 "$T/sock" 'in use'
	kill "$vm"
	wait_vm
	[ ! -e "$T/sock" ] || fail "the socket is left behind"
}

t_vnc_port_in_use() {
	vnc_vm '' -S
	vm -vga std -vnc ":$((port - 5900))" -display none
	refused 66 "-vnc :$((port - 5900))" "port $port" 'posada \(process [0-9]*\) has it'
	vnc_end
}

t_vnc_bad_options() {
	need_vnc
	vm -vga std -vnc nonsense
	refused 64 "'nonsense' is not HOST:D" ':0'
	vm -vga std -vnc :99999
	refused 64 'display 99999'
	vm -vga std -vnc :1,passwrd=on
	refused 64 'passwrd' "did you mean 'password'"
	vm -vga std -vnc :1,websocket=99999
	refused 64 'websocket=99999'
	vm -vga std -vnc 'no.such.host.invalid:1'
	refused 66 'no.such.host.invalid'
	vm -vga none -vnc :1
	refused 64 'no graphics card'
	vm -vga std -vnc "unix:$T/no/dir/sock"
	refused 66 "$T/no/dir/sock"
	vm -vnc help
	expect_status 0
	expect_out 'password-secret=' 'websocket=' 'to='
}

# Who is told to listen for everybody is told what that means, unless there is a password.
t_vnc_warns() {
	need_vnc
	in=/dev/null start_vm -vga std -S -vnc 0.0.0.0:1000,to=9000 -qmp "unix:$T/qmp,server=on,wait=off"
	vnc_wait_qmp
	vnc_end
	expect_err 'there is no password'
	start_vm -vga std -S -vnc 0.0.0.0:1000,to=9000,password=on -qmp "unix:$T/qmp,server=on,wait=off"
	vnc_wait_qmp
	vnc_end
	expect_not "$T/err" 'no password'
	start_vm -vga std -S -vnc :1000,to=9000 -qmp "unix:$T/qmp,server=on,wait=off"
	vnc_wait_qmp
	qmp '{"execute":"query-vnc"}' >"$T/answer"
	expect_in "$T/answer" '"host": "(127\.0\.0\.1|::1)"'
	vnc_end
	expect_not "$T/err" 'no password'
}

vnc_wait_qmp() {
	local i
	for ((i = 0; i < 1000; i++)); do
		[ ! -S "$T/qmp" ] || return 0
		kill -0 "$vm" 2>/dev/null || break
		sleep 0.02
	done
	fail "posada did not start: $(cat "$T/err")"
}

# A client that asks and never reads holds up neither the others nor the guest.
t_vnc_slow_client() {
	local slow pictures
	vnc_vm '' -serial "file:$T/serial" -kernel "$G/vncdraw.elf" -append fill=lines
	"$VNC" -e raw "localhost:$port" hold 20 &
	slow=$!
	vnc_client count 2
	pictures=$(cut -d. -f1 "$T/client")
	[ "$pictures" -ge 10 ] || fail "only $pictures pictures in 2 s"
	kill -0 $slow || fail "the slow client has gone"
	kill $slow
	vnc_end
}

t_vnc_websocket() {
	local web
	need socat
	vnc_vm ',websocket=on' -S
	web=$((port - 200))
	printf 'GET / HTTP/1.1\r\nHost: localhost:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost\r\nSec-WebSocket-Protocol: binary\r\n\r\n' $web >"$T/ask"
	timeout 20 socat -t 1 "TCP:localhost:$web" - <"$T/ask" >"$T/answer" || :
	expect_in "$T/answer" '^HTTP/1.1 101 ' '^Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=' 'RFB 003.008'
	sed 's/localhost\r/elsewhere.example\r/;s/http:.*/http:\/\/elsewhere.example\r/' "$T/ask" >"$T/ask2"
	timeout 20 socat -t 1 "TCP:localhost:$web" - <"$T/ask2" >"$T/answer" || :
	expect_in "$T/answer" '^HTTP/1.1 403 '
	sed 's/Host: localhost/Host: elsewhere.example/;s/http:.*/http:\/\/elsewhere.example\r/' "$T/ask" >"$T/ask2"
	timeout 20 socat -t 1 "TCP:localhost:$web" - <"$T/ask2" >"$T/answer" || :
	expect_in "$T/answer" '^HTTP/1.1 403 '
	vnc_end
}

t_vnc_many_connections() {
	local i fds tasks
	vnc_vm '' -S
	vnc_client shot "$T/a.ppm"
	vnc_gone
	fds=$(ls "/proc/$vm/fd" | wc -l)
	tasks=$(ls "/proc/$vm/task" | wc -l)
	for ((i = 0; i < 100; i++)); do
		"$VNC" "localhost:$port" shot "$T/a.ppm" || fail "connection $i"
	done
	vnc_gone
	[ "$(ls "/proc/$vm/fd" | wc -l)" = "$fds" ] || fail "descriptors leak"
	[ "$(ls "/proc/$vm/task" | wc -l)" = "$tasks" ] || fail "threads leak"
	vnc_end
}

vnc_gone() { # until all clients have
	local i
	for ((i = 0; i < 500; i++)); do
		qmp '{"execute":"query-vnc-servers"}' >"$T/answer"
		! grep -q '"clients": \[\]' "$T/answer" || return 0
		sleep 0.02
	done
	fail "clients stay: $(cat "$T/answer")"
}

t_vnc_none() {
	need_vnc
	start_vm -vga std -S -vnc none -qmp "unix:$T/qmp,server=on,wait=off"
	vnc_wait_qmp
	qmp '{"execute":"query-vnc"}' '{"execute":"set_password","arguments":{"protocol":"vnc","password":"x"}}' \
		'{"execute":"human-monitor-command","arguments":{"command-line":"info vnc"}}' >"$T/answer"
	expect_in "$T/answer" '"enabled": false' 'error.*no VNC server'
	vnc_end
}
