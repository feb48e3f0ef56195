/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc says of processes of strangers, as files in a folder of our own.
 * The input is their contents, separated by 0xff.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe-agent/identity/procfs.h"
#include "probe-agent/tls/tls_owner.h"
/* For the lines of maps. */
#include "probe-agent/tls/tls_scan.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const files[] = { "stat",	"cgroup", "environ",
				     "cmdline", "status", "maps" };
#define N_FILES (sizeof(files) / sizeof(*files))

static char folder[64];

static void remove_folder(void)
{
	char path[128];

	for (size_t i = 0; i < N_FILES; i++) {
		snprintf(path, sizeof(path), "%s/7/%s", folder, files[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/7", folder);
	rmdir(path);
	rmdir(folder);
}

static void make_folder(void)
{
	char path[96];

	if (folder[0])
		return;
	snprintf(folder, sizeof(folder), "/dev/shm/redtap-procfs-XXXXXX");
	if (!mkdtemp(folder)) {
		snprintf(folder, sizeof(folder), "/tmp/redtap-procfs-XXXXXX");
		if (!mkdtemp(folder))
			abort();
	}
	snprintf(path, sizeof(path), "%s/7", folder);
	if (mkdir(path, 0700) != 0)
		abort();
	atexit(remove_folder);
}

static void put_file(const char *name, const uint8_t *data, size_t len)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/7/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	close(fd);
}

static void check_text(const char *text, size_t max)
{
	assert(!text || strlen(text) <= max);
}

static void read_all(void)
{
	struct cgroup_place place;
	struct procfs_otel otel;
	char script[SCRIPT_NAME_LEN + 1], path[96];
	char *exe;
	int dir;

	snprintf(path, sizeof(path), "%s/7", folder);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(dir >= 0);
	procfs_cgroup(dir, &place);
	check_text(place.container, CGROUP_ID_LEN);
	check_text(place.unit, sizeof(place.unit) - 1);
	check_text(place.pod_uid, sizeof(place.pod_uid) - 1);
	procfs_otel(dir, &otel);
	check_text(otel.service, 256 << 10);
	check_text(otel.namespace_, 256 << 10);
	free(otel.service);
	free(otel.namespace_);
	if (procfs_script(dir, "/usr/bin/python3", script))
		check_text(script, SCRIPT_NAME_LEN);
	if (procfs_script(dir, "/usr/bin/java", script))
		check_text(script, SCRIPT_NAME_LEN);
	exe = procfs_exe(dir);
	assert(exe);
	free(exe);
	close(dir);
	if (procfs_open(folder, 7, 123456789, &dir) == 0)
		close(dir);
}

static void read_maps(const uint8_t *data, size_t len)
{
	char *line = malloc(len + 1), *path;
	uint64_t start, end, inode;

	if (!line)
		abort();
	memcpy(line, data, len);
	line[len] = '\0';
	if (parse_mapping(line, &start, &end, &inode, &path))
		assert(*path == '/' && path >= line && path < line + len &&
		       !strchr(path, '\n'));
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end = data + len;

	make_folder();
	for (size_t i = 0; i < N_FILES; i++) {
		const uint8_t *to = memchr(data, 0xff, (size_t)(end - data));

		if (!to)
			to = end;
		put_file(files[i], data, (size_t)(to - data));
		if (i == N_FILES - 1)
			read_maps(data, (size_t)(to - data));
		data = to < end ? to + 1 : end;
	}
	read_all();
	tls_owner_of(folder, 7);
	return 0;
}
