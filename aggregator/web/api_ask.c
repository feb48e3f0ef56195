/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api_ask.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/web/api.h"
#include "common/cli.h"
#include "proto/batch.h"

int api_new(struct api **out, const struct api_options *opt)
{
	struct api *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->opt = *opt;
	if (batch_arena_new(&a->arena) < 0) {
		free(a);
		return -ENOMEM;
	}
	*out = a;
	return 0;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	store_reader_close(a->reader);
	batch_arena_free(a->arena);
	free(a);
}

unsigned api_open(struct api *a, struct buf *out)
{
	int err;

	if (!a->opt.store_path)
		return api_error(out, 501, "there is no store here", NULL);
	if (a->reader)
		return 0;
	err = store_reader_open(&a->reader, a->opt.store_path);
	if (err < 0)
		return api_error(out, 503, "cannot open the store",
				 strerror(-err));
	return 0;
}

const char *api_get(const struct api_query *q, const char *key)
{
	return q->get(q->arg, key);
}

int api_get_u64(const struct api_query *q, const char *key, uint64_t min,
		uint64_t max, uint64_t fallback, uint64_t *out)
{
	const char *text = api_get(q, key);

	*out = fallback;
	return text && *text ? cli_parse_u64(text, min, max, out) : 0;
}

bool api_get_flag(const struct api_query *q, const char *key)
{
	const char *text = api_get(q, key);

	return text && !strcmp(text, "1");
}

bool api_contains(const char *text, const char *what)
{
	if (!what || !*what)
		return true;
	for (; text && *text; text++) {
		size_t n = 0;

		while (what[n] && tolower((unsigned char)text[n]) ==
					  tolower((unsigned char)what[n]))
			n++;
		if (!what[n])
			return true;
	}
	return false;
}

unsigned api_bad(struct buf *out, const char *where, const char *why)
{
	return api_error(out, 400, why, where);
}

unsigned api_failed(struct buf *out, int err)
{
	if (err == -E2BIG)
		return api_error(out, 422,
				 "the answer would be too large: ask for a "
				 "shorter time",
				 "from");
	return api_error(out, 500, "cannot read the store", strerror(-err));
}
