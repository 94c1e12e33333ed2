/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of src/display/web, put into the program when it is built. Any thread. */
#include <string.h>

#include "web.h"

#define EMBED(name, file)                                                                          \
	__asm__(".pushsection .rodata\n" #name ": .incbin \"src/display/web/" file "\"\n" #name    \
		"_end:\n.popsection\n");                                                           \
	extern const char name[], name##_end[]

EMBED(web_index_html, "index.html");
EMBED(web_posada_css, "posada.css");
EMBED(web_posada_js, "posada.js");

const struct web_page *web_page_find(const char *path)
{
	static struct web_page pages[] = {
		{ "/index.html", web_index_html, 0 },
		{ "/posada.css", web_posada_css, 0 },
		{ "/posada.js", web_posada_js, 0 },
	};

	pages[0].len = (size_t)(web_index_html_end - web_index_html);
	pages[1].len = (size_t)(web_posada_css_end - web_posada_css);
	pages[2].len = (size_t)(web_posada_js_end - web_posada_js);
	if (!strcmp(path, "/"))
		path = pages[0].path;
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		if (!strcmp(path, pages[i].path))
			return &pages[i];
	return NULL;
}
