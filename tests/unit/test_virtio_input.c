/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-input: what the configuration space shows, groups of events that come whole or not at
 * all, what is told late, and lamps (virtio 1.2, section 5.8).
 */
#include "fake_virtio.h"

#include <linux/input-event-codes.h>
#include <stdio.h>

#include "input.h"

enum { EVENTS = 0x10000, STATUS = 0x20000, DATA = 0x100000, SIZE = 64, CONFIG = 0x100 };

extern const struct dev_class virtio_keyboard_pci_class, virtio_mouse_pci_class,
	virtio_tablet_pci_class;
extern const struct dev_class virtio_keyboard_mmio_class, virtio_mouse_mmio_class,
	virtio_tablet_mmio_class;

static struct virtio_dev *v;
static struct gring events, status;
static unsigned given, taken; /* event buffers */
static unsigned lamps, lamps_told;

static void set(unsigned reg, uint32_t val)
{
	guest_write(&fake.m.mmio, v->mmio.base + reg, val, 4);
}

static void set_queue(unsigned n, const struct gring *r)
{
	set(0x30, n);
	set(0x38, r->size);
	set(0x80, (uint32_t)r->desc);
	set(0x90, (uint32_t)r->avail);
	set(0xa0, (uint32_t)r->used);
	set(0x44, 1);
}

/* A driver that is up, and has given no buffer. */
static void drive(void)
{
	set(0x70, 0);
	set(0x70, 3);
	set(0x24, 1);
	set(0x20, 1);
	set(0x70, 11);
	events = gring_at(EVENTS, SIZE);
	status = gring_at(STATUS, SIZE);
	given = taken = 0;
	set_queue(0, &events);
	set_queue(1, &status);
	set(0x70, 15);
	fake_loop_run();
	ck_assert_uint_eq(v->status, 15);
}

static void start(const struct dev_class *cls)
{
	v = (struct virtio_dev *)fake_add(cls, "");
	drive();
}

static void ring(unsigned queue)
{
	set(0x50, queue);
	fake_loop_run();
}

/* n buffers for an event each, without ringing. */
static void give(unsigned n)
{
	while (n--) {
		memset(gmem_ptr(&fake.m.mem, DATA + 16 * (given % SIZE), 16), 0xee, 16);
		gring_add(&events, DATA + 16 * (given++ % SIZE), 8, true);
	}
}

static bool kick_wanted(void)
{
	return !(get16(events.used) & 1);
}

/* The events that came since the last time, as text; groups end with a bar. */
static const char *came(void)
{
	static const char *const type[] = { "syn", "key", "rel", "abs" };
	static char text[2048];
	size_t n = 0;

	text[0] = 0;
	for (; taken != gring_used(&events); taken++) {
		uint64_t at = DATA + 16 * (taken % SIZE);

		ck_assert_uint_eq(gring_used_len(&events, taken), 8);
		ck_assert_uint_eq(get32(at + 8), 0xeeeeeeee);
		ck_assert_uint_le(get16(at), EV_ABS);
		if (get16(at) == EV_SYN) {
			ck_assert_uint_eq(get16(at + 2), SYN_REPORT);
			ck_assert_uint_eq(get32(at + 4), 0);
			n += (size_t)snprintf(text + n, sizeof(text) - n, "|");
		} else {
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%x=%d ",
					      type[get16(at)], get16(at + 2), (int)get32(at + 4));
		}
	}
	return text;
}

/* --- configuration space ------------------------------------------------------------ */

static uint8_t config8(unsigned off)
{
	return (uint8_t)guest_read(&fake.m.mmio, v->mmio.base + CONFIG + off, 1);
}

static uint32_t config32(unsigned off)
{
	return (uint32_t)guest_read(&fake.m.mmio, v->mmio.base + CONFIG + off, 4);
}

static unsigned choose(unsigned sel, unsigned subsel)
{
	guest_write(&fake.m.mmio, v->mmio.base + CONFIG, sel, 1);
	guest_write(&fake.m.mmio, v->mmio.base + CONFIG + 1, subsel, 1);
	ck_assert_uint_eq(config8(0), sel);
	ck_assert_uint_eq(config8(1), subsel);
	return config8(2);
}

