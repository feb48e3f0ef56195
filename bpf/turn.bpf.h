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

/* Is a message due in direction dir? */
static __always_inline bool is_due(const struct tap_conn *conn, __u8 dir)
{
	bool answered = conn->flags & CONN_ANSWERED;

	return conn->verdict == VERDICT_HTTP && !conn->head_open[dir & 1] &&
	       answered != brings_answers(conn, dir);
}

static __always_inline void message_begins(struct tap_conn *conn, __u8 dir,
					   int look, __u32 pos)
{
	conn->verdict = VERDICT_HTTP;
	if (look == LOOK_RESPONSE) {
		conn->role = (dir ^ 1) + 1;
		conn->flags |= CONN_ANSWERED;
		return;
	}
	/*
	 * A request before the last one was answered; but not a write that is
	 * tried again because the kernel had no room for it.
	 */
	if (conn->role && !(conn->flags & CONN_ANSWERED) &&
	    conn->request_pos != pos)
		conn->flags |= CONN_PIPELINED;
	conn->role = dir + 1;
	conn->flags &= ~(CONN_ANSWERED | CONN_WHOLE_ONCE);
	conn->request_pos = pos;
}

static __always_inline bool is_message(int look)
{
	return look != LOOK_NONE && look != LOOK_TLS;
}

/*
 * Classifies the first n bytes that a call has moved in direction dir: a
 * message that can be there, LOOK_TLS or LOOK_NONE.
 */
static __always_inline int begins(struct tap_conn *conn,
				  const struct classify_beginning *b, __u32 n,
				  __u8 dir, __u32 pos)
{
	int look = look_at(b, n);

	if (look == LOOK_EITHER)
		look = brings_answers(conn, dir) ? LOOK_RESPONSE : LOOK_REQUEST;
	if (!is_message(look))
		return look;
	if (look == LOOK_RESPONSE ? conn->role == dir + 1
				  : brings_answers(conn, dir))
		return LOOK_NONE;
	if (look == LOOK_RESPONSE &&
	    *(const __u32 *)(b->at + 8) == FOURCC(' ', '1', '0', '1'))
		conn->h2 |= H2_SWITCHES;
	message_begins(conn, dir, look, pos);
	return look;
}

#endif /* BPF_TURN_BPF_H */
