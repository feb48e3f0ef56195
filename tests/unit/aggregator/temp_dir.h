/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_AGGREGATOR_TEMP_DIR_H
#define TESTS_UNIT_AGGREGATOR_TEMP_DIR_H

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A folder of a test's own: stores in it are files beside each other. */

#define TEMP_DIR_LEN 64

static inline void temp_dir_make(char dir[TEMP_DIR_LEN], const char *name)
{
	const char *made;

	snprintf(dir, TEMP_DIR_LEN, "/tmp/redtap-%s-XXXXXX", name);
	made = mkdtemp(dir);
	assert(made);
	(void)made;
}

static inline void temp_dir_remove(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(dir);
}

#endif /* TESTS_UNIT_AGGREGATOR_TEMP_DIR_H */
