/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "probe-agent/outbox/uplink_state.h"

/*
 * Where an aggregator on this host keeps its token: what the packages made for
 * both, or what it made itself. That of another host is never guessed.
 */
static const char *const usual[UPLINK_TOKENS] = {
	"/etc/redtap/tls/ingest.token",
	"/run/redtap/ingest.token",
	"/var/lib/redtap/ingest.token",
};

static bool is_loopback(const char *url)
{
	const char *host = url ? strstr(url, "://") : NULL;

	return host && (strncmp(host + 3, "127.", 4) == 0 ||
			strncasecmp(host + 3, "localhost:", 10) == 0 ||
			strncmp(host + 3, "[::1]:", 6) == 0);
}

static int add_file(struct uplink_secret *s, const char *file)
{
	s->file[s->n] = strdup(file);
	return s->file[s->n++] ? 0 : -ENOMEM;
}

int uplink_token_open(struct uplink_secret *s, const struct uplink_options *opt)
{
	int err = 0;

	*s = (struct uplink_secret){ .n = 0 };
	if (opt->token_file) {
		err = add_file(s, opt->token_file);
		if (!err)
			err = token_read(&s->token, opt->token_file);
		if (err < 0)
			log_error("token file cannot be used file=%s "
				  "error=\"%s\"",
				  opt->token_file,
				  err == -EINVAL
					  ? "its first line is not a token"
					  : strerror(-err));
		return err < 0 && err != -ENOMEM ? -EINVAL : err;
	}
	for (size_t i = 0; i < UPLINK_TOKENS && is_loopback(opt->url) && !err;
	     i++)
		err = add_file(s, usual[i]);
	for (size_t i = 0; i < s->n && s->token.len == 0; i++)
		if (s->file[i] && token_read(&s->token, s->file[i]) == 0)
			s->current = i;
	return err;
}

void uplink_token_again(struct uplink_secret *s)
{
	struct token fresh;

	/* The one in use, then the others: it may have changed. */
	for (size_t i = 0; i < s->n; i++) {
		size_t k = (s->current + i) % s->n;

		if (token_read(&fresh, s->file[k]) < 0 ||
		    token_equal(&fresh, s->token.text, s->token.len))
			continue;
		s->token = fresh;
		s->current = k;
		return;
	}
}

void uplink_token_fini(struct uplink_secret *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->file[i]);
	explicit_bzero(s, sizeof(*s));
}
