/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_TURN_BPF_H
#define BPF_TURN_BPF_H

/*
 * Which direction of a connection must begin the next message. Requests and
 * answers alternate unless a client pipelines, so most messages come when they
 * are due: such a call is copied at once and classified in the copy. Any other
 * call is classified first.
 */

#include "bpf/classify.bpf.h"

/* Do answers go in direction dir? */
static __always_inline bool brings_answers(const struct tap_conn *conn,
					   __u8 dir)
{
	return conn->role == (dir ^ 1) + 1;
}

/* Is it the turn of direction dir to begin a message? */
static __always_inline bool is_turn(const struct tap_conn *conn, __u8 dir)
{
	bool answered = conn->flags & CONN_ANSWERED;

	return answered != brings_answers(conn, dir);
}

/*
 * Is a message due in direction dir? Where the place is known, that says more.
 */
static __always_inline bool is_due(const struct tap_conn *conn, __u8 dir)
{
	return conn->verdict == VERDICT_HTTP && !conn->place[dir & 1] &&
	       is_turn(conn, dir);
}

/* Flags that are not about a single request. */
#define CONN_KEPT                                                              \
	(CONN_OPENED | CONN_PIPELINED | CONN_ENDED_RX | CONN_ENDED_TX |        \
	 CONN_LATE | CONN_AGAIN | CONN_GUESSED | CONN_LOSING_RX |              \
	 CONN_LOSING_TX | CONN_COUNTED)

static __always_inline void message_begins(struct tap_conn *conn, __u8 dir,
					   int look, __u32 pos)
{
	__u8 last_dir = conn->last_dir;

	conn->verdict = VERDICT_HTTP;
	conn->last_dir = 0;
	if (look == LOOK_RESPONSE) {
		conn->turn = last_dir == (dir ^ 1) + 1 ? TAP_TURN_STRAY : 0;
		conn->role = (dir ^ 1) + 1;
		conn->flags |= CONN_ANSWERED;
		return;
	}
	if (conn->flags & CONN_ANSWERED || !conn->role) {
		conn->turn = TAP_TURN_ANSWERED;
		/*
		 * The record of a late answer is still to come. Where whole
		 * calls are copied, requests can be that are not known here.
		 */
		if (!(conn->flags &
		      (CONN_PIPELINED | CONN_LATE | CONN_WHOLE_ONCE)))
			conn->turn |= TAP_TURN_ALL;
	} else if (conn->request_pos != pos) {
		/*
		 * Before the last one was answered; but not a write that is
		 * tried again because the kernel had no room for it.
		 */
		conn->flags |= CONN_PIPELINED;
		conn->turn = 0;
	}
	conn->turn |= TAP_TURN_REQUEST;
	conn->role = dir + 1;
	conn->flags &= CONN_KEPT;
	conn->request_pos = pos;
}

static __always_inline bool is_message(int look)
{
	return look != LOOK_NONE && look != LOOK_TLS && look != LOOK_WEAK;
}

/*
 * Classifies the first n bytes that a call has moved in direction dir: a
 * message that can be there, LOOK_WEAK, LOOK_TLS or LOOK_NONE.
 */
static __always_inline int begins(struct tap_conn *conn,
				  const struct classify_beginning *b, __u32 n,
				  __u8 dir, __u32 pos)
{
	int look = look_at(b, n);
	__u16 guessed = 0;

	if (look == LOOK_EITHER) {
		look = brings_answers(conn, dir) ||
				       conn->last_dir == (dir ^ 1) + 1
			       ? LOOK_RESPONSE
			       : LOOK_REQUEST;
		if (!conn->role && look == LOOK_REQUEST)
			guessed = CONN_GUESSED;
	}
	if (!is_message(look))
		return look;
	if (look == LOOK_RESPONSE ? conn->role == dir + 1
				  : brings_answers(conn, dir) &&
					    !(conn->flags & CONN_GUESSED))
		return LOOK_NONE;
	conn->flags = (conn->flags & ~CONN_GUESSED) | guessed;
	message_begins(conn, dir, look, pos);
	return look;
}

#endif /* BPF_TURN_BPF_H */
