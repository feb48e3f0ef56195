/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls_owner.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES 4096u
#define ID_DIGITS                                                              \
	32 /* hexadecimal: of a pod's UUID, or half a container's id */
#define UID_BLOCK 65536u
#define NOBODY 65534u

static uint64_t hash_bytes(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t make_key(uint64_t h)
{
	return h == TLS_OWNER_HOST ? 1 : h;
}

static size_t hex_digits(const char *at, const char *end)
{
	const char *p = at;

	while (p < end && isxdigit((unsigned char)*p))
		p++;
	return (size_t)(p - at);
}

/* True for 01234567-89ab-cdef-0123-456789abcdef, with - or _. */
static bool is_uuid(const char *at, const char *end)
{
	static const size_t groups[] = { 8, 4, 4, 4, 12 };

	for (size_t i = 0; i < 5; i++) {
		if (i > 0 && (at >= end || (*at != '-' && *at != '_')))
			return false;
		at += i > 0;
		if (hex_digits(at, end) != groups[i])
			return false;
		at += groups[i];
	}
	return true;
}

/*
 * True if a component has a container's id, 64 digits, or a pod's: a UUID, or
 * 32 digits behind "pod".
 */
static bool names_container(const char *part, size_t len)
{
	const char *end = part + len;

	for (const char *at = part; at < end;) {
		bool pod = end - at > 3 && !memcmp(at, "pod", 3);
		size_t n;

		at += pod ? 3 : 0; /* its d would be a digit, too */
		n = hex_digits(at, end);
		if (n == 64 || is_uuid(at, end) || (n == 32 && pod))
			return true;
		at += n > 0 ? n : 1;
	}
	return false;
}

/* Length of the path up to the first container in it; 0: none. */
static size_t container_of(const char *path, size_t len)
{
	static const char user[] = "/user.slice/";

	if (len >= sizeof(user) - 1 && !memcmp(path, user, sizeof(user) - 1))
		return 0;
	for (size_t from = 0, to; from < len; from = to + 1) {
		for (to = from; to < len && path[to] != '/'; to++)
			;
		if (names_container(path + from, to - from))
			return to;
	}
	return 0;
}

uint64_t tls_owner_key(const char *cgroup, size_t len, uint32_t uid,
		       int same_mounts)
{
	const char *end = cgroup + len, *newline;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	/* Lines are "hierarchy:controllers:path". */
	for (const char *line = cgroup; line < end; line = newline + 1) {
		const char *path = memchr(line, ':', (size_t)(end - line));
		size_t n;

		newline = memchr(line, '\n', (size_t)(end - line));
		if (!newline)
			newline = end;
		path = path && path < newline
			       ? memchr(path + 1, ':',
					(size_t)(newline - path - 1))
			       : NULL;
		if (!path)
			continue;
		n = container_of(path + 1, (size_t)(newline - path - 1));
		if (n > 0)
			return make_key(hash_bytes(h, path + 1, n));
	}
	if (uid == 0 && same_mounts)
		return TLS_OWNER_HOST;
	if (uid >= UID_BLOCK)
		uid -= uid % UID_BLOCK;
	return make_key(hash_bytes(h, &uid, sizeof(uid)));
}

/* Reads the beginning of a file. Returns its length, 0 after an error. */
static size_t read_file(const char *proc, uint32_t pid, const char *name,
			char text[FILE_BYTES])
{
	char path[512];
	size_t got = 0;
	ssize_t n = 1;
	int fd;

	snprintf(path, sizeof(path), "%s/%u/%s", proc, pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	while (n > 0 && got < FILE_BYTES - 1) {
		n = read(fd, text + got, FILE_BYTES - 1 - got);
		got += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	text[got] = '\0';
	return got;
}

/*
 * The real user. Not the owner of the folder: that is root if the process does
 * not want to be dumped, as any may say of itself.
 */
static uint32_t uid_of(const char *proc, uint32_t pid)
{
	char text[FILE_BYTES];
	const char *at = NULL;
	unsigned uid;

	/* Its name, on the first line, has its line ends escaped. */
	if (read_file(proc, pid, "status", text))
		at = strstr(text, "\nUid:");
	return at && sscanf(at + 5, " %u", &uid) == 1 ? uid : NOBODY;
}

static bool has_host_mounts(const char *proc, uint32_t pid)
{
	struct stat host, own;
	char path[512];

	snprintf(path, sizeof(path), "%s/1/ns/mnt", proc);
	if (stat(path, &host))
		return true; /* no namespaces to tell apart */
	snprintf(path, sizeof(path), "%s/%u/ns/mnt", proc, pid);
	return !stat(path, &own) && own.st_ino == host.st_ino &&
	       own.st_dev == host.st_dev;
}

uint64_t tls_owner_of(const char *proc, uint32_t pid)
{
	char text[FILE_BYTES];
	uint32_t uid = uid_of(proc, pid);
	size_t len = read_file(proc, pid, "cgroup", text);

	return tls_owner_key(text, len, uid,
			     uid == 0 && has_host_mounts(proc, pid));
}
