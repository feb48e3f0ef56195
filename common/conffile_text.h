/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_TEXT_H
#define COMMON_CONFFILE_TEXT_H

#include <stddef.h>

#include "common/conffile.h"
#include "common/conffile_ranges.h"
#include "common/conffile_rules.h"

/*
 * A configuration file on its way to the YAML library: read, expanded, checked
 * against ranges and rules, and with units written out. Kept until everything
 * is checked, so that each message can name a place in the file. Owned by the
 * caller; main thread only.
 */
struct conffile_schema {
	const struct conffile_range *ranges;
	size_t n_ranges;
	const struct conffile_rule *rules;
	size_t n_rules;
};

struct conffile_text {
	const char *path; /* borrowed; NULL: there is no file */
	struct buf written; /* expanded: messages name places in this text */
	struct buf plain; /* with units written out, for the YAML library */
	struct conffile_shifts shifts;
	struct conffile_error error;
};

/*
 * Reads and checks a file. -EINVAL; -ENOMEM; or the error of reading it. In any
 * case the caller releases *t with conffile_text_fini(), and after an error
 * logs it with conffile_text_report().
 */
int conffile_text_load(struct conffile_text *t, const char *path,
		       const struct conffile_schema *of);
void conffile_text_fini(struct conffile_text *t);

/* Logs t->error with file, line and column; err if there is no text in it. */
void conffile_text_report(struct conffile_text *t, int err);

/*
 * Logs that a key is wrong, with its place: that of its n-th value, from 0. A
 * key that is not in the file is named without a place.
 */
void conffile_text_wrong(const struct conffile_text *t, const char *key,
			 unsigned n, const char *what);

#endif /* COMMON_CONFFILE_TEXT_H */
