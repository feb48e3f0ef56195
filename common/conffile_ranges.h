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
 * Returns the first range whose number in the structure is outside; with a flag
 * other than 0, only among the ranges of this flag. NULL: none.
 */
const struct conffile_range *
conffile_out_of_range(const struct conffile_range *ranges, size_t n,
		      const void *config, int flag);

/* The same for one flag. -EINVAL: outside; e->what says what is allowed. */
int conffile_check_flag(const struct conffile_range *ranges, size_t n,
			const void *config, int flag, struct conffile_error *e);

#endif /* COMMON_CONFFILE_RANGES_H */
