/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_HEAD_END_BPF_H
#define BPF_HEAD_END_BPF_H

/* Finds the end of a head in a piece just copied, eight bytes at a time. */

#include "bpf/turn.bpf.h"

/*
 * A record has room for a small piece or for TAP_PIECE_MAX, so that a larger
 * burst fits into the ring: most requests and most response heads are small.
 */
#define TAP_PIECE_SMALL 256
/* Room after a piece of either size, for one step of the scan. */
#define TAP_PIECE_PAD 32

/*
 * Finds \n\r or \n\n, the blank line that ends a head, at one of the first 7
 * bytes of v. Returns the offset after the blank line, or 0. Does not branch on
 * where it is: the verifier would follow each branch.
 */
static __always_inline __u32 blank_line(__u64 v)
{
	__u64 lf = v ^ (ONES * '\n');
	__u64 crlf = lf | ((v >> 8) ^ (ONES * '\r'));
	__u64 lflf = lf | ((v >> 8) ^ (ONES * '\n'));
	__u64 hit, at;

	/*
	 * A byte is zero where both match; only the lowest such byte is
	 * reliable.
	 */
	crlf = (crlf - ONES) & ~crlf & (HIGHS >> 8);
	lflf = (lflf - ONES) & ~lflf & (HIGHS >> 8);
	hit = crlf | lflf;
	if (!hit)
		return 0;
	at = first_byte(hit);
	return at + 2 + ((crlf >> (at * 8 + 7)) & 1);
}

/* A record's bytes, and room for one step of the scan. */
struct head_end_small {
	__u8 at[TAP_PIECE_SMALL + TAP_PIECE_PAD];
};
struct head_end_large {
	__u8 at[TAP_PIECE_MAX + TAP_PIECE_PAD];
};

/*
 * Scans data[0..len) for the end of a head. tail: the four bytes before data,
 * the last in the highest byte. data has cap bytes and TAP_PIECE_PAD more; the
 * eight after len are zero. Returns the offset after the head, or 0.
 */
static __always_inline __u32 scan(const __u8 *data, __u32 len, __u32 tail,
				  const __u32 cap)
{
	__u64 v = (__u64)(tail >> 8) | *(const __u64 *)data << 24;
	__u32 at, i, end = blank_line(v & 0xffffffffffffull);
	__u8 c;

	/* The blank line begins in the piece before and ends in this one. */
	if (end > 3)
		return end - 3;
	for (at = 0; at < cap; at += 8) {
		if (at >= len)
			return 0;
		v = *(const __u64 *)(data + at) ^ ONES * '\n';
		/* Its lowest hit is one, others may follow by a carry. */
		v = (v - ONES) & ~v & HIGHS;
		for (i = 0; i < 2; i++) {
			if (!v)
				break;
			end = at + (first_byte(v) & 7);
			v &= v - 1;
			c = data[end + 1];
			if (data[end] == '\n' && (c == '\r' || c == '\n'))
				return end + 2 + (c == '\r');
		}
	}
	return 0;
}

/* Global, so that the verifier checks each once: see copy_call(). */
__noinline int scan_small(const struct head_end_small *p, __u32 len, __u32 tail)
{
	return p ? scan(p->at, len, tail, TAP_PIECE_SMALL) : 0;
}

__noinline int scan_large(const struct head_end_large *p, __u32 len, __u32 tail)
{
	return p ? scan(p->at, len, tail, TAP_PIECE_MAX) : 0;
}

#endif /* BPF_HEAD_END_BPF_H */
