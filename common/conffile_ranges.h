/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_RANGES_H
#define COMMON_CONFFILE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conffile.h"

/*
 * The range of a number in a configuration. The YAML library only checks that a
 * number fits its type, reads -5 as a large number, and does not keep its place
 * in the file. So the text is checked separately.
 */
struct conffile_range {
	const char *key; /* "store.commit_ms"; in a list: "services.port" */
	uint64_t min, max;
	bool power_of_two;
	/* Place in the structure; size 0: in a list, only the text counts. */
	size_t offset, size;
	int flag; /* key of its command-line option; 0: none */
};

#define RANGE(name, type, member, lowest, highest, flag_key)                   \
	{                                                                      \
		.key = name, .min = (lowest), .max = (highest),                \
		.offset = offsetof(type, member),                              \
		.size = sizeof(((type *)0)->member), .flag = (flag_key)        \
	}

/*
 * Checks every number in the text that has a range. -EINVAL: one is outside; *e
 * says which, where, and what is allowed. -ENOMEM. Text that is not YAML
 * passes, since the YAML library reports it.
 */
int conffile_check_ranges(const struct conffile_range *ranges, size_t n,
			  const char *text, size_t len,
			  struct conffile_error *e);

/*
 * Values of a key that ends in _ms, _s or _bytes may have a unit of their own,
 * as on a command line: "raw_age_s: 1d". Appends the text to *out with such
 * values as plain numbers. Where that moves what follows on a line, *shifts has
 * it, so that conffile_unshift() can name the place in the file. -ENOMEM.
 */
#define CONFFILE_SHIFTS_MAX 64
struct conffile_shift {
	unsigned line, column; /* of the value in the file */
	int by;
};
struct conffile_shifts {
	unsigned n;
	struct conffile_shift at[CONFFILE_SHIFTS_MAX];
};
int conffile_resolve_units(const struct conffile_range *ranges, size_t n,
			   const char *text, size_t len, struct buf *out,
			   struct conffile_shifts *shifts);
void conffile_unshift(const struct conffile_shifts *shifts,
		      struct conffile_error *e);

/*
 * Returns the first range whose number in the structure is outside; with a flag
 * other than 0, only among the ranges of this flag. NULL: none.
 */
const struct conffile_range *
conffile_out_of_range(const struct conffile_range *ranges, size_t n,
		      const void *config, int flag);

/* The same for one flag. -EINVAL: outside; e->what says what is allowed. */
int conffile_check_flag(const struct conffile_range *ranges, size_t n,
			const void *config, int flag, struct conffile_error *e);
/* Writes to e->what what a flag with a range may be; others leave it as it is.
 */
void conffile_flag_form(const struct conffile_range *ranges, size_t n, int flag,
			struct conffile_error *e);

#endif /* COMMON_CONFFILE_RANGES_H */
