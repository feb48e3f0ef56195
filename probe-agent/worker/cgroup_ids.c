/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/cgroup_ids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "common/log.h"

#define IDS_MAX 8192u

struct known {
	uint64_t id;
	bool seen; /* in the walk that goes on */
};

struct cgroup_ids {
	const struct spec_cgroup_map *spec;
	const struct object_map *map;
	struct decode *decode;
	struct known *known; /* those that are in the map */
	size_t n, cap;
	int err;
};

int cgroup_ids_new(struct cgroup_ids **out, const struct spec_cgroup_map *spec,
		   const struct object *o, struct decode *decode,
		   const char **why)
{
	const struct object_map *m = object_map(o, spec->name);
	struct cgroup_ids *c;

	*why = "cgroup_id_map: the object has no such map";
	if (!m || m->fd < 0)
		return -EINVAL;
	*why = "cgroup_id_map: its map must have values of 8 bytes, and keys "
	       "of 8, or of 4 as cgrp_storage";
	if (m->key_size != (spec->storage ? 4 : 8) || m->value_size != 8)
		return -EINVAL;
	for (size_t i = 0; i < spec->n_regexps; i++)
		if (decode_matches(decode, spec->regexps[i], "", why) < 0)
			return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->spec = spec;
	c->map = m;
	c->decode = decode;
	*out = c;
	return 0;
}

void cgroup_ids_free(struct cgroup_ids *c)
{
	if (!c)
		return;
	free(c->known);
	free(c);
}

static struct known *find_known(struct cgroup_ids *c, uint64_t id)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->known[i].id == id)
			return &c->known[i];
	return NULL;
}

static int put(struct cgroup_ids *c, uint64_t id, const char *path)
{
	uint64_t one = 1;
	int fd, err;

	if (!c->spec->storage)
		return bpf_map_update_elem(c->map->fd, &id, &one, BPF_ANY);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = bpf_map_update_elem(c->map->fd, &fd, &one, BPF_ANY);
	close(fd);
	return err;
}

static void on_cgroup(void *arg, uint64_t id, const char *path)
{
	struct cgroup_ids *c = arg;
	struct known *k = find_known(c, id);
	const char *why;
	bool matches = false;
	int err;

	if (k) {
		k->seen = true;
		return;
	}
	for (size_t i = 0; i < c->spec->n_regexps && !matches; i++)
		matches = decode_matches(c->decode, c->spec->regexps[i], path,
					 &why) > 0;
	if (!matches || c->n == IDS_MAX)
		return;
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 64;
		void *p = reallocarray(c->known, cap, sizeof(*c->known));

		if (!p) {
			c->err = -ENOMEM;
			return;
		}
		c->known = p;
		c->cap = cap;
	}
	err = put(c, id, path);
	if (err)
		log_warn("cgroup is not in the program's map map=%s "
			 "cgroup=\"%s\" error=\"%s\"",
			 c->spec->name, path, strerror(-err));
	else
		c->known[c->n++] = (struct known){ id, true };
}

int cgroup_ids_renew(struct cgroup_ids *c)
{
	size_t n = 0;
	int err;

	for (size_t i = 0; i < c->n; i++)
		c->known[i].seen = false;
	c->err = 0;
	err = decode_each_cgroup(c->decode, on_cgroup, c);
	if (err || c->err)
		return err ? err : c->err;
	for (size_t i = 0; i < c->n; i++) {
		/* The kernel clears a cgroup's own storage with it. */
		if (!c->known[i].seen && !c->spec->storage)
			bpf_map_delete_elem(c->map->fd, &c->known[i].id);
		if (c->known[i].seen)
			c->known[n++] = c->known[i];
	}
	c->n = n;
	return 0;
}
