/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/crash/crash.h"

bool crash_scrape(unsigned port, struct buf *out)
{
	static const char ask[] = "GET /metrics HTTP/1.0\r\n"
				  "Accept: text/plain\r\n\r\n";
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *text, *length, *body;
	ssize_t n = 0;

	buf_reset(out);
	if (fd < 0)
		crash_die("socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) < 0) {
		close(fd);
		return false;
	}
	for (;;) {
		char *at = buf_reserve(out, 65536);

		if (!at)
			crash_die("memory");
		n = read(fd, at, 65536);
		if (n <= 0)
			break;
		out->len += (size_t)n;
	}
	close(fd);
	text = buf_str(out);
	if (n < 0 || !text || strncmp(text, "HTTP/1.", 7) != 0 ||
	    strncmp(text + 8, " 200", 4) != 0)
		return false;
	body = strstr(text, "\r\n\r\n");
	length = strcasestr(text, "\r\nContent-Length:");
	return body && length && length < body &&
	       strtoull(length + 17, NULL, 10) == strlen(body + 4);
}

/* Counters that outlive the process. */
static bool lasts(const char *line)
{
	static const char *const prefix[] = {
		"http_",
		"redtap_http_",
		"redtap_agent_",
		"redtap_aggregator_batches_total",
		"redtap_aggregator_events_total",
		"redtap_aggregator_batches_duplicate_total",
	};
	static const char *const suffix[] = { "_total", "_count", "_sum",
					      "_bucket" };
	size_t name = strcspn(line, "{ ");

	for (size_t i = 0; i < sizeof(prefix) / sizeof(*prefix); i++) {
		if (strncmp(line, prefix[i], strlen(prefix[i])) != 0)
			continue;
		for (size_t k = 0; k < sizeof(suffix) / sizeof(*suffix); k++) {
			size_t len = strlen(suffix[k]);

			if (name > len &&
			    strncmp(line + name - len, suffix[k], len) == 0)
				return true;
		}
	}
	return false;
}

void crash_samples_free(struct samples *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->row[i].name);
	free(s->row);
	memset(s, 0, sizeof(*s));
}

static int by_name(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return strcmp(x->name, y->name);
}

void crash_parse(struct samples *s, struct buf *text)
{
	char *body = strstr(text->data, "\r\n\r\n") + 4, *save = NULL;

	for (char *line = strtok_r(body, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *space = strrchr(line, ' ');

		if (*line == '#' || !space || !lasts(line))
			continue;
		if (s->n == s->cap) {
			s->cap = s->cap ? 2 * s->cap : 256;
			s->row = realloc(s->row, s->cap * sizeof(*s->row));
			if (!s->row)
				crash_die("memory");
		}
		*space = 0;
		s->row[s->n].name = strdup(line);
		s->row[s->n++].value = strtod(space + 1, NULL);
	}
	if (s->n)
		qsort(s->row, s->n, sizeof(*s->row), by_name);
}

static const struct sample *find(const struct samples *s, const char *name)
{
	struct sample key = { .name = (char *)(uintptr_t)name, .value = 0 };

	if (!s->n)
		return NULL;
	return bsearch(&key, s->row, s->n, sizeof(*s->row), by_name);
}

unsigned crash_went_back(const struct samples *before,
			 const struct samples *now)
{
	unsigned n = 0;

	for (size_t i = 0; i < before->n; i++) {
		const struct sample *b = &before->row[i];
		const struct sample *s = find(now, b->name);

		if (s && s->value >= b->value)
			continue;
		if (n++ < 5)
			fprintf(stderr, "crash: %s went from %.6f to %.6f\n",
				b->name, b->value, s ? s->value : -1);
	}
	return n;
}

double crash_sum_of(const struct samples *s, const char *family,
		    const char *label, const char *value)
{
	double sum = -1;
	char want[128];

	snprintf(want, sizeof(want), "%s=\"%s\"", label, value);
	for (size_t i = 0; i < s->n; i++) {
		const char *name = s->row[i].name;

		if (strncmp(name, family, strlen(family)) != 0 ||
		    name[strlen(family)] != '{' || !strstr(name, want))
			continue;
		sum = (sum < 0 ? 0 : sum) + s->row[i].value;
	}
	return sum;
}
