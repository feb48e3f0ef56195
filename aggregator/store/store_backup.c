/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/store/store_verify.h"

/*
 * By SQLite's online backup: the pages of one moment, from the database and its
 * write-ahead log, whatever is written meanwhile. The copy is a single file.
 */

static int report_sqlite(FILE *f, sqlite3 *db, int rc)
{
	if (f)
		fprintf(f, "error: %s\n",
			db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return -EACCES;
	default:
		return -EIO;
	}
}

static int copy_pages(FILE *f, sqlite3 *from, sqlite3 *to)
{
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
	int rc;

	if (!b)
		return report_sqlite(f, to, sqlite3_errcode(to));
	do { /* all pages in one step: a later step might begin again */
		rc = sqlite3_backup_step(b, -1);
	} while (rc == SQLITE_BUSY || rc == SQLITE_LOCKED);
	rc = sqlite3_backup_finish(b);
	if (rc != SQLITE_OK)
		return report_sqlite(f, to, rc);
	/* A single file, and all of it on disk. */
	rc = sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : report_sqlite(f, to, rc);
}

static int copy_database(const char *path, const char *to, FILE *f)
{
	sqlite3 *in = NULL, *out = NULL;
	int err = 0;
	int rc = sqlite3_open_v2(path, &in, SQLITE_OPEN_READONLY, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(in, 5000);
	if (rc != SQLITE_OK)
		err = report_sqlite(f, in, rc);
	if (!err) {
		rc = sqlite3_open_v2(to, &out, SQLITE_OPEN_READWRITE, NULL);
		err = rc == SQLITE_OK ? 0 : report_sqlite(f, out, rc);
	}
	if (!err)
		err = copy_pages(f, in, out);
	sqlite3_close(out);
	sqlite3_close(in);
	return err;
}

/* Both the file and its name. */
static int sync_file(const char *path)
{
	char *slash, *dir = strdup(path);
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

	if (!dir || fd < 0 || fsync(fd) < 0)
		err = dir ? -errno : -ENOMEM;
	if (fd >= 0)
		close(fd);
	slash = dir ? strrchr(dir, '/') : NULL;
	if (slash)
		slash[slash == dir] = '\0';
	fd = dir ? open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
		 : -1;
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(dir);
	return err;
}

int store_backup(const char *path, const char *to, FILE *f,
		 struct store_verdict *out)
{
	char *part;
	int fd, err;

	*out = (struct store_verdict){ 0 };
	if (access(path, R_OK) < 0)
		return -errno;
	if (access(to, F_OK) == 0)
		return -EEXIST;
	if (asprintf(&part, "%s.part", to) < 0)
		return -ENOMEM;
	fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		  0600);
	if (fd < 0) {
		err = -errno;
		free(part);
		return err;
	}
	close(fd);
	err = copy_database(path, part, f);
	if (!err)
		err = store_verify(part, f, out);
	if (!err && out->damage > 0)
		err = -EUCLEAN;
	if (!err && renameat2(AT_FDCWD, part, AT_FDCWD, to, RENAME_NOREPLACE))
		err = -errno;
	if (!err)
		err = sync_file(to);
	else
		unlink(part);
	free(part);
	return err;
}
