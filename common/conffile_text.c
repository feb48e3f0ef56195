/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conffile_text.h"

#include <string.h>

#include "common/conffile_walk.h"
#include "common/log.h"

int conffile_text_load(struct conffile_text *t, const char *path,
		       const struct conffile_schema *of)
{
	const struct buf *w = &t->written;
	int err;

	*t = (struct conffile_text){ .path = path };
	err = conffile_read(&t->written, path, &t->error);
	if (!err)
		err = conffile_check_ranges(of->ranges, of->n_ranges, w->data,
					    w->len, &t->error);
	if (!err)
		err = conffile_check_rules(of->rules, of->n_rules, w->data,
					   w->len, &t->error);
	if (!err)
		err = conffile_resolve_units(of->ranges, of->n_ranges, w->data,
					     w->len, &t->plain, &t->shifts);
	return err;
}

void conffile_text_fini(struct conffile_text *t)
{
	buf_fini(&t->written);
	buf_fini(&t->plain);
}

void conffile_text_report(struct conffile_text *t, int err)
{
	/* Only the YAML library's places are in the other text. */
	conffile_unshift(&t->shifts, &t->error);
	log_error("%s:%u:%u: %s", t->path, t->error.line, t->error.column,
		  t->error.what[0] ? t->error.what : strerror(-err));
}

void conffile_text_wrong(const struct conffile_text *t, const char *key,
			 unsigned n, const char *what)
{
	unsigned line, column;

	if (t->path && conffile_find(t->written.data, t->written.len, key, n,
				     &line, &column))
		log_error("%s:%u:%u: %s: %s", t->path, line, column, key, what);
	else
		log_error("wrong configuration key=%s error=\"%s\"", key, what);
}
