/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_RANGES_H
#define COMMON_CONFFILE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conffile.h"

/*
 * Which numbers a configuration may hold. The YAML library checks only that
 * they fit their type, and takes -5 for a large one; it does not keep where in
 * the file they were either, so the text is gone through by itself.
 */
struct conffile_range {
	const char *key; /* "store.commit_ms"; of lists: "services.port" */
	uint64_t min, max;
	bool power_of_two;
	/* Where it is in the structure; size 0: in a list, only checked there.
	 */
	size_t offset, size;
	int flag; /* its key on the command line; 0: none */
};

#define RANGE(name, type, member, lowest, highest, flag_key)                   \
	{                                                                      \
		.key = name, .min = (lowest), .max = (highest),                \
		.offset = offsetof(type, member),                              \
		.size = sizeof(((type *)0)->member), .flag = (flag_key)        \
	}

/*
 * Every number of the text that has a range is in it; -EINVAL: *e says which is
 * not, where, and what is allowed. What is no YAML is left to others. -ENOMEM.
 */
int conffile_check_ranges(const struct conffile_range *ranges, size_t n,
			  const char *text, size_t len,
			  struct conffile_error *e);

/*
 * The first range that a number in the structure is not in, among those of that
 * flag, or of all if it is 0. NULL: none.
 */
const struct conffile_range *
conffile_out_of_range(const struct conffile_range *ranges, size_t n,
		      const void *config, int flag);

/* The same of one flag, to be said to people: -EINVAL fills e->what. */
int conffile_check_flag(const struct conffile_range *ranges, size_t n,
			const void *config, int flag, struct conffile_error *e);

#endif /* COMMON_CONFFILE_RANGES_H */