static const char *string(unsigned sel)
{
	static char text[129];
	unsigned n = choose(sel, 0);

	ck_assert_uint_le(n, 128);
	for (unsigned i = 0; i < n; i++)
		text[i] = (char)config8(8 + i);
	text[n] = 0;
	return text;
}

static bool has(unsigned type, unsigned code)
{
	return code / 8 < choose(0x11, type) && config8(8 + code / 8) >> code % 8 & 1;
}

START_TEST(identity)
{
	static const struct {
		const struct dev_class *cls;
		unsigned class_code;
	} devs[] = {
		{ &virtio_keyboard_pci_class, 0x0900 },
		{ &virtio_mouse_pci_class, 0x0902 },
		{ &virtio_tablet_pci_class, 0x0980 },
	};

	fake_add(&i440fx_class, "");
	for (unsigned i = 0; i < 3; i++) {
		v = (struct virtio_dev *)fake_add(devs[i].cls, "");
		ck_assert_uint_eq(pci_config_read(&fake.m, v->pci.fn.devfn, 0, 4), 0x10521af4);
		ck_assert_uint_eq(pci_config_read(&fake.m, v->pci.fn.devfn, 10, 2),
				  devs[i].class_code);
	}
}
END_TEST

START_TEST(keyboard_config)
{
	v = (struct virtio_dev *)fake_add(&virtio_keyboard_mmio_class, "serial=one-two");
	ck_assert_uint_eq(config8(2), 0);
	ck_assert_str_eq(string(1), "Posada virtio keyboard");
	ck_assert_str_eq(string(2), "one-two");
	ck_assert_uint_eq(choose(3, 0), 8);
	ck_assert_uint_eq(config32(8), 0x1af40006);
	ck_assert_uint_eq(config32(12), 0x00010001);
	ck_assert_uint_eq(config32(16), 0); /* nothing of the string is left */
	ck_assert_uint_eq(choose(0x10, 0), 0);
	ck_assert(!has(EV_KEY, KEY_RESERVED) && has(EV_KEY, KEY_ESC) && has(EV_KEY, KEY_MENU));
	ck_assert(has(EV_KEY, KEY_MICMUTE) && !has(EV_KEY, BTN_LEFT));
	ck_assert_uint_eq(choose(0x11, EV_REP), 1);
	ck_assert(has(EV_LED, LED_NUML) && has(EV_LED, LED_CAPSL) && has(EV_LED, LED_SCROLLL));
	ck_assert(!has(EV_LED, LED_COMPOSE));
	ck_assert_uint_eq(choose(0x11, EV_REL), 0);
	ck_assert_uint_eq(choose(0x11, EV_ABS), 0);
	ck_assert_uint_eq(choose(0x12, ABS_X), 0);
}
END_TEST

START_TEST(mouse_config)
{
	v = (struct virtio_dev *)fake_add(&virtio_mouse_mmio_class, "");
	ck_assert_str_eq(string(1), "Posada virtio mouse");
	ck_assert_str_eq(string(2), "");
	for (unsigned code = BTN_LEFT; code <= BTN_EXTRA; code++)
		ck_assert(has(EV_KEY, code));
	ck_assert(!has(EV_KEY, BTN_FORWARD) && !has(EV_KEY, KEY_A));
	ck_assert(has(EV_REL, REL_X) && has(EV_REL, REL_Y) && has(EV_REL, REL_WHEEL));
	ck_assert(!has(EV_REL, REL_Z) && !has(EV_REL, REL_HWHEEL));
	ck_assert_uint_eq(choose(0x11, EV_ABS), 0);
	ck_assert_uint_eq(choose(0x12, ABS_X), 0);
	ck_assert_uint_eq(choose(0x11, EV_REP), 0);
}
END_TEST

START_TEST(tablet_config)
{
	v = (struct virtio_dev *)fake_add(&virtio_tablet_mmio_class, "");
	ck_assert_str_eq(string(1), "Posada virtio tablet");
	ck_assert(has(EV_KEY, BTN_LEFT) && has(EV_KEY, BTN_EXTRA));
	ck_assert(has(EV_ABS, ABS_X) && has(EV_ABS, ABS_Y) && !has(EV_ABS, ABS_Z));
	ck_assert(has(EV_REL, REL_WHEEL) && !has(EV_REL, REL_X));
	for (unsigned axis = ABS_X; axis <= ABS_Y; axis++) {
		ck_assert_uint_eq(choose(0x12, axis), 20);
		ck_assert_uint_eq(config32(8), 0);
		ck_assert_uint_eq(config32(12), 32767);
		ck_assert_uint_eq(config32(16) | config32(20) | config32(24), 0);
	}
	ck_assert_uint_eq(choose(0x12, ABS_Z), 0);
	ck_assert_uint_eq(config32(12), 0);
}
END_TEST

