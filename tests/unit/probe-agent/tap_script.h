/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_TAP_SCRIPT_H
#define TESTS_UNIT_PROBE_AGENT_TAP_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "probe-agent/http/conn.h"

/*
 * A scripted kernel side: says what a program did on a socket, and gives the
 * engine the tap records that the kernel would have made of it. What comes out
 * of the engine is kept as one line of text per exchange.
 */
struct script {
	struct conn_table *table;
	struct buf lines; /* of exchanges */
	char *taken;
	unsigned ignored; /* connections */
	unsigned backed_off;
	size_t copy_max; /* bytes copied per call; SIZE_MAX by default */
	size_t piece_max; /* bytes per record, TAP_PIECE_MAX by default */
	size_t split; /* cut each call in two here, as if it were two calls;
			 0: not */
	bool heads_only; /* copy what the kernel does without pipelining */
	bool times; /* lines carry the times too */
	bool lose; /* records get lost from now on */
	bool gone; /* the kernel does not know any connection */
	bool deaf; /* select() refuses */
	void (*tee)(void *arg, const void *rec, size_t len);
	void *tee_arg;
	struct script_conn *conns[16]; /* for progress() */
};

struct script_conn {
	struct script *s;
	uint64_t sock, born_ns;
	uint32_t tgid;
	struct tap_rec_progress done;
	struct tap_rec_place answers; /* the test's to set */
	uint64_t now_ns; /* every call takes a microsecond */
	bool head_open[2];
	uint32_t tail[2];
};

void script_init(struct script *s, const struct conn_options *opt);
void script_fini(struct script *s);
/* Text of all exchanges so far; forgets them. Valid until the next call. */
const char *script_take(struct script *s);
struct conn_stats script_stats(const struct script *s);

/* Sends OPEN. */
void script_open(struct script *s, struct script_conn *k, uint64_t sock);
/* The same without OPEN, as a connection older than the agent. */
void script_join(struct script *s, struct script_conn *k, uint64_t sock);
/* The program read this, or wrote it as a server. */
void script_read(struct script_conn *k, const void *data, size_t len);
void script_write(struct script_conn *k, const void *data, size_t len);
/* Wrote it as a client; of len only taken bytes were accepted. */
void script_send(struct script_conn *k, const void *data, size_t len);
void script_send_some(struct script_conn *k, const void *data, size_t len,
		      size_t taken);
/* Body bytes that make no record. */
void script_read_quietly(struct script_conn *k, uint64_t len);
void script_write_quietly(struct script_conn *k, uint64_t len);
void script_wait(struct script_conn *k, uint64_t ns);
void script_end(struct script_conn *k, int dir);
void script_close(struct script_conn *k, uint32_t error);

#define READ(k, text) script_read(k, text, sizeof(text) - 1)
#define WRITE(k, text) script_write(k, text, sizeof(text) - 1)
#define SEND(k, text) script_send(k, text, sizeof(text) - 1)

#endif /* TESTS_UNIT_PROBE_AGENT_TAP_SCRIPT_H */
