/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_LENGTH_BPF_H
#define BPF_LENGTH_BPF_H

/*
 * The length of a body, as its head gives it. Lines inside of a piece are found
 * eight bytes at a time; one that lies in two pieces is followed byte by byte.
 */

#include "bpf/frame.bpf.h"

static __always_inline __u64 lower(__u64 v)
{
	return v | ONES * 0x20;
}

#define EIGHT(s)                                                               \
	((__u64)(s)[0] | (__u64)(s)[1] << 8 | (__u64)(s)[2] << 16 |            \
	 (__u64)(s)[3] << 24 | (__u64)(s)[4] << 32 | (__u64)(s)[5] << 40 |     \
	 (__u64)(s)[6] << 48 | (__u64)(s)[7] << 56)

/* Bodies that are longer are not followed: positions have 32 bits. */
#define FRAME_LENGTH_MAX (1u << 30)
#define FRAME_NO_LENGTH (~0u) /* none, or not a plain number */
#define FRAME_CODED (~0u - 1) /* a transfer coding, which overrides it */

/* What field_small() and field_large() return: the kind, and where its value
 * is. */
#define FIELD_LENGTH (1 << 16)
#define FIELD_CODING (2 << 16)
#define FIELD_EXPECT (4 << 16)

/* 1 if a and b are the same; without a branch. */
static __always_inline __u32 same(__u64 a, __u64 b)
{
	a ^= b;
	return 1 ^ (a | -a) >> 63;
}

/* Does a line of interest begin at p? Without a branch: see field(). */
static __always_inline __u32 field_at(const __u8 *p)
{
	__u64 name = lower(*(const __u64 *)p);
	__u64 rest = lower(*(const __u64 *)(p + 8)) & ~0ull >> 8;

	return same(name, EIGHT("transfer")) * FIELD_CODING |
	       same(name & ~0ull >> 8, EIGHT("expect: ") & ~0ull >> 8) *
		       FIELD_EXPECT |
	       (same(name, EIGHT("content-")) &
		same(rest, EIGHT("length: ") & ~0ull >> 8)) *
		       FIELD_LENGTH;
}

/*
 * The first line of interest behind from, in the part of a head that is in
 * data[0..len): its kind, and where its value is; 0: there is none. Not seen
 * are lines that begin before data or end behind it, or follow one of three
 * bytes at most. data has cap bytes and TAP_PIECE_PAD more.
 */
static __always_inline __u32 field(const __u8 *data, __u32 len, __u32 from,
				   const __u32 cap)
{
	__u32 at, line, kind;
	__u64 lf;

	for (at = 0; at < cap; at += 8) {
		if (at >= len)
			break;
		lf = zero_bytes(*(const __u64 *)(data + at) ^ ONES * '\n');
		if (!lf)
			continue;
		line = at + (first_byte(lf) & 7) + 1;
		/*
		 * from < line < len. The verifier would follow each branch,
		 * with what it then knows of len.
		 */
		kind = field_at(data + line) &
		       -((line - len) >> 31 & (from - line) >> 31);
		if (kind)
			return kind | (line + 15);
	}
	return 0;
}

/*
 * The number at p, whose line must end behind it. p has 12 bytes: after what is
 * known of the head, or its end, they are no digits.
 */
static __always_inline __u32 number_at(const __u8 *p)
{
	__u32 n = 0, i;
	bool digit = false;
	__u8 c = 0;

	for (i = 0; i < 12; i++) {
		c = p[i];
		if (c == ' ' && !digit)
			continue;
		if (c - '0' > 9u)
			break;
		digit = true;
		n = n * 10 + (c - '0');
		if (n >= FRAME_LENGTH_MAX)
			return FRAME_NO_LENGTH;
	}
	return digit && (c == '\r' || c == '\n') ? n : FRAME_NO_LENGTH;
}

/* Global, so that the verifier checks each once: see copy_call(). */
__noinline __u32 field_small(const struct head_end_small *p, __u32 len,
			     __u32 from)
{
	return p ? field(p->at, len, from, TAP_PIECE_SMALL) : 0;
}

__noinline __u32 field_large(const struct head_end_large *p, __u32 len,
			     __u32 from)
{
	return p ? field(p->at, len, from, TAP_PIECE_MAX) : 0;
}

__noinline __u32 number_small(const struct head_end_small *p, __u32 at)
{
	if (!p || at > TAP_PIECE_SMALL + TAP_PIECE_PAD - 12)
		return FRAME_NO_LENGTH;
	return number_at(p->at + at);
}

__noinline __u32 number_large(const struct head_end_large *p, __u32 at)
{
	if (!p || at > TAP_PIECE_MAX + TAP_PIECE_PAD - 12)
		return FRAME_NO_LENGTH;
	return number_at(p->at + at);
}

/* --- lines in two pieces --- */

/*
 * conn->line: bytes of one of the names that have been seen of a line; 0: the
 * line begins.
 */
