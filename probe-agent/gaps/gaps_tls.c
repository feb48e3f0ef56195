/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/gaps/gaps_tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe-agent/tls/tls_calls.h"
#include "probe-agent/tls/tls_scan.h"

#define PART_BYTES (256u << 10)
#define GO_MARK "\xff Go buildinf:" /* cmd/link puts it into each program */

/* What is known of a file, whatever its role in a process. */
struct file {
	dev_t dev;
	ino_t ino;
	struct timespec changed;
	bool tls, go;
	bool attachable; /* has calls that the agent attaches to */
};

struct gaps_tls {
	struct file *file;
	size_t n;
	uint64_t bytes, left_out;
};

/* One process. */
struct look {
	struct gaps_tls *t;
	bool is_executable; /* while the executable is lent */
	dev_t dev; /* the executable's */
	ino_t ino;
	int found;
};

int gaps_tls_new(struct gaps_tls **out)
{
	struct gaps_tls *t = calloc(1, sizeof(*t));

	if (t)
		t->file = calloc(GAPS_TLS_FILES_MAX, sizeof(*t->file));
	if (!t || !t->file) {
		free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void gaps_tls_free(struct gaps_tls *t)
{
	if (!t)
		return;
	free(t->file);
	free(t);
}

uint64_t gaps_tls_left_out(const struct gaps_tls *t)
{
	return t->left_out;
}

static bool holds(const char *data, size_t len, const char *mark)
{
	return memmem(data, len, mark, strlen(mark));
}

int gaps_tls_search(int fd, uint64_t max_bytes, bool *has_tls, bool *go)
{
	char *part = malloc(PART_BYTES);
	size_t kept = 0; /* of the part before: a mark may lie across both */
	uint64_t at = 0;
	ssize_t n = 0;

	*has_tls = *go = false;
	if (!part)
		return -ENOMEM;
	while (at < max_bytes && !(*has_tls && *go)) {
		n = pread(fd, part + kept, PART_BYTES - kept, (off_t)at);
		if (n <= 0)
			break;
		at += (uint64_t)n;
		kept += (size_t)n;
		*has_tls |= holds(part, kept, "s ap traffic") ||
			    holds(part, kept, "key expansion");
		*go |= holds(part, kept, GO_MARK);
		if (kept > sizeof(GO_MARK)) {
			memmove(part, part + kept - sizeof(GO_MARK),
				sizeof(GO_MARK));
			kept = sizeof(GO_MARK);
		}
	}
	free(part);
	return n < 0 ? -errno : 0;
}

static bool is_same(const struct file *f, const struct stat *st)
{
	return f->ino == st->st_ino && f->dev == st->st_dev &&
	       f->changed.tv_sec == st->st_mtim.tv_sec &&
	       f->changed.tv_nsec == st->st_mtim.tv_nsec;
}

/* NULL: a cap is reached, or the file can't be read. */
static const struct file *file_of(struct gaps_tls *t, int fd)
{
	uint64_t offset[TLS_CALLS], size;
	struct file *f;
	struct stat st;

	if (fstat(fd, &st))
		return NULL;
	for (size_t i = 0; i < t->n; i++)
		if (is_same(&t->file[i], &st))
			return &t->file[i];
	size = (uint64_t)st.st_size;
	if (size > GAPS_TLS_FILE_BYTES_MAX)
		size = GAPS_TLS_FILE_BYTES_MAX;
	if (t->n == GAPS_TLS_FILES_MAX ||
	    t->bytes + size > GAPS_TLS_BYTES_MAX) {
		t->left_out++;
		return NULL;
	}
	f = &t->file[t->n];
	if (gaps_tls_search(fd, size, &f->tls, &f->go))
		return NULL;
	t->left_out += (uint64_t)st.st_size > size;
	t->bytes += size;
	t->n++;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->changed = st.st_mtim;
	f->attachable = f->tls && !tls_calls_find(fd, offset, NULL);
	return f;
}

static bool is_java(const char *path)
{
	const char *name = strrchr(path, '/');

	return name && !strcmp(name, "/libjvm.so");
}

static void look_at_file(void *arg, uint32_t pid, int fd, const char *path)
{
	struct look *l = arg;
	const struct file *f;

	(void)pid;
	if (!l->is_executable && is_java(path))
		l->found |= GAPS_TLS_JAVA;
	f = file_of(l->t, fd);
	if (!f)
		return;
	if (l->is_executable) {
		l->dev = f->dev;
		l->ino = f->ino;
	} else if (f->dev == l->dev && f->ino == l->ino) {
		return; /* its own code, inspected already */
	}
	if (!f->tls)
		return;
	/* The agent attaches to executables, and to libraries by their name. */
	if (f->attachable && (l->is_executable || tls_scan_is_library(path)))
		l->found |= GAPS_TLS_KNOWN;
	else if (!l->is_executable)
		l->found |= GAPS_TLS_LIBRARY;
	else
		l->found |= f->go ? GAPS_TLS_GO : GAPS_TLS_PROGRAM;
}

int gaps_tls_of(struct gaps_tls *t, uint32_t pid)
{
	struct look l = { .t = t, .is_executable = true };
	int err = tls_scan_executable(pid, look_at_file, &l);

	if (err < 0)
		return err;
	l.is_executable = false;
	err = tls_scan_code(pid, look_at_file, &l);
	return err < 0 ? err : l.found;
}
