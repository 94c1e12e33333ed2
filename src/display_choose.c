/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which display is started when none was asked for: see include/display_class.h. */
#include "display_class.h"

struct display_choice display_choose(const struct display_scene *s)
{
	if (s->desktop)
		return (struct display_choice){ "sdl", "there is a desktop session",
						"in a window" };
	if (s->terminal)
		return (struct display_choice){
			"text",
			s->no_window ? "no window can be made; Ctrl-A h: help"
				     : "there is no desktop session; Ctrl-A h: help",
			"in this terminal",
		};
	return (struct display_choice){
		"web",
		s->no_window ? "no window can be made, and there is no free terminal"
			     : "there is neither a desktop session nor a free terminal",
		NULL,
	};
}

bool display_choose_next(struct display_scene *s)
{
	bool left = s->desktop || s->terminal;

	if (s->desktop)
		s->no_window = true;
	else
		s->terminal = false;
	s->desktop = false;
	return left;
}
