/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_HTTP_H2_KERNEL_H
#define TESTS_UNIT_PROBE_AGENT_HTTP_H2_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/http/h2.h"

/*
 * The kernel side of a connection that speaks HTTP/2, in the program: calls in,
 * pieces out. It walks frames with the code that the kernel runs.
 */

/* The kernel's struct h2_walk; its header is for one source only. */
struct h2_kernel_dir {
	uint32_t words[6];
};

struct h2_kernel {
	struct h2_kernel_dir dir[2];
	size_t piece_max; /* bytes of a piece */
	int request_dir;
	bool lose; /* pieces find no room from now on */
	int lose_one_in; /* one of N pieces, at random; 0: none */
	unsigned lost_requests, lost_pieces;
	unsigned pieces;
	void (*sink)(void *arg, const struct h2_piece *p);
	void *arg;
};

/* A new connection; pos: where its directions begin. */
void h2_kernel_connect(struct h2_kernel *k, enum h2_start start,
		       int request_dir, const uint32_t pos[2]);
void h2_kernel_call(struct h2_kernel *k, int dir, const uint8_t *data,
		    size_t len, uint64_t first_ns, uint64_t last_ns);
/* Position behind the last byte that moved. */
uint32_t h2_kernel_pos(const struct h2_kernel *k, int dir);
/* Number of the last piece, lost ones too. */
uint16_t h2_kernel_seq(const struct h2_kernel *k, int dir);
/* Payload bytes of an open frame still to come. */
uint32_t h2_kernel_left(const struct h2_kernel *k, int dir);

#endif /* TESTS_UNIT_PROBE_AGENT_HTTP_H2_KERNEL_H */