START_TEST(every_selection)
{
	static const struct dev_class *const cls[] = { &virtio_keyboard_mmio_class,
						       &virtio_mouse_mmio_class,
						       &virtio_tablet_mmio_class };

	for (unsigned i = 0; i < 3; i++) {
		v = (struct virtio_dev *)fake_add(cls[i], "");
		for (unsigned sel = 0; sel < 256; sel++)
			for (unsigned subsel = 0; subsel < 256; subsel++) {
				unsigned size = choose(sel, subsel);

				ck_assert_uint_le(size, 128);
				if (sel != 0x11 && (sel != 0x12 || subsel > ABS_Y) && subsel)
					ck_assert_uint_eq(size, 0);
				/* There is nothing after what is there. */
				for (unsigned off = 8 + (size + 3) / 4 * 4; off < 136; off += 28)
					ck_assert_uint_eq(config32(off), 0);
			}
	}
}
END_TEST

START_TEST(config_writes)
{
	v = (struct virtio_dev *)fake_add(&virtio_keyboard_mmio_class, "");
	/* Both at once, and what else is in the same write. */
	guest_write(&fake.m.mmio, v->mmio.base + CONFIG, 0xffff1211, 4);
	ck_assert_uint_eq(config32(0), 0x00001211);
	guest_write(&fake.m.mmio, v->mmio.base + CONFIG, 0x1111, 2);
	ck_assert_uint_eq(config32(0), 0x00011111);
	/* Beyond the end, and what is not to be written */
	for (unsigned off = 2; off < 160; off++)
		guest_write(&fake.m.mmio, v->mmio.base + CONFIG + off, 0xff, 1);
	ck_assert_uint_eq(config32(0), 0x00011111);
	ck_assert_uint_eq(config32(4), 0);
	ck_assert_uint_eq(config32(8), 0x00000007);
	ck_assert_uint_eq(config32(136), 0);
	drive(); /* which resets it */
	ck_assert_uint_eq(config32(0), 0);
}
END_TEST

START_TEST(long_serial)
{
	char text[160] = "serial=";
	struct err e;

	memset(text + 7, 'x', 128);
	v = (struct virtio_dev *)fake_add(&virtio_mouse_mmio_class, text);
	ck_assert_uint_eq(strlen(string(2)), 128);
	text[7 + 128] = 'x';
	ck_assert_int_lt(fake_try_add(&virtio_mouse_mmio_class, text, NULL, &e), 0);
	ck_assert_ptr_nonnull(strstr(e.msg, "serial=xxx"));
}
END_TEST

/* --- events ------------------------------------------------------------------------------ */

START_TEST(keys)
{
	start(&virtio_keyboard_mmio_class);
	give(32);
	ring(0);
	ck_assert_str_eq(came(), "");
	ck_assert(!kick_wanted());
	input_key(&fake.m, KEY_A, true);
	input_key(&fake.m, KEY_A, true); /* the guest repeats it */
	input_key(&fake.m, KEY_LEFTSHIFT, true);
	ck_assert_str_eq(came(), "key1e=1 |key2a=1 |");
	input_key(&fake.m, KEY_A, false);
	input_key(&fake.m, KEY_A, false);
	ck_assert_str_eq(came(), "key1e=0 |");
	input_key(&fake.m, KEY_BRIGHTNESS_MIN, true); /* a laptop has it */
	input_key(&fake.m, 255, true);
	input_key(&fake.m, 256, true);
	input_release_all(&fake.m);
	ck_assert_str_eq(came(), "keyff=1 |key2a=0 |keyff=0 |");
	ck_assert(!kick_wanted());
}
END_TEST

