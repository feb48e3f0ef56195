/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_FRAMES_H
#define PROBE_AGENT_WORKER_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/*
 * Messages between the agent and its worker over a stream: a length, a type,
 * the bytes. Both are one program, so they trust each other's bytes as far as
 * memory goes: a length over the limit ends the stream.
 */

enum frames_type {
	/* To the agent. */
	FRAMES_BATCH = 1, /* samples, as an encoded batch */
	FRAMES_BASE, /* see frames_base */
	FRAMES_FORGET, /* bases of a program: name, NUL, generation to keep */
	FRAMES_COMMIT, /* all since the commit before belong together */
	FRAMES_DONE, /* what was asked for is done */
	/* To the worker. */
	FRAMES_KNOWN, /* a base that the agent has: as FRAMES_BASE */
	FRAMES_START, /* there are no more of them */
	FRAMES_RELOAD,
	FRAMES_STOP,
};

#define FRAMES_MAX (64u << 20)

/* Writes all of it; waits if the other side is slow. Negative errno. */
int frames_send(int fd, enum frames_type type, const void *data, size_t len);

/* Returns 0, or an error that ends the reading. */
typedef int (*frames_fn)(void *arg, enum frames_type type, const uint8_t *data,
			 size_t len);

/* All zero at first; released by frames_fini(). */
struct frames_in {
	struct buf buf;
	size_t at; /* of the first frame that is not whole */
	bool ended; /* the other side is gone */
};
void frames_fini(struct frames_in *in);
/*
 * Reads what is there without waiting, and calls fn for each whole frame. 0, an
 * error of fn, -ENOMEM, -EMSGSIZE, -EPIPE: the other side is gone and all it
 * sent was given to fn.
 */
int frames_read(struct frames_in *in, int fd, frames_fn fn, void *arg);

/*
 * How far a key of a pinned map was counted: what a later process goes on
 * from. Its key, opaque to the agent, is the program's name, NUL, generation,
 * the map's name, NUL, the raw key.
 */
struct frames_base {
	const char *program, *map;
	uint64_t generation;
	const uint8_t *key;
	size_t key_len;
	const uint64_t *value; /* none: forget the base */
	size_t n;
};
int frames_put_base(struct buf *out, const struct frames_base *b);
/* Splits a row into what the agent stores. -EINVAL. */
struct frames_row {
	const void *key, *value;
	size_t key_len, value_len; /* value_len 0: forget it */
};
int frames_get_row(const uint8_t *data, size_t len, struct frames_row *out);
/* value gets up to max numbers. -EINVAL. */
int frames_get_base(const uint8_t *data, size_t len, struct frames_base *out,
		    uint64_t *value, size_t max);

#endif /* PROBE_AGENT_WORKER_FRAMES_H */
