/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which display is started when none was asked for: see include/display_class.h. */
#include "display_class.h"

struct display_choice display_choose(const struct display_scene *s)
{
	if (s->desktop)
		return (struct display_choice){ "sdl", "there is a desktop session" };
	if (s->terminal)
		return (struct display_choice){ "text",
						"there is no desktop session, but a terminal" };
	return (struct display_choice){ "web",
					"there is neither a desktop session nor a terminal" };
}
