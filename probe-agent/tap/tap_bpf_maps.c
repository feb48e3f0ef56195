/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tap/tap_bpf_maps.h"

#include <errno.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/tls.h"

/* Threads that make TLS calls: see bpf/maps.bpf.h. */
#define THREADS 16384

static int make_map(int *fd, enum bpf_map_type type, const char *name,
		    size_t key_bytes, size_t value_bytes, uint32_t entries)
{
	*fd = bpf_map_create(type, name, (uint32_t)key_bytes,
			     (uint32_t)value_bytes, entries, NULL);
	return *fd < 0 ? -errno : 0;
}

int tap_bpf_maps_open(struct tap_bpf_maps *m, const struct tap_options *opt)
{
	int err;

	*m = TAP_MAPS_NONE;
	err = make_map(&m->ring, BPF_MAP_TYPE_RINGBUF, "tap_ring", 0, 0,
		       opt->ring_bytes);
	if (!err)
		err = make_map(&m->conns, BPF_MAP_TYPE_LRU_HASH, "tap_conns",
			       sizeof(uint64_t), sizeof(struct tap_conn),
			       opt->max_connections);
	if (!err)
		err = make_map(&m->counters, BPF_MAP_TYPE_PERCPU_ARRAY,
			       "tap_counters", sizeof(uint32_t),
			       sizeof(uint64_t), TAP_C_MAX);
	if (!err)
		err = make_map(&m->threads, BPF_MAP_TYPE_LRU_HASH,
			       "tls_threads", sizeof(uint64_t),
			       sizeof(struct tls_thread),
			       opt->tls ? THREADS : 1);
	return err;
}

static void close_map(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void tap_bpf_maps_close(struct tap_bpf_maps *m)
{
	close_map(&m->ring);
	close_map(&m->conns);
	close_map(&m->counters);
	close_map(&m->threads);
}

/* An object lacks the maps that its programs do not use. */
static int use(struct bpf_object *obj, const char *name, int fd)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, name);

	return map ? bpf_map__reuse_fd(map, fd) : 0;
}

int tap_bpf_maps_use(const struct tap_bpf_maps *m, struct bpf_object *obj)
{
	int err = use(obj, "tap_ring", m->ring);

	if (!err)
		err = use(obj, "tap_conns", m->conns);
	if (!err)
		err = use(obj, "tap_counters", m->counters);
	if (!err)
		err = use(obj, "tls_threads", m->threads);
	return err;
}