START_TEST(mouse)
{
	start(&virtio_mouse_mmio_class);
	ck_assert(!input_absolute(&fake.m));
	give(64);
	ring(0);
	input_move(&fake.m, 5, -3, 0, 0);
	input_move(&fake.m, 0, 0, -2, INPUT_LEFT | INPUT_EXTRA);
	input_move(&fake.m, 0, 0, 0, INPUT_LEFT | INPUT_EXTRA);
	input_move(&fake.m, -100000, 0, 0, INPUT_LEFT | INPUT_RIGHT | INPUT_MIDDLE | INPUT_SIDE);
	ck_assert_str_eq(came(), "rel0=5 rel1=-3 |rel8=-2 key110=1 key114=1 |"
				 "rel0=-100000 key111=1 key112=1 key113=1 key114=0 |");
	input_point(&fake.m, 100, 100, 1, 0); /* only the wheel and the buttons of it */
	ck_assert_str_eq(came(), "rel8=1 key110=0 key111=0 key112=0 key113=0 |");
	input_move(&fake.m, 0, 0, 0, ~0u);
	ck_assert_str_eq(came(), "key110=1 key111=1 key112=1 key113=1 key114=1 |");
}
END_TEST

START_TEST(tablet)
{
	start(&virtio_tablet_mmio_class);
	ck_assert(input_absolute(&fake.m));
	give(64);
	ring(0);
	input_point(&fake.m, 0, 0, 0, 0);
	input_point(&fake.m, 0, 0, 0, 0);
	input_point(&fake.m, 32767, 5, 0, INPUT_LEFT);
	input_point(&fake.m, 40000, 6, 1, INPUT_LEFT);
	ck_assert_str_eq(came(), "abs0=0 abs1=0 |abs0=32767 abs1=5 key110=1 |abs1=6 rel8=1 |");
	input_move(&fake.m, 100, 100, -1, 0);
	ck_assert_str_eq(came(), "rel8=-1 key110=0 |");
}
END_TEST

/* --- without buffers -------------------------------------------------------------------------- */

START_TEST(whole_or_not_at_all)
{
	start(&virtio_mouse_mmio_class);
	give(5);
	ring(0);
	input_move(&fake.m, 1, 1, 0, 0); /* takes 3 */
	ck_assert_str_eq(came(), "rel0=1 rel1=1 |");
	input_move(&fake.m, 2, 2, 0, 0); /* there are 2 */
	ck_assert_uint_eq(gring_used(&events), 3);
	input_move(&fake.m, 3, 0, 0, 0);
	ck_assert_str_eq(came(), "rel0=3 |");
	/* One at a time: a group goes when there are as many as it needs. */
	for (unsigned n = 1; n <= 9; n++) {
		give(1);
		ck_assert_str_eq(came(), "");
		input_move(&fake.m, 1, 1, 1, 0x1f);
	}
	ck_assert_str_eq(came(), "rel0=1 rel1=1 rel8=1 key110=1 key111=1 key112=1 key113=1 "
				 "key114=1 |");
}
END_TEST

START_TEST(buttons_are_told_late)
{
	start(&virtio_mouse_mmio_class);
	ring(0);
	input_move(&fake.m, 9, 9, 0, INPUT_LEFT);
	ck_assert(kick_wanted());
	give(1);
	ring(0);
	ck_assert_str_eq(came(), "");
	ck_assert(kick_wanted());
	give(1);
	ring(0);
	ck_assert_str_eq(came(), "key110=1 |");
	input_move(&fake.m, 9, 9, 0, 0);
	input_move(&fake.m, 0, 0, 0, INPUT_LEFT); /* so nothing has changed */
	give(8);
	ring(0);
	ck_assert_str_eq(came(), "");
	ck_assert(!kick_wanted());
	input_move(&fake.m, 9, 0, 0, 0);
	ck_assert_str_eq(came(), "rel0=9 key110=0 |");
}
END_TEST

START_TEST(a_place_is_told_late)
{
	start(&virtio_tablet_mmio_class);
	ring(0);
	for (unsigned i = 0; i < 100; i++)
		input_point(&fake.m, i, 2 * i, 1, i == 50 ? INPUT_LEFT : 0);
	give(8);
	ring(0);
	ck_assert_str_eq(came(), "abs0=99 abs1=198 |");
	input_point(&fake.m, 99, 0, 0, 0);
	ck_assert_str_eq(came(), "abs1=0 |");
}
END_TEST

