/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_TAP_CORE_H
#define TESTS_UNIT_PROBE_AGENT_TAP_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The programs of bpf/ as they are, compiled for this machine, and as much of a
 * kernel around them as they see: sockets with positions and room, a ring of
 * bounded size, memory of programs. Tests say what a program does on a socket
 * and get the records that the kernel would have put into the ring. One world
 * at a time, one thread.
 */

struct tap_rec_progress;

typedef void (*core_record_fn)(void *arg, const void *record, size_t len);

struct core_options {
	core_record_fn record; /* see core_drain() */
	void *arg;
	size_t ring_bytes; /* 0: there is always room */
	bool no_loop; /* a kernel without bpf_loop() */
};

/* All sockets are closed, the ring is empty, the counters are 0. */
void core_begin(const struct core_options *opt);
void core_end(void);

/* A connected socket, by number from 0 on; the caller chooses the process. */
int core_open(uint32_t tgid, uint32_t rx_seq, uint32_t tx_seq);
uint64_t core_sock(int socket); /* as in records; 0: closed */

struct core_iov {
	const void *data;
	size_t len;
};

/*
 * A write of all of iov, which takes taken bytes; room: at once, else it is
 * seen to wait. between, unless NULL, is called while it waits: the kernel has
 * taken the bytes, and the write has not returned. taken < 0: refused.
 */
struct core_write {
	const struct core_iov *iov;
	size_t n;
	long taken;
	bool room;
	void (*between)(void *arg);
	void *arg;
};
void core_write(int socket, const struct core_write *w);
/* A read that fills the buffers; their sum is what came. */
void core_read(int socket, const struct core_iov *iov, size_t n);
/* Bytes that moved out of sight: sendfile, splice. dir: enum tap_dir. */
void core_pass(int socket, int dir, size_t len);
/* The program reads the end of the stream. */
void core_read_end(int socket);
/* The program shuts its sending side down. */
void core_shutdown(int socket);
/* TCP is done with it, and the socket goes. */
void core_close(int socket, int error);

/* Hands all records that are in the ring to record(), oldest first. */
void core_drain(void);
/* The same for at most n; returns how many are left. */
size_t core_drain_some(size_t n);
/* For struct conn_source. */
int core_progress(void *arg, uint64_t sock, uint64_t born_ns,
		  struct tap_rec_progress *out, struct tap_rec_place *answers);
void core_ignore(void *arg, uint64_t sock, uint64_t born_ns, bool for_good);

uint64_t core_counter(int counter); /* enum tap_counter */
uint64_t core_now_ns(void);
void core_wait(uint64_t ns);

#endif /* TESTS_UNIT_PROBE_AGENT_TAP_CORE_H */
