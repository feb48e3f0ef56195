/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store_wal.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ROOM ((size_t)120 << 10) /* SQLite's VFS writes at most 2^17 - 1 */

#define FRAME_HEAD 24 /* bytes of header before each page */

/* szOsFile bytes, allocated by SQLite: this, then the default VFS's file. */
struct wal {
	sqlite3_file file;
	sqlite3_file *real;
	char *waiting; /* ROOM bytes; NULL: out of memory, so no buffering */
	sqlite3_int64 at; /* file offset of waiting */
	size_t n; /* bytes waiting */
	/* Bytes read ahead, once reads follow one another. */
	char *ahead; /* ROOM bytes; NULL: out of memory, no reading ahead */
	sqlite3_int64 ahead_at, next_at; /* offsets: of ahead, after a read */
	size_t n_ahead;
};
#define REAL_AT ((sizeof(struct wal) + 15) / 16 * 16)

static struct wal *wal_of(sqlite3_file *f)
{
	return (struct wal *)f;
}

/*
 * Writes the waiting bytes, and forgets them even if that fails: SQLite then
 * rolls the transaction back and writes other pages there.
 */
static int write_out(struct wal *w)
{
	size_t n = w->n;

	w->n = 0;
	return n == 0 ? SQLITE_OK
		      : w->real->pMethods->xWrite(w->real, w->waiting, (int)n,
						  w->at);
}

static int on_close(sqlite3_file *f)
{
	struct wal *w = wal_of(f);

	write_out(w);
	free(w->waiting);
	free(w->ahead);
	return w->real->pMethods->xClose(w->real);
}

static bool is_ahead(const struct wal *w, int n, sqlite3_int64 at)
{
	return at >= w->ahead_at &&
	       at + n <= w->ahead_at + (sqlite3_int64)w->n_ahead;
}

/* False: n bytes cannot be read ahead; the caller reads them itself. */
static bool read_ahead(struct wal *w, int n, sqlite3_int64 at)
{
	const sqlite3_io_methods *m = w->real->pMethods;
	sqlite3_int64 size;

	w->n_ahead = 0;
	if (m->xFileSize(w->real, &size) != SQLITE_OK || size - at < n)
		return false;
	if (size - at > (sqlite3_int64)ROOM)
		size = at + (sqlite3_int64)ROOM;
	if (m->xRead(w->real, w->ahead, (int)(size - at), at) != SQLITE_OK)
		return false;
	w->ahead_at = at;
	w->n_ahead = (size_t)(size - at);
	return true;
}

/* A checkpoint reads page by page, mostly in order. */
static int on_read(sqlite3_file *f, void *out, int n, sqlite3_int64 at)
{
	struct wal *w = wal_of(f);
	bool follows = at >= w->next_at && at - w->next_at <= FRAME_HEAD;
	int rc = write_out(w);

	if (rc != SQLITE_OK)
		return rc;
	w->next_at = at + n;
	if (w->ahead && (is_ahead(w, n, at) || (follows && (size_t)n <= ROOM &&
						read_ahead(w, n, at)))) {
		memcpy(out, w->ahead + (at - w->ahead_at), (size_t)n);
		return SQLITE_OK;
	}
	return w->real->pMethods->xRead(w->real, out, n, at);
}

static int on_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
	struct wal *w = wal_of(f);
	int rc = SQLITE_OK;

	w->n_ahead = 0;
	if (at != w->at + (sqlite3_int64)w->n || w->n + (size_t)n > ROOM)
		rc = write_out(w);
	if (rc != SQLITE_OK)
		return rc;
	if (!w->waiting || (size_t)n > ROOM)
		return w->real->pMethods->xWrite(w->real, data, n, at);
	if (w->n == 0)
		w->at = at;
	memcpy(w->waiting + w->n, data, (size_t)n);
	w->n += (size_t)n;
	return SQLITE_OK;
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct wal *w = wal_of(f);
	int rc = write_out(w);

	w->n_ahead = 0;
	return rc != SQLITE_OK ? rc
			       : w->real->pMethods->xTruncate(w->real, size);
}

static int on_sync(sqlite3_file *f, int flags)
{
	struct wal *w = wal_of(f);
	int rc = write_out(w);

	return rc != SQLITE_OK ? rc : w->real->pMethods->xSync(w->real, flags);
}

static int on_size(sqlite3_file *f, sqlite3_int64 *size)
{
	struct wal *w = wal_of(f);
	int rc = write_out(w);

	return rc != SQLITE_OK ? rc
			       : w->real->pMethods->xFileSize(w->real, size);
}

static int on_lock(sqlite3_file *f, int lock)
{
	struct wal *w = wal_of(f);

	return w->real->pMethods->xLock(w->real, lock);
}

static int on_unlock(sqlite3_file *f, int lock)
{
	struct wal *w = wal_of(f);

	return w->real->pMethods->xUnlock(w->real, lock);
}

static int on_reserved(sqlite3_file *f, int *out)
{
	struct wal *w = wal_of(f);

	return w->real->pMethods->xCheckReservedLock(w->real, out);
}

static int on_control(sqlite3_file *f, int what, void *arg)
{
	struct wal *w = wal_of(f);

	return w->real->pMethods->xFileControl(w->real, what, arg);
}

static int on_sector(sqlite3_file *f)
{
	struct wal *w = wal_of(f);

	return w->real->pMethods->xSectorSize(w->real);
}

static int on_device(sqlite3_file *f)
{
	struct wal *w = wal_of(f);

	return w->real->pMethods->xDeviceCharacteristics(w->real);
}

static const sqlite3_io_methods methods = {
	.iVersion = 1, /* the log needs neither mmap nor shared memory */
	.xClose = on_close,
	.xRead = on_read,
	.xWrite = on_write,
	.xTruncate = on_truncate,
	.xSync = on_sync,
	.xFileSize = on_size,
	.xLock = on_lock,
	.xUnlock = on_unlock,
	.xCheckReservedLock = on_reserved,
	.xFileControl = on_control,
	.xSectorSize = on_sector,
	.xDeviceCharacteristics = on_device,
};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f,
		   int flags, int *out_flags)
{
	sqlite3_vfs *real = vfs->pAppData;
	struct wal *w = wal_of(f);
	int rc;

	if (!(flags & SQLITE_OPEN_WAL))
		return real->xOpen(real, name, f, flags, out_flags);
	memset(w, 0, sizeof(*w));
	w->real = (sqlite3_file *)((char *)f + REAL_AT);
	rc = real->xOpen(real, name, w->real, flags, out_flags);
	if (rc == SQLITE_OK) {
		w->waiting = malloc(ROOM);
		w->ahead = malloc(ROOM);
		f->pMethods = &methods;
	}
	return rc;
}

static sqlite3_vfs vfs_of_store;
static const char *name_of_store;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_vfs(void)
{
	sqlite3_vfs *real = sqlite3_vfs_find(NULL);

	if (!real)
		return;
	/* The default VFS's other functions do not use their VFS argument. */
	vfs_of_store = *real;
	vfs_of_store.pNext = NULL;
	vfs_of_store.zName = "redtap";
	vfs_of_store.pAppData = real;
	vfs_of_store.szOsFile = (int)REAL_AT + real->szOsFile;
	vfs_of_store.xOpen = on_open;
	if (sqlite3_vfs_register(&vfs_of_store, 0) == SQLITE_OK)
		name_of_store = vfs_of_store.zName;
}

const char *store_wal_vfs(void)
{
	pthread_once(&once, make_vfs);
	return name_of_store;
}
