# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The user network: a Linux guest gets its address by DHCP, fetches a file from the host and serves it back.

free_port() { # below those that the kernel gives out by itself
	local p
	for ((;;)); do
		p=$((20000 + RANDOM % 12000))
		(exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || break
	done
	echo "$p"
}

limit[linux_net_user]=290
t_linux_net_user() {
	need_kvm
	need socat curl
	local from to i
	from=$(free_port) to=$(free_port)
	head -c 200000 /dev/urandom >"$T/file"
	socat -u "OPEN:$T/file" "TCP-LISTEN:$from,bind=127.0.0.1,reuseaddr" &
	mkfifo "$T/in"
	exec 5<>"$T/in"
	in=$T/in start_vm -nographic -m 64 -kernel "$LINUX_UP/vmlinux" -initrd "$INITRAMFS" -append "$append" \
		-netdev "user,id=n0,hostfwd=tcp:127.0.0.1:$to-:80" -device virtio-net-pci,netdev=n0
	for ((i = 0; i < 3000; i++)); do
		! grep -aq "^Type 'exit'" "$T/out" || break
		kill -0 "$vm" || fail "it has ended: $(cat "$T/err")"
		sleep 0.05
	done
	cat >&5 <<-'END'
		cd /tmp; echo 'ip addr add $ip/24 dev eth0; ip route add default via $router' >up
		(echo '#!/bin/sh'; echo '[ "$1" = bound ] || exit 0'; cat up) >dhcp; chmod +x dhcp; ip link set eth0 up
		udhcpc -q -n -i eth0 -s /tmp/dhcp >/dev/null 2>&1; ip -o addr show eth0; echo address''ed
	END
	wait_out '^addressed'
	expect_out 'inet 10\.0\.2\.15/24'
	echo "nc 10.0.2.2 $from </dev/null >file; md5sum file; echo fetch''ed" >&5
	wait_out '^fetched'
	expect_out "^$(md5sum <"$T/file" | cut -d' ' -f1)  file"
	echo "httpd -p 80 -h /tmp; echo serv''ing" >&5
	wait_out '^serving'
	curl -sS -m 60 -o "$T/back" "http://127.0.0.1:$to/file"
	cmp "$T/file" "$T/back"
	echo exit >&5
	wait_vm
	expect_status 0
}

# --- what is wrong with its options
t_net_user_bad_options() {
	vm -nographic -netdev user,id=n0,hostfwd=tcp::8080
	refused 64 "hostfwd=tcp::8080: there is no '-'" 'HOSTPORT-'
	vm -nographic -netdev user,id=n0,smb=/tmp
	refused 64 'smb=/tmp: there is no file server'
	vm -nographic -netdev user,id=n0,net=10.0.2.7/24
	refused 64 'net=10.0.2.7/24' '10\.0\.2\.0'
}
t_net_user_port_in_use() {
	need socat
	local port socat
	port=$(free_port)
	socat "TCP-LISTEN:$port,bind=127.0.0.1" - </dev/null &
	socat=$!
	while ! grep -qi "0100007F:$(printf %04X "$port") 00000000:0000 0A" /proc/net/tcp; do sleep 0.02; done
	vm -nographic -netdev "user,id=n0,hostfwd=tcp::$port-:80"
	kill $socat
	wait $socat || :
	refused 71 "port $port of 127.0.0.1 is in use"
}