#define LINE_CODING 32 /* + bytes of "transfer" */
#define LINE_VALUE 64 /* behind "content-length:" */
#define LINE_DIGITS 65 /* in its number, which is in conn->due */
#define LINE_OTHER 66 /* up to its end */
#define LINE_EXPECT 80 /* + bytes of "expect:" */

/* Byte at < 16 of a name whose halves are lo and hi. */
static __always_inline __u8 name_byte(__u64 lo, __u64 hi, __u32 at)
{
	return (at & 8 ? hi : lo) >> (at & 7) * 8;
}

/* A line of a length has ended: a second one may differ. */
static __always_inline void line_number_ends(struct tap_conn *conn, __u32 dir,
					     bool commit)
{
	if (!commit)
		return;
	conn->place[dir] = conn->place[dir] == PLACE_HEAD_LENGTH
				   ? PLACE_HEAD_CODED
				   : PLACE_HEAD_LENGTH;
}

static __always_inline void line_value(struct tap_conn *conn, __u32 dir, __u8 c,
				       bool commit)
{
	if (c - '0' <= 9u) {
		if (conn->line == LINE_VALUE)
			conn->due[dir] = 0;
		conn->line = LINE_DIGITS;
		conn->due[dir] = conn->due[dir] * 10 + (c - '0');
		if (conn->due[dir] < FRAME_LENGTH_MAX)
			return;
		conn->place[dir] = PLACE_HEAD_CODED;
		conn->line = LINE_OTHER;
	} else if (c != ' ' || conn->line == LINE_DIGITS) {
		if (c == '\r' && conn->line == LINE_DIGITS)
			line_number_ends(conn, dir, commit);
		else
			conn->place[dir] = PLACE_HEAD_CODED;
		conn->line = LINE_OTHER;
	}
}

/*
 * The next byte of an open head. commit: a line that ends with it was not seen
 * otherwise. Global: see copy_call().
 */
__noinline int line_byte(struct tap_conn *conn, __u32 dir, __u8 c, bool commit)
{
	__u8 at, low = c | 0x20;

	if (!conn)
		return 0;
	dir &= 1;
	at = conn->line;
	if (c == '\n') {
		if (at == LINE_DIGITS)
			line_number_ends(conn, dir, commit);
		conn->line = 0;
	} else if (at == LINE_VALUE || at == LINE_DIGITS) {
		line_value(conn, dir, c, commit);
	} else if (at < 15 &&
		   low == name_byte(EIGHT("content-"), EIGHT("length: "), at)) {
		conn->line = at == 14 ? LINE_VALUE : at + 1;
	} else if (!at && low == 't') {
		conn->line = LINE_CODING + 1;
	} else if (!at && low == 'e') {
		conn->line = LINE_EXPECT + 1;
	} else if (at > LINE_EXPECT && at < LINE_EXPECT + 7 &&
		   low == name_byte(EIGHT("expect: "), 0, at & 7)) {
		conn->line = at + 1;
		if (at == LINE_EXPECT + 6)
			conn->flags |= CONN_EXPECTS;
	} else if (at > LINE_CODING && at < LINE_CODING + 8 &&
		   low == name_byte(EIGHT("transfer"), 0, at & 7)) {
		conn->line = at + 1;
		if (at == LINE_CODING + 7) {
			conn->place[dir] = PLACE_HEAD_CODED;
			conn->line = LINE_OTHER;
		}
	} else {
		conn->line = LINE_OTHER;
	}
	return 0;
}

/* Of a line of interest no more than this many bytes are followed. */
#define LINE_MAX 32

/*
 * Follows the line that a piece of len bytes begins inside of, up to its end;
 * all bytes of the piece, if they are no more than LINE_MAX. Data as of scan().
 */
static __always_inline void line_goes_on(struct tap_conn *conn, __u32 dir,
					 const __u8 *data, __u32 len)
{
	bool all = len <= LINE_MAX;
	__u32 i;

	for (i = 0; i < LINE_MAX; i++) {
		if (i >= len)
			break;
		line_byte(conn, dir, data[i], true);
		if (!all && data[i] == '\n')
			break;
	}
}

/*
 * Begins to follow the line that a piece of len > LINE_MAX bytes ends inside
 * of. Lines before it have been seen.
 */
static __always_inline void line_begins(struct tap_conn *conn, __u32 dir,
					const __u8 *data, __u32 len,
					const __u32 cap)
{
	__u32 i, from = len - LINE_MAX;

	if (from > cap - LINE_MAX)
		return;
	conn->line = LINE_OTHER;
	for (i = 0; i < LINE_MAX; i++)
		line_byte(conn, dir, data[from + i], false);
}

/* --- a piece --- */

/* Global, so that the verifier checks each once: see copy_call(). */
__noinline int line_goes_small(const struct head_end_small *p,
			       struct tap_conn *conn, __u32 dir, __u32 len)
{
	if (p && conn)
		line_goes_on(conn, dir, p->at, len);
	return 0;
}

__noinline int line_goes_large(const struct head_end_large *p,
			       struct tap_conn *conn, __u32 dir, __u32 len)
{
	if (p && conn)
		line_goes_on(conn, dir, p->at, len);
	return 0;
}

