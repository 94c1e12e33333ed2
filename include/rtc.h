/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CMOS memory, as a board's firmware finds it. See hw/isa/rtc.c. */
#ifndef POSADA_RTC_H
#define POSADA_RTC_H

#include <stdint.h>

struct machine;

/* A byte of CMOS that is not the clock's. Does nothing without a clock. Main thread, no vCPU runs.
 */
void rtc_set_cmos(struct machine *m, unsigned reg, uint8_t val);

#endif