START_TEST(releases_are_told_late)
{
	start(&virtio_keyboard_mmio_class);
	give(4);
	ring(0);
	input_key(&fake.m, KEY_A, true);
	input_key(&fake.m, KEY_B, true);
	input_key(&fake.m, KEY_C, true); /* dropped */
	ck_assert_str_eq(came(), "key1e=1 |key30=1 |");
	input_key(&fake.m, KEY_C, false); /* and so is this */
	input_key(&fake.m, KEY_A, false);
	input_key(&fake.m, KEY_B, false);
	input_key(&fake.m, KEY_D, true);
	ck_assert_str_eq(came(), "");
	give(3);
	ring(0);
	ck_assert_str_eq(came(), "key1e=0 |");
	/* Buffers, but no doorbell yet: what is new does not overtake. */
	give(5);
	input_key(&fake.m, KEY_E, true);
	ck_assert_str_eq(came(), "key30=0 |key12=1 |");
	give(8);
	ring(0);
	ck_assert_str_eq(came(), "");
	input_key(&fake.m, KEY_D, false);
	input_key(&fake.m, KEY_E, false);
	ck_assert_str_eq(came(), "key12=0 |");
}
END_TEST

START_TEST(reset_and_again)
{
	start(&virtio_keyboard_mmio_class);
	give(3);
	ring(0);
	input_key(&fake.m, KEY_A, true);
	input_key(&fake.m, KEY_A, false); /* has one buffer in hand, and waits */
	ck_assert_str_eq(came(), "key1e=1 |");
	drive();
	/* The new driver knows nothing, so nothing is owed to it. */
	give(8);
	ring(0);
	ck_assert_str_eq(came(), "");
	input_key(&fake.m, KEY_A, true);
	ck_assert_str_eq(came(), "key1e=1 |");
	set(0x70, 0);
	input_key(&fake.m, KEY_A, false);
	input_key(&fake.m, KEY_B, true);
	drive();
	give(8);
	ring(0);
	ck_assert_str_eq(came(), "");
}
END_TEST

START_TEST(reset_with_a_button_down)
{
	start(&virtio_tablet_mmio_class);
	give(8);
	ring(0);
	input_point(&fake.m, 5, 6, 0, INPUT_LEFT);
	ck_assert_str_eq(came(), "abs0=5 abs1=6 key110=1 |");
	drive();
	give(8);
	ring(0);
	ck_assert_str_eq(came(), "");
	input_point(&fake.m, 5, 6, 0, INPUT_LEFT);
	ck_assert_str_eq(came(), "abs0=5 abs1=6 key110=1 |");
}
END_TEST

/* --- a driver that breaks the rules ------------------------------------------------------------
 */

START_TEST(short_event_buffer)
{
	start(&virtio_keyboard_mmio_class);
	gring_add(&events, DATA, 7, true);
	ring(0);
	input_key(&fake.m, KEY_A, true);
	ck_assert_uint_eq(v->status, 15 | VIRTIO_NEEDS_RESET);
	ck_assert_uint_eq(gring_used(&events), 0);
	input_key(&fake.m, KEY_A, false); /* it has no keyboard now */
	drive();
	give(2);
	ring(0);
	input_key(&fake.m, KEY_B, true);
	ck_assert_str_eq(came(), "key30=1 |");
}
END_TEST

START_TEST(read_only_event_buffer)
{
	start(&virtio_keyboard_mmio_class);
	gring_add(&events, DATA, 8, false);
	ring(0);
	input_key(&fake.m, KEY_A, true);
	ck_assert_uint_eq(v->status, 15 | VIRTIO_NEEDS_RESET);
}
END_TEST

START_TEST(event_buffer_outside_ram)
{
	start(&virtio_tablet_mmio_class);
	gring_add(&events, 0xfffffff0, 8, true);
	ring(0);
	input_point(&fake.m, 1, 1, 0, 0);
	ck_assert_uint_eq(v->status, 15 | VIRTIO_NEEDS_RESET);
}
END_TEST

START_TEST(event_buffer_in_pieces)
{
	start(&virtio_keyboard_mmio_class);
	for (unsigned i = 0; i < 8; i++) /* of a byte each, eight bytes apart */
		gring_desc(&events, i, DATA + 8 * i, 1, i < 7 ? 3 : 2, i + 1);
	gring_desc(&events, 8, DATA + 0x1000, 4096, 2, 0);
	gring_avail(&events, 0);
	gring_avail(&events, 8);
	ring(0);
	input_key(&fake.m, KEY_A, true);
	ck_assert_uint_eq(gring_used(&events), 2);
	ck_assert_uint_eq(gring_used_len(&events, 0), 8);
	ck_assert_uint_eq(gring_used_len(&events, 1), 8);
	ck_assert_uint_eq(get16(DATA) & 0xff, EV_KEY);
	ck_assert_uint_eq(get16(DATA + 16) & 0xff, KEY_A);
	ck_assert_uint_eq(get16(DATA + 32) & 0xff, 1);
}
END_TEST

