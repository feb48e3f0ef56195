/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/procfs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"

#define ENVIRON_MAX_BYTES (256u << 10)
#define CGROUP_MAX_BYTES (16u << 10)
#define CMDLINE_MAX_BYTES (8u << 10)

/*
 * Appends a file to *out: all of it, or at least its first max bytes. Negative
 * errno.
 */
static int read_file(struct buf *out, int dir, const char *name, size_t max)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	while (out->len < max) {
		void *to = buf_reserve(out, 4096);
		ssize_t n = to ? read(fd, to, 4096) : -1;

		if (!to)
			err = out->err;
		else if (n < 0)
			err = -errno;
		if (err || n == 0)
			break;
		out->len += (size_t)n;
	}
	close(fd);
	return err;
}

/*
 * Start time of the process in clock ticks: field 22 of stat, counted from the
 * last ')' because the comm in field 2 may contain anything.
 */
static int read_start_ticks(int dir, uint64_t *out)
{
	struct buf b = { 0 };
	const char *p = NULL;
	int err = read_file(&b, dir, "stat", 4096);

	if (!err && buf_str(&b))
		p = strrchr(b.data, ')');
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p + 1, ' ');
	}
	if (!err && (!p || sscanf(p, " %lu", out) != 1))
		err = -EPROTO;
	buf_fini(&b);
	return err;
}

/*
 * The tap's start time is exact, /proc's is in ticks (1/100 s, rounded down).
 * One tick more or less is accepted, for the kernel's own rounding.
 */
static bool same_start(uint64_t start_ns, uint64_t ticks)
{
	long hz = sysconf(_SC_CLK_TCK);
	uint64_t tick_ns = UINT64_C(1000000000) / (uint64_t)(hz > 0 ? hz : 100);
	uint64_t ours = start_ns / tick_ns;

	/* 0: the tap could not read the start. */
	return start_ns == 0 || (ours <= ticks + 1 && ticks <= ours + 1);
}

void procfs_cgroup(int dir, struct cgroup_place *out)
{
	struct buf b = { 0 };

	*out = (struct cgroup_place){ .container = "" };
	if (!read_file(&b, dir, "cgroup", CGROUP_MAX_BYTES) && buf_str(&b))
		cgroup_parse(b.data, b.len, out);
	buf_fini(&b);
}

bool procfs_script(int dir, const char *executable,
		   char name[SCRIPT_NAME_LEN + 1])
{
	struct buf b = { 0 };
	bool found = !read_file(&b, dir, "cmdline", CMDLINE_MAX_BYTES) &&
		     buf_str(&b) &&
		     script_name(executable, b.data, b.len, name);

	buf_fini(&b);
	return found;
}

/* Decodes %XX in place, as OTEL_RESOURCE_ATTRIBUTES is percent-encoded. */
static void decode_percent(char *s)
{
	char *to = s;
	unsigned v;

	for (; *s; s++) {
		if (*s == '%' && isxdigit((unsigned char)s[1]) &&
		    isxdigit((unsigned char)s[2]) &&
		    sscanf(s + 1, "%2x", &v) == 1 && v) {
			*to++ = (char)v;
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The value of key in "k=v,k2=v2", malloc'd, or NULL. */
static char *find_attribute(const char *list, const char *key)
{
	size_t n = strlen(key);

	while (*list) {
		size_t len = strcspn(list, ",");
		size_t blank = strspn(list, " \t");

		if (blank < len && len - blank > n + 1 &&
		    !strncmp(list + blank, key, n) && list[blank + n] == '=') {
			char *value = strndup(list + blank + n + 1,
					      len - blank - n - 1);

			if (value)
				decode_percent(value);
			return value;
		}
		list += len + (list[len] == ',');
	}
	return NULL;
}

/* What follows the prefix, or NULL if s does not begin with it. */
static const char *after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) ? NULL : s + n;
}

static void take_variable(struct procfs_otel *out, const char *variable)
{
	const char *name = after(variable, "OTEL_SERVICE_NAME=");
	const char *list = after(variable, "OTEL_RESOURCE_ATTRIBUTES=");

	if (name && *name) {
		free(out->service);
		out->service = strdup(name);
	}
	/* OTEL_SERVICE_NAME wins, whichever of the two comes first. */
	if (list && !out->service)
		out->service = find_attribute(list, "service.name");
	if (list && !out->namespace_)
		out->namespace_ = find_attribute(list, "service.namespace");
}

void procfs_otel(int dir, struct procfs_otel *out)
{
	struct buf b = { 0 };
	const char *p, *end;

	*out = (struct procfs_otel){ .service = NULL };
	if (read_file(&b, dir, "environ", ENVIRON_MAX_BYTES) || !buf_str(&b))
		goto cleanup;
	for (p = b.data, end = b.data + b.len; p < end; p += strlen(p) + 1)
		take_variable(out, p);
cleanup:
	buf_fini(&b);
}

char *procfs_exe(int dir)
{
	static const char deleted[] = " (deleted)";
	char path[PATH_MAX];
	ssize_t n = readlinkat(dir, "exe", path, sizeof(path) - 1);
	size_t len = n > 0 ? (size_t)n : 0, cut = sizeof(deleted) - 1;

	path[len] = '\0';
	/* The file was replaced while it runs: still the same program. */
	if (len > cut && !strcmp(path + len - cut, deleted))
		path[len - cut] = '\0';
	return strdup(path);
}

int procfs_open(const char *proc, uint32_t pid, uint64_t start_ns, int *out)
{
	char path[PATH_MAX];
	uint64_t ticks;
	int fd, err;

	snprintf(path, sizeof(path), "%s/%u", proc, pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -ENOENT;
	err = read_start_ticks(fd, &ticks);
	if (err || !same_start(start_ns, ticks)) {
		close(fd);
		return -ENOENT;
	}
	*out = fd;
	return 0;
}
