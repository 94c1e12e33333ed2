/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's screen in a web browser: noVNC's core, and a bar above it. */
import RFB from "./core/rfb.js";

const KEY_MS = 15, AGAIN_MS = 2000;
const $ = (id) => document.getElementById(id);
let rfb, typing = 0, asking = false;

function say(text) {
	$("status").textContent = text;
}

function connect() {
	let refused = false;

	say("Connecting ...");
	rfb = new RFB($("screen"), `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/websockify`);
	rfb.scaleViewport = true;
	rfb.addEventListener("desktopname", (e) => {
		$("name").textContent = document.title = e.detail.name;
	});
	rfb.addEventListener("connect", () => {
		say("");
		rfb.focus();
	});
	rfb.addEventListener("credentialsrequired", () => {
		asking = true;
		$("password").value = "";
		$("ask").showModal();
	});
	rfb.addEventListener("securityfailure", () => {
		refused = true;
	});
	rfb.addEventListener("disconnect", () => {
		typing++;
		asking = false;
		$("ask").close();
		say(refused ? "The password was wrong; trying again ..." : "There is no connection; trying again ...");
		setTimeout(connect, AGAIN_MS);
	});
}

/* X11's number of a character. */
function keysym(c) {
	const code = c.codePointAt(0);

	if (c === "\n")
		return 0xff0d;
	if (c === "\t")
		return 0xff09;
	return code < 0x100 ? code : 0x1000000 + code;
}

/* As fast as guests read their keyboards; a new text, or the end of the connection, ends it. */
async function type(text) {
	const mine = ++typing, characters = [...text.replace(/\r\n?/g, "\n")];
	let n = 0;

	rfb.focus();
	for (const c of characters) {
		if (mine !== typing)
			return;
		say(`Typing: ${++n} of ${characters.length}`);
		rfb.sendKey(keysym(c));
		await new Promise((done) => setTimeout(done, KEY_MS));
	}
	say(`Typed: ${n} characters`);
}

async function paste() {
	let text = "";

	try {
		text = await navigator.clipboard.readText();
	} catch (e) {
		/* Not all browsers let a page read it. */
	}
	$("typed").value = text;
	$("text").returnValue = "";
	$("text").showModal();
}

async function fullScreen() {
	await document.documentElement.requestFullscreen();
	rfb.focus();
	if (navigator.keyboard)
		await navigator.keyboard.lock(); /* Alt-Tab, Esc and the like are the guest's */
}

$("keys").onclick = () => {
	rfb.sendCtrlAltDel();
	rfb.focus();
};
$("paste").onclick = paste;
$("full").onclick = fullScreen;
$("text").onclose = () => {
	if ($("text").returnValue === "type")
		type($("typed").value);
	else
		rfb.focus();
};
$("ask").onclose = () => {
	if (asking)
		rfb.sendCredentials({ password: $("password").value });
	asking = false;
};
connect();
