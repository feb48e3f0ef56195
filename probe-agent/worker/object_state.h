/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_OBJECT_STATE_H
#define PROBE_AGENT_WORKER_OBJECT_STATE_H

#include <bpf/libbpf.h>

#include "common/buf.h"
#include "probe-agent/worker/object.h"

/* What object.c, object_load.c, object_attach.c and object_pins.c share. */

#define OBJECT_LINKS_MAX 1024u

struct object {
	struct object_options opt;
	struct buf file;
	uint8_t digest[SHA256_BYTES];
	struct elf_code *code;
	struct inspect inspected;
	struct bpf_object *bpf;
	struct object_map *map;
	struct object_program *program;
	struct bpf_program **handle; /* of each program; NULL: not loaded */
	/* Types of keys and values by map, which libbpf forgets at loading. */
	struct object_types {
		uint32_t key, value;
	} * types;
	size_t n_maps, n_programs;
	struct bpf_link **link; /* NULL where adopted */
	size_t n_links;
	int *adopted_link; /* their fds */
	size_t n_adopted;
	bool adopted, attached;
	uint64_t generation; /* of its pins */
	char **off; /* programs that could not be loaded */
	size_t n_off;
	char reason[256];
	struct buf log;
};

/* Keeps the first reason. */
void object_fail(struct object *o, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Adds what libbpf said since the last call to the log. */
void object_keep_log(struct object *o);
int object_keep_link(struct object *o, struct bpf_link *link);

/* object_load.c: opens, changes and loads; lists maps and programs. */
int object_load(struct object *o);
/* object_attach.c */
bool object_set_type(struct object *o, struct bpf_program *p);

/* object_pins.c. -ENOENT: there are none that fit. */
int object_adopt(struct object *o);
int object_pin(struct object *o);

#endif /* PROBE_AGENT_WORKER_OBJECT_STATE_H */
