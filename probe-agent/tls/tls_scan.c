/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIBRARIES_MAX 8 /* of one process */
#define CODE_MAX 512 /* of one process: files of any name */
#define PATH_BYTES 4096

bool tls_scan_is_library(const char *path)
{
	const char *name = strrchr(path, '/');

	if (!name)
		return false;
	return !strncmp(name, "/libssl", 7) || !strncmp(name, "/libgnutls", 10);
}

static int lend(uint32_t pid, const char *open_as, const char *path,
		tls_scan_fn found, void *arg)
{
	/* Must not wait if it is anything but a regular file. */
	int fd = open(open_as, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	else
		found(arg, pid, fd, path);
	close(fd);
	return err;
}

/* Reports the file under its own name, not that of a link to it. */
static int lend_host(const char *open_as, tls_scan_fn found, void *arg)
{
	char link[64], path[PATH_BYTES];
	int fd = open(open_as, O_PATH | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	close(fd);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	return lend(0, open_as, path, found, arg);
}

/*
 * The host's files are those that process 1 sees, in case the agent is in a
 * container.
 */
int tls_scan_host(tls_scan_fn found, void *arg)
{
	static const char *const folders[] = {
		"/lib/*-linux-*/", "/usr/lib/*-linux-*/", "/lib*/",
		"/usr/lib*/",	   "/usr/local/lib*/",
	};
	static const char *const roots[] = { "/proc/1/root", "" };
	char pattern[128];
	size_t r;
	int n = 0;

	for (r = 0; r < 2 && !n; r++)
		for (size_t i = 0; i < sizeof(folders) / sizeof(*folders);
		     i++) {
			glob_t g = { 0 };

			snprintf(pattern, sizeof(pattern),
				 "%s%slib{ssl,gnutls}.so*", roots[r],
				 folders[i]);
			if (!glob(pattern, GLOB_NOSORT | GLOB_BRACE, NULL, &g))
				for (size_t k = 0; k < g.gl_pathc; k++)
					n += !lend_host(g.gl_pathv[k], found,
							arg);
			globfree(&g);
		}
	return n;
}

int tls_scan_executable(uint32_t pid, tls_scan_fn found, void *arg)
{
	char link[64], path[PATH_BYTES];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%u/exe", pid);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno; /* a kernel thread, or gone */
	path[n] = '\0';
	return lend(pid, link, path, found, arg);
}

/* Parses one line of maps. True if it maps code of a file. */
static bool parse_mapping(char *line, uint64_t *start, uint64_t *end,
			  uint64_t *inode, char **path)
{
	unsigned long long from, to, ino;
	char perms[5];
	int at = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%llx-%llx %4s %*s %*s %llu %n", &from, &to, perms,
		   &ino, &at) < 4 ||
	    !at || line[at] != '/' || perms[2] != 'x')
		return false;
	*path = line + at;
	*start = from;
	*end = to;
	*inode = ino;
	return true;
}

/*
 * Without CAP_CHECKPOINT_RESTORE the path will do, if it still exists. Links in
 * it are the container's: they must not lead out of its root.
 */
static int lend_by_path(uint32_t pid, const char *path, tls_scan_fn found,
			void *arg)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				.resolve = RESOLVE_IN_ROOT |
					   RESOLVE_NO_MAGICLINKS };
	char name[64];
	int root, fd, err;

	snprintf(name, sizeof(name), "/proc/%u/root", pid);
	root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	err = fd < 0 ? -errno : 0;
	close(root);
	if (err)
		return err;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	err = lend(pid, name, path, found, arg);
	close(fd);
	return err;
}

/*
 * Opens the file by its place in memory: the very file, even if it was deleted.
 */
static int lend_mapped(uint32_t pid, uint64_t start, uint64_t end,
		       const char *path, tls_scan_fn found, void *arg)
{
	char name[PATH_BYTES + 64];
	int err;

	snprintf(name, sizeof(name), "/proc/%u/map_files/%llx-%llx", pid,
		 (unsigned long long)start, (unsigned long long)end);
	err = lend(pid, name, path, found, arg);
	if (err != -EPERM && err != -EACCES)
		return err;
	return lend_by_path(pid, path, found, arg);
}

/* Lends at most max files of code, of TLS libraries only if libraries. */
static int lend_code(uint32_t pid, bool libraries, size_t max,
		     tls_scan_fn found, void *arg)
{
	uint64_t seen[CODE_MAX], start, end, inode;
	char name[64], *line = NULL, *path;
	size_t cap = 0, i, n = 0, bytes = 0;
	ssize_t len;
	int err = 0, lent = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%u/maps", pid);
	f = fopen(name, "re");
	if (!f)
		return -errno;
	while (n < max && bytes < TLS_SCAN_MAPS_BYTES &&
	       (len = getline(&line, &cap, f)) > 0) {
		bytes += (size_t)len;
		if (!parse_mapping(line, &start, &end, &inode, &path) ||
		    (libraries && !tls_scan_is_library(path)))
			continue;
		for (i = 0; i < n && seen[i] != inode; i++)
			;
		if (i < n)
			continue;
		seen[n++] = inode;
		err = lend_mapped(pid, start, end, path, found, arg);
		lent += !err;
	}
	free(line);
	fclose(f);
	return lent ? lent : err;
}

int tls_scan_libraries(uint32_t pid, tls_scan_fn found, void *arg)
{
	return lend_code(pid, true, LIBRARIES_MAX, found, arg);
}

int tls_scan_code(uint32_t pid, tls_scan_fn found, void *arg)
{
	return lend_code(pid, false, CODE_MAX, found, arg);
}

int tls_scan_processes(tls_scan_pid_fn each, void *arg)
{
	struct dirent *entry;
	unsigned long pid;
	bool on = true;
	char *end;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while (on && (entry = readdir(dir))) {
		pid = strtoul(entry->d_name, &end, 10);
		if (!*end && pid && pid <= INT32_MAX)
			on = each(arg, (uint32_t)pid);
	}
	closedir(dir);
	return 0;
}