/* --- lamps -------------------------------------------------------------------------------------
 */

static void lamps_changed(void *ctx, unsigned leds)
{
	lamps = leds;
	lamps_told++;
}

static struct input_listener listener = { .leds = lamps_changed };

static void send_status(unsigned type, unsigned code, unsigned value, unsigned len)
{
	put16(DATA, (uint16_t)type);
	put16(DATA + 2, (uint16_t)code);
	put16(DATA + 4, (uint16_t)value);
	put16(DATA + 6, 0);
	gring_add(&status, DATA, len, false);
	ring(1);
	fake_advance(1);
}

START_TEST(leds)
{
	start(&virtio_keyboard_mmio_class);
	input_listen(&fake.m, &listener);
	send_status(EV_LED, LED_CAPSL, 1, 8);
	ck_assert_uint_eq(lamps, INPUT_LED_CAPS);
	send_status(EV_LED, LED_NUML, 1, 8);
	send_status(EV_LED, LED_SCROLLL, 1, 8);
	send_status(EV_LED, LED_CAPSL, 0, 8);
	ck_assert_uint_eq(lamps, INPUT_LED_NUM | INPUT_LED_SCROLL);
	lamps_told = 0;
	/* What it has no lamp for, and what is no lamp */
	send_status(EV_LED, LED_COMPOSE, 1, 8);
	send_status(EV_LED, 0xffff, 1, 8);
	send_status(EV_REP, REP_DELAY, 250, 8);
	send_status(EV_SYN, 0, 0, 8);
	send_status(0xffff, LED_CAPSL, 1, 8);
	send_status(EV_LED, LED_CAPSL, 1, 7); /* too short */
	ck_assert_uint_eq(lamps_told, 0);
	ck_assert_uint_eq(gring_used(&status), 10);
	ck_assert_uint_eq(gring_used_len(&status, 9), 0);
	ck_assert_uint_eq(v->status, 15);
	set(0x70, 0);
	fake_advance(1);
	ck_assert_uint_eq(lamps, 0);
	input_unlisten(&fake.m, &listener);
}
END_TEST

/* More status events than are looked at in one go */
START_TEST(many_status_events)
{
	start(&virtio_keyboard_mmio_class);
	for (unsigned i = 0; i < SIZE; i++)
		gring_add(&status, DATA, 8, false);
	ring(1);
	ck_assert_uint_eq(gring_used(&status), SIZE);
}
END_TEST

START_TEST(hostile_rings)
{
	uint64_t seed = 1;

	start(&virtio_mouse_mmio_class);
	for (unsigned round = 0; round < 20000; round++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		gring_desc(&events, seed >> 33 & 63, DATA + (seed >> 40 & 0xff),
			   (seed >> 48 & 15) == 0 ? 0xffffffff : seed >> 48 & 15, seed >> 52 & 3,
			   seed >> 54 & 127);
		gring_avail(seed >> 60 & 1 ? &events : &status, seed >> 33 & 63);
		input_move(&fake.m, (int)seed, round & 1, 1, (unsigned)(seed >> 35));
		if (!(seed >> 61))
			ring(seed >> 36 & 1);
		if (v->status & VIRTIO_NEEDS_RESET)
			drive();
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		identity,
		keyboard_config,
		mouse_config,
		tablet_config,
		every_selection,
		config_writes,
		long_serial,
		keys,
		mouse,
		tablet,
		whole_or_not_at_all,
		buttons_are_told_late,
		a_place_is_told_late,
		releases_are_told_late,
		reset_and_again,
		reset_with_a_button_down,
		short_event_buffer,
		read_only_event_buffer,
		event_buffer_outside_ram,
		event_buffer_in_pieces,
		leds,
		many_status_events,
		hostile_rings,
	};

	return fake_virtio_main("virtio-input", tests, sizeof(tests) / sizeof(tests[0]));
}