__noinline int line_begins_small(const struct head_end_small *p,
				 struct tap_conn *conn, __u32 dir, __u32 len)
{
	if (p && conn)
		line_begins(conn, dir, p->at, len, TAP_PIECE_SMALL);
	return 0;
}

__noinline int line_begins_large(const struct head_end_large *p,
				 struct tap_conn *conn, __u32 dir, __u32 len)
{
	if (p && conn)
		line_begins(conn, dir, p->at, len, TAP_PIECE_MAX);
	return 0;
}

/* Lines that begin and end in data[0..len). */
static __always_inline void length_inside(struct tap_conn *conn, __u32 dir,
					  const __u8 *data, __u32 len,
					  bool small, bool ends)
{
	__u32 from = 0, hit, n, i;

	/* A length, perhaps a coding that overrides it, and Expect. */
	for (i = 0; i < 3; i++) {
		hit = small ? field_small((const void *)data, len, from)
			    : field_large((const void *)data, len, from);
		if (!hit)
			return;
		from = hit & 0xffff;
		if (hit & FIELD_EXPECT) {
			conn->flags |= CONN_EXPECTS;
			continue;
		}
		n = small ? number_small((const void *)data, from)
			  : number_large((const void *)data, from);
		/* At the end of a piece, the rest of the number may come. */
		if (n == FRAME_NO_LENGTH && hit & FIELD_LENGTH && !ends &&
		    len - from < 12)
			return;
		if (hit & FIELD_CODING || n == FRAME_NO_LENGTH ||
		    conn->place[dir] == PLACE_HEAD_LENGTH) {
			conn->place[dir] = PLACE_HEAD_CODED;
		} else {
			conn->place[dir] = PLACE_HEAD_LENGTH;
			conn->due[dir] = n;
		}
	}
}

/*
 * Takes what the part of a head in data[0..len) says of the length of its body;
 * conn->place and due have it then. begins: it is the first part; ends: it is
 * the last one.
 */
static __always_inline void length_in(struct tap_conn *conn, __u32 dir,
				      const __u8 *data, __u32 len,
				      const __u32 cap, bool begins, bool ends)
{
	bool small = cap == TAP_PIECE_SMALL;

	if (!begins || len <= LINE_MAX) {
		if (small)
			line_goes_small((const void *)data, conn, dir, len);
		else
			line_goes_large((const void *)data, conn, dir, len);
	}
	if (len <= LINE_MAX)
		return;
	length_inside(conn, dir, data, len, small, ends);
	if (ends)
		return;
	if (small)
		line_begins_small((const void *)data, conn, dir, len);
	else
		line_begins_large((const void *)data, conn, dir, len);
}

/* --- a head that is lost --- */

/* Is tail, the last four bytes, the end of a head? */
static __always_inline bool is_end(__u32 tail)
{
	return tail >> 24 == '\n' &&
	       ((tail >> 16 & 0xff) == '\n' ||
		(tail >> 8 & 0xffff) == ('\n' | '\r' << 8));
}

/* Where the first digit of a status is: HTTP/1.1 1xx. */
#define INTERIM_AT 9

/*
 * A head in direction dir has a '1' there. If it is an interim response, the
 * request is not answered yet, and the final head may follow at once.
 */
static __always_inline void is_interim(struct tap_conn *conn, __u32 dir)
{
	if (brings_answers(conn, dir))
		conn->flags &= ~(CONN_ANSWERED | CONN_EXPECTS);
}

/*
 * Passes the n bytes of v of an open head that is lost, at position pos, and
 * says what comes behind it. Returns as frame_bytes().
 */
__noinline int lost_bytes(struct tap_conn *conn, __u64 v, __u32 n, __u32 dir,
			  __u32 pos)
{
	__u32 i;
	__u8 c;

	if (!conn)
		return 0;
	dir &= 1;
	for (i = 0; i < 8; i++) {
		if (i == n)
			return n;
		c = v >> i * 8;
		if (conn->head_bytes[dir]++ == INTERIM_AT && c == '1')
			is_interim(conn, dir);
		line_byte(conn, dir, c, true);
		conn->tail[dir] = conn->tail[dir] >> 8 | (__u32)(v >> i * 8)
								 << 24;
		if (is_end(conn->tail[dir]))
			break;
	}
	if (i == 8)
		return 8;
	pos += i + 1;
	conn->flags &= ~losing(dir);
	if (!brings_answers(conn, dir) && conn->place[dir] == PLACE_HEAD_CODED)
		conn->flags |= CONN_CODED;
	if (brings_answers(conn, dir) || conn->place[dir] == PLACE_HEAD_CODED) {
		conn->place[dir] = PLACE_BODY;
		conn->due[dir] = pos;
	} else {
		conn->due[dir] = pos + (conn->place[dir] == PLACE_HEAD_LENGTH
						? conn->due[dir]
						: 0);
		conn->place[dir] = PLACE_MESSAGE;
	}
	conn->tail[dir] = pos;
	return i + 1;
}

#endif /* BPF_LENGTH_BPF_H */
