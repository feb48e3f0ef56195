/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of cgroups to their paths. The id is the folder's inode number. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/clock.h"
#include "probe-agent/programs/decode_state.h"

#define CGROUP2_MAGIC 0x63677270
#define CGROUPS_MAX 65536u
#define DEPTH_MAX 64
/* An unknown id makes the tree be walked again, but not more often than this:
 * a key of a cgroup that is gone would do so at every read. */
#define WALK_NS (CLOCK_NS_PER_S)

struct group {
	uint64_t id;
	char *path;
	uint32_t walk; /* the last that found it */
};

struct decode_cgroups {
	char root[256];
	struct group *group; /* sorted by id */
	size_t n, cap;
	uint32_t walk;
	uint64_t walked_ns;
};

void decode_cgroups_free(struct decode_cgroups *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		free(c->group[i].path);
	free(c->group);
	free(c);
}

/* Where cgroup2 is: all of /sys/fs/cgroup, or beside the old hierarchies. */
static void find_root(struct decode *d, struct decode_cgroups *c)
{
	static const char *const places[] = { "/sys/fs/cgroup",
					      "/sys/fs/cgroup/unified" };
	const char *root = d->opt.cgroup_root;
	struct statfs fs;

	for (size_t i = 0; !root && i < 2; i++)
		if (statfs(places[i], &fs) == 0 &&
		    (uint64_t)fs.f_type == CGROUP2_MAGIC)
			root = places[i];
	snprintf(c->root, sizeof(c->root), "%s", root ? root : places[0]);
}

static size_t place_of(const struct decode_cgroups *c, uint64_t id)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->group[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Paths of cgroups that are gone stay until the table is full. */
static void drop_gone(struct decode_cgroups *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (c->group[i].walk == c->walk)
			c->group[kept++] = c->group[i];
		else
			free(c->group[i].path);
	}
	c->n = kept;
}

static int note_group(struct decode_cgroups *c, uint64_t id, const char *path)
{
	size_t at = place_of(c, id);
	char *copy;

	if (at < c->n && c->group[at].id == id) {
		c->group[at].walk = c->walk;
		if (!strcmp(c->group[at].path, path))
			return 0;
		copy = strdup(path);
		if (!copy)
			return -ENOMEM;
		free(c->group[at].path);
		c->group[at].path = copy;
		return 0;
	}
	if (c->n == CGROUPS_MAX)
		return 0;
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 256;
		void *p = reallocarray(c->group, cap, sizeof(*c->group));

		if (!p)
			return -ENOMEM;
		c->group = p;
		c->cap = cap;
	}
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	memmove(&c->group[at + 1], &c->group[at],
		(c->n - at) * sizeof(*c->group));
	c->group[at] = (struct group){ id, copy, c->walk };
	c->n++;
	return 0;
}

/* The folder path, len bytes of a buffer with room for longer ones. */
static int walk_folder(struct decode_cgroups *c, char *path, size_t len,
		       size_t size, int depth)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int err = 0;

	if (stat(path, &st) < 0)
		return 0; /* gone meanwhile */
	err = note_group(c, st.st_ino, path);
	dir = err || depth == DEPTH_MAX ? NULL : opendir(path);
	while (dir && !err && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
		    len + 1 + n >= size)
			continue;
		path[len] = '/';
		memcpy(path + len + 1, entry->d_name, n + 1);
		err = walk_folder(c, path, len + 1 + n, size, depth + 1);
		path[len] = '\0';
	}
	if (dir)
		closedir(dir);
	return err;
}

static int walk_tree(struct decode_cgroups *c)
{
	char path[4096];

	c->walk++;
	c->walked_ns = clock_mono_ns();
	snprintf(path, sizeof(path), "%s", c->root);
	if (c->n >= CGROUPS_MAX)
		drop_gone(c);
	return walk_folder(c, path, strlen(path), sizeof(path), 0);
}

static const char *known_path(const struct decode_cgroups *c, uint64_t id)
{
	size_t at = place_of(c, id);

	return at < c->n && c->group[at].id == id ? c->group[at].path : NULL;
}

/* *fresh: the tree was walked just now. NULL: no memory. */
static struct decode_cgroups *have_cgroups(struct decode *d, bool *fresh)
{
	struct decode_cgroups *c = d->cgroups;

	*fresh = !c;
	if (c)
		return c;
	c = d->cgroups = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	find_root(d, c);
	walk_tree(c);
	return c;
}

int decode_each_cgroup(struct decode *d, decode_cgroup_fn fn, void *arg)
{
	bool fresh;
	struct decode_cgroups *c = have_cgroups(d, &fresh);
	int err = c ? 0 : -ENOMEM;

	if (!err && !fresh)
		err = walk_tree(c);
	for (size_t i = 0; !err && i < c->n; i++)
		if (c->group[i].walk == c->walk)
			fn(arg, c->group[i].id, c->group[i].path);
	return err;
}

const char *decode_cgroup_path(struct decode *d, uint64_t id)
{
	bool fresh;
	struct decode_cgroups *c = have_cgroups(d, &fresh);
	const char *path;

	if (!c)
		return NULL;
	path = known_path(c, id);
	if (!path && clock_mono_ns() - c->walked_ns >= WALK_NS) {
		walk_tree(c);
		path = known_path(c, id);
	}
	return path;
}

int decode_cgroup(struct decode *d, const struct decode_in *in, struct buf *out)
{
	const char *path;
	uint64_t id;
	int err = decode_number(d, in, &id);

	if (err)
		return err;
	path = decode_cgroup_path(d, id);
	if (path)
		return buf_puts(out, path);
	return buf_printf(out, "unknown_cgroup_id:%llu",
			  (unsigned long long)id);
}
