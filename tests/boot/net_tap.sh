# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Linux with a network card on a tap, in a network of its own: name spaces that nobody else sees.

# From now on posada and in_net are in a new network, with the tap tap0 (10.77.0.1/24, MTU 9000).
new_net() {
	need ip unshare nsenter busybox
	unshare -rn true 2>/dev/null || skip "no name spaces for this user"
	[ -w /dev/net/tun ] || skip "no /dev/net/tun"
	mkfifo "$T/net_up"
	unshare -rn sh -c 'ip link set lo up && ip tuntap add dev tap0 mode tap vnet_hdr &&
		ip address add 10.77.0.1/24 dev tap0 && ip link set tap0 mtu 9000 up
		echo $? >'"$T/net_up"'; exec sleep 600' &
	netns=$!
	trap 'kill $netns 2>/dev/null || :' EXIT
	read -r made <"$T/net_up"
	[ "$made" = 0 ] || fail "no network: $made"
	printf '#!/bin/sh\nexec nsenter -U -n --preserve-credentials -t %s %s "$@"\n' "$netns" "$POSADA" >"$T/posada"
	chmod +x "$T/posada"
	POSADA=$T/posada
}
in_net() {
	nsenter -U -n --preserve-credentials -t "$netns" "$@"
}
link() { # on|off
	local up=true
	[ "$1" = on ] || up=false
	qmp '{"execute":"set_link","arguments":{"name":"n0","up":'$up'}}' >"$T/answer"
	expect_not "$T/answer" '"error"'
}
# The guest in the background, its interface set up with this MTU.
guest_on_tap() { # MTU [OPTION OF -netdev]
	linux_in_background -netdev "tap,id=n0,ifname=tap0,script=no,downscript=no${2:-}" \
		-device virtio-net-pci,netdev=n0,mac=52:54:00:77:00:02
	in_guest -s "ip link set eth0 mtu $1 up && ip address add 10.77.0.2/24 dev eth0 && echo net_\"\"is_up\r" -e '^net_is_up'
}
end_net() {
	kill -TERM "$vm"
	wait_vm
	expect_status 0
}

limit[linux_net_tap]=290
t_linux_net_tap() { # ping and files both ways, a pcap of it
	new_net
	guest_on_tap 1500 ",pcap=$T/n0.pcap"
	in_net busybox ping -c 3 -W 20 10.77.0.2 >"$T/ping" || fail "no answer from the guest: $(cat "$T/ping")"
	in_guest -s 'ping -c 3 -W 20 10.77.0.1 | tail -n 2\r' -e '^3 packets transmitted, 3 packets received'

	mkdir "$T/www"
	head -c 2097152 /dev/urandom >"$T/www/file"
	sum=$(md5sum <"$T/www/file" | cut -c1-32)
	(exec nsenter -U -n --preserve-credentials -t "$netns" busybox httpd -f -p 10.77.0.1:8000 -h "$T/www") &
	server=$!
	in_guest -s 'mkdir -p /tmp/www; until wget -q -O /tmp/www/file http://10.77.0.1:8000/file; do :; done; md5sum /tmp/www/file\r' -e "^$sum"
	kill "$server"
	wait "$server" || :
	in_guest -s 'httpd -p 80 -h /tmp/www; echo serv""ing\r' -e '^serving'
	in_net busybox wget -q -O "$T/back" http://10.77.0.2/file || fail "the guest serves no file"
	cmp "$T/www/file" "$T/back" || fail "the file has changed on its way back"

	if command -v tcpdump >/dev/null; then
		tcpdump -n -r "$T/n0.pcap" 'icmp or arp' >"$T/dump" 2>/dev/null || fail "tcpdump does not read the pcap file"
		expect_in "$T/dump" '10.77.0.1 > 10.77.0.2: ICMP echo request' '10.77.0.2 > 10.77.0.1: ICMP echo reply'
	fi
	end_net
}

limit[linux_net_tap_link]=290
t_linux_net_tap_link() { # frames of 9000 bytes; the cable is pulled out and put in
	new_net
	guest_on_tap 9000
	in_net busybox ping -c 2 -W 20 -s 8900 10.77.0.2 >"$T/ping" || fail "no large answer: $(cat "$T/ping")"
	link off
	in_guest -s 'until [ "$(cat /sys/class/net/eth0/carrier)" = 0 ]; do :; done; echo is_""off\r' -e '^is_off'
	! in_net busybox ping -c 1 -W 2 10.77.0.2 >"$T/ping" || fail "an answer through a cable that is out"
	link on
	in_guest -s 'until [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do :; done; echo is_""on\r' -e '^is_on'
	in_net busybox ping -c 2 -W 20 10.77.0.2 >"$T/ping" || fail "no answer after the cable is in again: $(cat "$T/ping")"
	end_net
}

t_net_tap_bad() {
	need_root
	need_kvm
	need setpriv
	# Somebody without rights, in the host's own network: nothing is made.
	cp "$POSADA" "$T/posada"
	chmod 755 "$T/posada"
	run setpriv --reuid 65534 --regid "$(stat -c %g /dev/kvm)" --clear-groups "$T/posada" -nographic \
		-netdev tap,id=n0,ifname=posada-none -device virtio-net-pci,netdev=n0
	refused 71 'ifname=posada-none: there is no such tap, and this user may not make one' 'sudo ip tuntap add dev posada-none mode tap user'
	new_net
	vm -nographic -netdev tap,id=n0,ifname=lo -device virtio-net-pci,netdev=n0
	refused 71 'ifname=lo: this interface exists and is not a tap'
	vm -nographic -netdev tap,id=n0,br=nobridge -device virtio-net-pci,netdev=n0
	refused 71 'br=nobridge: there is no such bridge' 'ip link add nobridge type bridge'
	vm -nographic -netdev tap,id=n0,ifname=tap0,vhost=on -device virtio-net-pci,netdev=n0
	refused 64 'vhost=on: not supported' 'vhost=off'
}
