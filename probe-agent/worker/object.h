/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_OBJECT_H
#define PROBE_AGENT_WORKER_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/sha256.h"
#include "probe-agent/programs/spec.h"
#include "probe-agent/worker/inspect.h"
#include "proto/samples.h"

/*
 * One BPF object of a user: inspected, loaded, attached. What of it fails is
 * told, and the rest goes on. One thread.
 */
struct object;
struct btf;

struct object_options {
	const struct spec *spec; /* borrowed for its life */
	bool xdp; /* programs of XDP are allowed */
	bool load; /* else only inspected, and opened */
	const char *pin_dir; /* of this object alone; NULL: not pinned */
};

enum object_map_type {
	OBJECT_MAP_OTHER, /* cannot be read key by key */
	OBJECT_MAP_HASH,
	OBJECT_MAP_ARRAY,
	OBJECT_MAP_RING,
	OBJECT_MAP_PERF,
};

struct object_map {
	const char *name;
	enum object_map_type type;
	bool per_cpu, lru, internal;
	int fd; /* -1: not loaded */
	uint32_t kernel_type; /* enum bpf_map_type */
	uint32_t key_size, value_size, max_entries;
	uint32_t key_btf, value_btf; /* type ids in object_btf(); 0: none */
	enum samples_guarantee guarantee;
	bool deletes; /* keys may go, so a smaller value is a new start */
};

struct object_program {
	const char *name, *section;
	int fd; /* -1: not loaded */
	unsigned traps; /* breakpoints in a process that a run is: 0, 1 or 2 */
	bool attached, wanted; /* wanted: there is something to attach it to */
};

/*
 * Sets *out, released by object_close(), even if it fails: object_reason()
 * tells what is wrong with it then. 0; -EINVAL: it is refused or could not be
 * loaded; -ENOMEM; errors of reading the file.
 */
int object_open(struct object **out, const struct object_options *opt);
/* Attaches what is loaded. -EINVAL: nothing could be attached. */
int object_attach(struct object *o);
/* Takes every program out, the last attached first. */
void object_detach(struct object *o);
void object_close(struct object *o); /* NULL is fine; detaches */

bool object_attached(const struct object *o);
/*
 * Makes sure that a folder for pins is in a BPF file system: mounts one on
 * /sys/fs/bpf if the folder lies there, else on the folder. Negative errno.
 */
int object_mount_pins(const char *root);
/* Was it found pinned, as another process left it? */
bool object_adopted(const struct object *o);
/* Which making of the pins it is; bases of another do not count. 0: none. */
uint64_t object_generation(const struct object *o);
/* Takes the pins away, so that nothing is left once it is closed. */
void object_unpin(struct object *o);

/* What is wrong with it, or with part of it; "": nothing. */
const char *object_reason(const struct object *o);
/* All that libbpf and the verifier said of it. */
const char *object_log(const struct object *o);
/* RUNNING, PARTIAL or FAILED. */
enum samples_state object_state(const struct object *o);
const uint8_t *object_digest(const struct object *o); /* SHA256_BYTES */
const struct inspect *object_inspected(const struct object *o);
/* What `program build` noted of its maps: "NAME=KIND\n"…; NULL: nothing. */
const char *object_note(const struct object *o);
const struct btf *object_btf(const struct object *o); /* NULL: none */

size_t object_maps(const struct object *o, const struct object_map **out);
const struct object_map *object_map(const struct object *o, const char *name);
size_t object_programs(const struct object *o,
		       const struct object_program **out);

/* Runs of all programs and the time in them, as the kernel has counted. */
struct object_cost {
	uint64_t runs, run_ns; /* while statistics were on */
	uint64_t traps; /* breakpoints that ran them */
};
void object_cost(const struct object *o, struct object_cost *out);

/* Runs its iterators (SEC("iter/…")) once, each to its end. */
void object_iterate(struct object *o);

#endif /* PROBE_AGENT_WORKER_OBJECT_H */
