/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_FRAME_BPF_H
#define BPF_FRAME_BPF_H

/*
 * Follows bodies, so that the place of the next message is known although bytes
 * that only have a length are not copied: those of a length that the head
 * gives, and chunks, where only the lines between them are read. What may
 * precede a message is passed in the same way: line ends, and the header of the
 * PROXY protocol. Works on the eight bytes at a position; conn->place says what
 * stands there, conn->due is the position, or the end of data that begins
 * there.
 */

#include "bpf/head_end.bpf.h"

static __always_inline bool place_is_known(__u8 place)
{
	return place >= PLACE_MESSAGE;
}

static __always_inline bool place_is_head(__u8 place)
{
	return place >= PLACE_HEAD && place < PLACE_MESSAGE;
}

/* The flag for an open head that has lost a part: the ring had no room. */
static __always_inline __u16 losing(__u32 dir)
{
	return dir & 1 ? CONN_LOSING_TX : CONN_LOSING_RX;
}

/* Bytes up to due have no content for us. */
static __always_inline bool place_is_ahead(__u8 place)
{
	return place == PLACE_MESSAGE || place == PLACE_DATA;
}

static __always_inline void forget_place(struct tap_conn *conn, __u32 dir)
{
	conn->place[dir & 1] = PLACE_UNKNOWN;
}

/* 0x80 in each byte that is a hexadecimal digit. */
static __always_inline __u64 hex_digits(__u64 v)
{
	__u64 low = v & ~HIGHS, letter = low | ONES * 0x20;
	__u64 digit =
		(low + ONES * (0x80 - '0')) & ~(low + ONES * (0x80 - ':'));
	__u64 af = (letter + ONES * (0x80 - 'a')) &
		   ~(letter + ONES * (0x80 - 'g'));

	return (digit | af) & ~v & HIGHS;
}

/* Number of digits that v begins with, at most 8. */
static __always_inline __u32 hex_run(__u64 v)
{
	__u64 other = HIGHS & ~hex_digits(v);

	return other ? first_byte(other) : 8;
}

/* The value of the first n digits of v, 1 <= n <= 8; the first is the lowest.
 */
static __always_inline __u32 hex_value(__u64 v, __u32 n)
{
	v = (v & ONES * 0x0f) + (v >> 6 & ONES) * 9;
	v <<= (8 - n) * 8 & 63;
	v = (v << 4 | v >> 8) & 0x00ff00ff00ff00ffull;
	v = (v << 8 | v >> 16) & 0x0000ffff0000ffffull;
	return v << 16 | v >> 32;
}

static __always_inline bool ends_size(__u8 c)
{
	return c == '\r' || c == '\n' || c == ';' || c == ' ' || c == '\t';
}

/*
 * Can a chunked body begin with the n bytes of v? Not of a request, if a blank
 * follows: that may be the next method.
 */
static __always_inline bool is_chunk(__u64 v, __u32 n, bool request)
{
	__u32 k = hex_run(v);
	__u8 c = v >> (k * 8 & 63);

	if (k >= n || k == 8)
		return true;
	return k && ends_size(c) && !(request && (c == ' ' || c == '\t'));
}

/* Do the n bytes of v begin as the head of a response does? */
static __always_inline bool is_http(__u64 v, __u32 n)
{
	__u32 other = (__u32)v ^ FOURCC('H', 'T', 'T', 'P');

	return n >= 4 ? !other : !(other << (32 - 8 * n));
}

/* Number of bytes of v up to the first line's end, n if it has none. */
static __always_inline __u32 line_end(__u64 v, __u32 n, bool *found)
{
	__u64 lf = zero_bytes(v ^ ONES * '\n');
	__u32 at = lf ? first_byte(lf) : 8;

	*found = at < n;
	return *found ? at + 1 : n;
}

/* The size of a chunk: digits. Sizes from 4 GiB on are not followed. */
static __always_inline __u32 frame_size(struct tap_conn *conn, __u32 dir,
					__u64 v, __u32 n)
{
	__u32 k = hex_run(v);

	if (k > n)
		k = n;
	if (k) {
		if (k == 8 ? conn->tail[dir]
			   : conn->tail[dir] >> (32 - 4 * k)) {
			forget_place(conn, dir);
			return 0;
		}
		conn->tail[dir] = (__u32)((__u64)conn->tail[dir] << 4 * k) |
				  hex_value(v, k);
		conn->place[dir] = PLACE_SIZE;
	}
	if (k == n)
		return k;
	if (conn->place[dir] == PLACE_SIZE && ends_size(v >> k * 8))
		conn->place[dir] = PLACE_EXTENSION;
	else
		forget_place(conn, dir);
	return k;
}

