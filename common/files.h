/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_FILES_H
#define COMMON_FILES_H

#include <stdbool.h>

/*
 * Files that must be ours alone: locks that last as long as a program runs, and
 * files that other users must not read. Any thread.
 */

/* A lock of a folder; both -1: none. */
struct files_lock {
	int dir, file;
};
#define FILES_UNLOCKED                                                         \
	{                                                                      \
		-1, -1                                                         \
	}

/*
 * Locks a folder against other processes that do the same. The lock is on the
 * folder itself, so that no file that is deleted or replaced frees it, and on a
 * file of that name in it, for versions that know only that one. On a file
 * system that has no locks on folders, the file alone counts. -EBUSY: locked;
 * -ELOOP: the file is a link, or not a file of its own; or another errno. The
 * caller releases *out with files_unlock() unless it fails.
 */
int files_lock(struct files_lock *out, const char *dir, const char *name);
void files_unlock(struct files_lock *lock); /* unlocked is fine */

/*
 * Makes an empty file that other users can't read, whatever the umask; one that
 * exists is fine, and is closed to others. Negative errno.
 */
int files_make_closed(const char *path);

/*
 * Takes the rights of other users away from a file, if it has any, and logs
 * that. A file that does not exist is fine. Negative errno.
 */
int files_close_to_others(const char *path);

/* Warns if any user may read, or write to, a file with a secret. */
void files_check_secret(const char *path);
/* The same as an answer, for checks. False also if it does not exist. */
bool files_open_to_others(const char *path);

#endif /* COMMON_FILES_H */
