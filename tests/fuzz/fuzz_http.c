/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The web display's HTTP: any bytes as a request. What is taken has a path that leads nowhere but
 * below, whatever it was written like, and an answer that fits and has nothing of the request's
 * in it but an allowed host.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/display/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int ok)
{
	if (!ok)
		abort();
}

static void check_path(const char *path)
{
	expect(path[0] == '/' && strlen(path) < HTTP_PATH_MOST);
	if (!http_path_is_plain(path))
		return;
	expect(!strstr(path, "/.") && !strstr(path, "//") && !strchr(path, '\\') &&
	       !strchr(path, '%') && path[strlen(path) - 1] != '/');
	http_content_type(path);
}

static void check_answer(const struct http_request *r)
{
	struct http_answer a = { .status = 200, .type = "text/html", .host = r->host };
	char out[HTTP_ANSWER_MOST];
	size_t n = http_answer(&a, out);

	expect(n < sizeof(out) && n == strlen(out) && http_header_end(out, n) == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	size_t len = http_header_end(text, size);
	struct http_request r;
	char *header;
	int status;

	if (!len || len > HTTP_HEADER_MOST) {
		len = size < HTTP_HEADER_MOST ? size : HTTP_HEADER_MOST;
	} else {
		expect(http_header_end(text, len) == len && !http_header_end(text, len - 1));
	}
	header = malloc(len + !len); /* of just this size */
	memcpy(header, data, len);
	status = http_parse(header, len, &r);
	free(header);
	expect(!status || (status >= 400 && status < 600 && strcmp(http_reason(status), "Error")));
	if (status)
		return 0;
	check_path(r.path);
	expect(r.host[0]);
	http_origin_allowed(r.origin, r.host);
	if (http_host_allowed(r.host, "guest.example")) {
		expect(!strpbrk(r.host, " ;,'\"\r\n/@"));
		check_answer(&r);
	}
	return 0;
}
