/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_TALK_H
#define TESTS_UNIT_PROBE_AGENT_TALK_H

#include "probe-agent/http/conn.h"
#include "tests/unit/probe-agent/tap_core.h"

/*
 * A conversation as one of its ends sees it, through the programs of bpf/ and
 * the engine. It does not know which end: it only asks and answers.
 */
struct talk;

#define TALK_EACH_BYTE ((size_t)-1)

/* How what is said reaches the kernel. */
struct talk_how {
	enum role role;
	bool no_loop; /* a kernel without bpf_loop() */
	bool late; /* writes wait for room */
	size_t cut; /* each text in two calls, cut here; 0: in one */
	size_t buffers; /* each call has buffers of this size; 0: one */
};

/* name: of the test, for what is printed when it fails. */
struct talk *talk_new(const struct talk_how *how, const char *name);
/* Closes, and checks that all is counted, and what is not. Frees t. */
void talk_end(struct talk *t, unsigned lost_unseen);

void talk_connect(struct talk *t); /* after talk_close() */
void talk_ask(struct talk *t, const void *data, size_t len);
void talk_answer(struct talk *t, const void *data, size_t len);
void talk_pass_request(struct talk *t, size_t len); /* out of sight */
/* Lines have 0 for the request's bytes: what moved until the answer varies. */
void talk_hide_sizes(struct talk *t);
void talk_wait(struct talk *t, uint64_t ns);
void talk_close(struct talk *t, int error);

/*
 * Exchanges since the last talk_expect(), one line each as tap_script.h has
 * them, without the role.
 */
void talk_expect(struct talk *t, const char *lines, const char *file, int line);
unsigned talk_exchanges(struct talk *t); /* since then; forgets them */
unsigned talk_seconds(struct talk *t); /* that the last exchange took */
struct conn_stats talk_stats(struct talk *t);

#define ASK(t, text) talk_ask(t, text, sizeof(text) - 1)
#define ANSWER(t, text) talk_answer(t, text, sizeof(text) - 1)
#define EXPECT(t, lines) talk_expect(t, lines, __FILE__, __LINE__)

#endif /* TESTS_UNIT_PROBE_AGENT_TALK_H */