/* Lines that are passed up to their end. */
static __always_inline __u32 frame_line(struct tap_conn *conn, __u32 dir,
					__u64 v, __u32 n)
{
	bool found;
	__u32 used = line_end(v, n, &found);

	if (!found)
		return used;
	switch (conn->place[dir]) {
	case PLACE_EXTENSION:
		conn->place[dir] = conn->tail[dir] ? PLACE_DATA : PLACE_TRAILER;
		break;
	case PLACE_TRAILER_LINE:
		conn->place[dir] = PLACE_TRAILER;
		break;
	default: /* PLACE_PROXY */
		conn->place[dir] = PLACE_MESSAGE;
	}
	return used;
}

/* CR and LF, or LF, where one of both must come. */
static __always_inline __u32 frame_ends(struct tap_conn *conn, __u32 dir,
					__u64 v)
{
	__u8 c = v, place = conn->place[dir];

	if (c == '\n') {
		if (place == PLACE_DATA || place == PLACE_DATA_CR) {
			conn->place[dir] = PLACE_SIZE_FIRST;
			conn->tail[dir] = 0;
		} else {
			conn->place[dir] = PLACE_MESSAGE;
		}
		return 1;
	}
	if (c == '\r' && place == PLACE_DATA) {
		conn->place[dir] = PLACE_DATA_CR;
		return 1;
	}
	if (c == '\r' && place == PLACE_TRAILER) {
		conn->place[dir] = PLACE_TRAILER_CR;
		return 1;
	}
	if (place == PLACE_DATA || place == PLACE_DATA_CR)
		forget_place(conn, dir);
	else
		conn->place[dir] = PLACE_TRAILER_LINE;
	return 0;
}

/* Line ends before a message, or the start of PROXY v2's signature. */
static __always_inline __u32 frame_blank(struct tap_conn *conn, __u32 dir,
					 __u64 v, __u32 n)
{
	__u64 other = HIGHS & ~(zero_bytes(v ^ ONES * '\r') |
				zero_bytes(v ^ ONES * '\n'));
	__u32 k = other ? first_byte(other) : 8;

	if (k >= n)
		return n;
	if (k)
		return k;
	if ((__u8)v) {
		conn->place[dir] = PLACE_MESSAGE;
		return 0;
	}
	conn->place[dir] = PLACE_PROXY2;
	conn->tail[dir] = 5; /* \r\n\r\n\0 */
	return 1;
}

/*
 * One byte of PROXY v2's header: the signature ends with "\r\nQUIT\n", then
 * come version, family, and two bytes with the number of those that follow.
 * conn->tail: bytes so far, and that number above them.
 */
static __always_inline __u32 frame_proxy2(struct tap_conn *conn, __u32 dir,
					  __u8 c)
{
	__u32 at = conn->tail[dir] & 0xff;

	if (at == 7 && c != 'Q') {
		forget_place(conn, dir);
		return 0;
	}
	if (at == 14)
		conn->tail[dir] |= (__u32)c << 24;
	conn->tail[dir]++;
	if (at == 15)
		conn->place[dir] = PLACE_MESSAGE;
	return 1;
}

/*
 * A body, perhaps. An interim response has none; neither has a request whose
 * body is left out, or that has a length that we can't read.
 */
static __always_inline void frame_begins(struct tap_conn *conn, __u32 dir,
					 __u64 v, __u32 n)
{
	bool answers = brings_answers(conn, dir);

	conn->tail[dir] = 0;
	if (is_chunk(v, n, !answers))
		conn->place[dir] = PLACE_SIZE_FIRST;
	else if (!answers || is_http(v, n))
		conn->place[dir] = PLACE_MESSAGE;
	else
		forget_place(conn, dir);
}

/*
 * Goes on in direction dir at position pos, where the n bytes of v stand, 1 <=
 * n <= 8, the first in the lowest. Returns how many were passed: the rest is
 * for the next call. Global: see copy_call().
 */
__noinline int frame_bytes(struct tap_conn *conn, __u64 v, __u32 n, __u32 dir,
			   __u32 pos)
{
	__u32 used = 0, ahead = 0;

	if (!conn)
		return 0;
	dir &= 1;
	n = n & 7 ? n & 7 : 8;
	switch (conn->place[dir]) {
	case PLACE_BODY:
		frame_begins(conn, dir, v, n);
		break;
	case PLACE_SIZE_FIRST:
	case PLACE_SIZE:
		used = frame_size(conn, dir, v, n);
		break;
	case PLACE_EXTENSION:
	case PLACE_TRAILER_LINE:
	case PLACE_PROXY:
		used = frame_line(conn, dir, v, n);
		if (conn->place[dir] == PLACE_DATA)
			ahead = conn->tail[dir];
		break;
	case PLACE_BLANK:
		used = frame_blank(conn, dir, v, n);
		break;
	case PLACE_PROXY2:
		used = frame_proxy2(conn, dir, v);
		if (conn->place[dir] == PLACE_MESSAGE)
			ahead = conn->tail[dir] >> 16 | (__u8)v;
		break;
	default:
		used = frame_ends(conn, dir, v);
	}
	conn->due[dir] = pos + used + ahead;
	return used;
}

#endif /* BPF_FRAME_BPF_H */
