/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_SCAN_BPF_H
#define BPF_SCAN_BPF_H

/* Where does a head end? Seven bytes at a time, in a piece just copied. */

#include "bpf/look.bpf.h"
#include "bpf/tap.h"

/*
 * A record has room for a small piece, or for TAP_PIECE_MAX: the ring is what a
 * burst must fit into. Most requests are small, and most response heads.
 */
#define TAP_PIECE_SMALL 256
/* … and both have room behind them for a step of the scan. */
#define TAP_PIECE_PAD 32

/*
 * Finds \n\r or \n\n in v, at one of its first 7 bytes: the blank line that
 * ends a head. Offset of what follows the blank line, or 0. Without branches
 * on where it is: the verifier would follow each.
 */
static __always_inline __u32 blank_line(__u64 v)
{
	__u64 lf = v ^ (ONES * '\n');
	__u64 crlf = lf | ((v >> 8) ^ (ONES * '\r'));
	__u64 lflf = lf | ((v >> 8) ^ (ONES * '\n'));
	__u64 hit, at;

	/* A byte is zero where both match; the lowest is found exactly. */
	crlf = (crlf - ONES) & ~crlf & (HIGHS >> 8);
	lflf = (lflf - ONES) & ~lflf & (HIGHS >> 8);
	hit = crlf | lflf;
	if (!hit)
		return 0;
	at = first_byte(hit);
	return at + 2 + ((crlf >> (at * 8 + 7)) & 1);
}

/*
 * x, with all that the verifier knows of it forgotten: a value from a map can
 * be anything. It would else tell each turn of a loop from the one before by
 * it, and never come to an end.
 */
static __always_inline __u32 forget(struct tap_conn *conn, __u32 dir, __u32 x)
{
	volatile __u32 *scratch = &conn->scratch[dir & 1];

	*scratch = x;
	return *scratch;
}

#define SCAN_STEP 28 /* bytes looked at in one turn */

struct scan {
	struct tap_conn *conn;
	const __u8 *data;
	__u32 dir, len;
	__u32 end; /* result: offset behind the head; 0: not found */
};

/* Looks at the bytes from at on. 1: done. */
static __always_inline long scan_step(struct scan *s, __u32 at)
{
	__u32 i, end;

#pragma unroll
	for (i = 0; i < SCAN_STEP; i += 7) {
		if (at + i >= s->len)
			return 1;
		end = blank_line(*(const __u64 *)(s->data + at + i));
		if (end) {
			s->end = forget(s->conn, s->dir, at + i + end);
			return 1;
		}
	}
	return 0;
}

#define SCAN_TURNS(cap) ((cap) / SCAN_STEP + 1)

static long scan_small(__u32 i, struct scan *s)
{
	return i >= SCAN_TURNS(TAP_PIECE_SMALL) || scan_step(s, i * SCAN_STEP);
}

static long scan_large(__u32 i, struct scan *s)
{
	return i >= SCAN_TURNS(TAP_PIECE_MAX) || scan_step(s, i * SCAN_STEP);
}

/*
 * Scans data[0..len) for the end of a head; the connection's tail holds the
 * bytes before it, the last in the highest byte. data has cap bytes and
 * TAP_PIECE_PAD more; those behind len are zero, as far as a step looks.
 */
static __always_inline __u32 find_head_end(struct tap_conn *conn, __u32 dir,
					   const __u8 *data, __u32 len,
					   const __u32 cap)
{
	struct scan s = { .conn = conn, .data = data, .dir = dir, .len = len };
	__u32 tail = conn->tail[dir & 1];
	__u64 v = (__u64)(tail >> 8) | *(const __u64 *)data << 24;
	__u32 at = blank_line(v & 0xffffffffffffull), i;

	/* The end itself is in this piece, its beginning in the one before. */
	if (at > 3)
		return at - 3;
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) {
		for (i = 0; i < cap; i += SCAN_STEP)
			if (scan_step(&s, i))
				break;
	} else if (cap == TAP_PIECE_SMALL) {
		bpf_loop(SCAN_TURNS(cap), scan_small, &s, 0);
	} else {
		bpf_loop(SCAN_TURNS(cap), scan_large, &s, 0);
	}
	return s.end;
}

#endif /* BPF_SCAN_BPF_H */
