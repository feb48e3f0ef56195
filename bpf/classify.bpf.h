/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_CLASSIFY_BPF_H
#define BPF_CLASSIFY_BPF_H

/* Classifies what a call begins, by its first bytes, eight at a time. */

#include "bpf/call.bpf.h"

/* First bytes of a call that are read to classify it. */
#define TAP_PEEK 16

enum classify_result {
	LOOK_NONE,
	LOOK_REQUEST,
	LOOK_REQUEST_BODY, /* of a method that may come with a body */
	LOOK_RESPONSE,
	LOOK_EITHER, /* only an H: HEAD or HTTP/ */
	LOOK_WEAK, /* a request if its line ends as one: see weak_line() */
	LOOK_TLS,
	LOOK_LATER, /* a message is due: classify the copied bytes */
};

#define ONES 0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

static __always_inline bool is_upper(__u8 c)
{
	return c >= 'A' && c <= 'Z';
}

#define FOURCC(a, b, c, d)                                                     \
	((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

/* 0x80 in each byte of x that is zero. */
static __always_inline __u64 zero_bytes(__u64 x)
{
	const __u64 low = ~HIGHS;

	return ~(((x & low) + low) | x | low);
}

/* Index of the lowest byte that is 0x80 in hit; hit is not 0. */
static __always_inline __u32 first_byte(__u64 hit)
{
	return (0x0001020304050607ull * ((hit & -hit) >> 7)) >> 56;
}

/*
 * 0x80 in each byte that can't be in a method: neither 0x40 to 0x5f (capitals,
 * the underscore and a few more) nor a dash.
 */
static __always_inline __u64 no_token(__u64 x)
{
	return HIGHS & ~(zero_bytes((x & ONES * 0xe0) ^ ONES * 0x40) |
			 zero_bytes(x ^ ONES * '-'));
}

/*
 * Is it a request: a token in capitals, a space, and a character that a target
 * can begin with? A call that ends inside the token may still become a request.
 * Eight bytes at a time: the verifier would follow a loop once for each end
 * that it can have.
 */
static __always_inline int look_token(const __u8 *p, __u32 n)
{
	__u64 lo = *(const __u64 *)p, hi = *(const __u64 *)(p + 8);
	__u64 space = zero_bytes(lo ^ ONES * ' '), bad = no_token(lo);
	__u32 at = 0;
	__u8 c;

	if (!space && n > 8) {
		if (bad)
			return LOOK_NONE;
		at = 8;
		n -= 8;
		space = zero_bytes(hi ^ ONES * ' ');
		bad = no_token(hi);
	}
	if (!space) {
		if (n < 8)
			bad &= (1ull << (n * 8)) - 1;
		return bad ? LOOK_NONE : LOOK_REQUEST;
	}
	/* No other character before the space, and the token is not empty. */
	if (bad & ((space & -space) - 1))
		return LOOK_NONE;
	n -= first_byte(space);
	at += first_byte(space);
	if (at == 0)
		return LOOK_NONE;
	if (n < 2)
		return LOOK_REQUEST;
	c = p[(at + 1) & (TAP_PEEK - 1)];
	if (c == '/' || c == '*' || c == 'h' || c == 'H')
		return LOOK_REQUEST;
	/* CONNECT host:port */
	if (at == 7 && p[0] == 'C' && c > ' ' && c < 0x7f)
		return LOOK_REQUEST;
	return LOOK_NONE;
}

/* Can c be in a token (RFC 9110, 5.6.2), as a method is one? */
static __always_inline bool is_token(__u8 c)
{
	__u64 set = c < 64 ? 0x03ff6cfa00000000ull : 0x57ffffffc7fffffeull;

	return c < 128 && set >> (c & 63) & 1;
}

/* 0x80 in each byte that is not printable, or a blank. */
static __always_inline __u64 no_graph(__u64 x)
{
	return HIGHS & (x | ~((x & ~HIGHS) + ONES * (0x80 - '!')) |
			zero_bytes(x ^ ONES * 0x7f));
}

/*
 * May it be a request whose method is not in capitals, or whose target begins
 * with anything? That is one word, and a blank if n reaches it.
 */
static __always_inline int look_weak(const __u8 *p, __u32 n)
{
	__u64 lo = *(const __u64 *)p, hi = *(const __u64 *)(p + 8);
	__u64 bad = no_graph(lo);
	__u32 at = 0;

	if (!is_token(p[0]))
		return LOOK_NONE;
	if (!bad) {
		bad = no_graph(hi);
		at = 8;
		if (!bad)
			return LOOK_WEAK;
	}
	at += first_byte(bad);
	return at >= n || p[at & (TAP_PEEK - 1)] == ' ' ? LOOK_WEAK : LOOK_NONE;
}

/* The first bytes of a call, followed by zeros. */
struct classify_beginning {
	__u8 at[TAP_PEEK];
};

/* Global: see copy_call(). */
__noinline int look_at(const struct classify_beginning *b, __u32 n)
{
	const __u8 *p = b->at;
	__u32 w;

	if (!b)
		return LOOK_NONE;
	w = *(const __u32 *)p;

	if (n >= 5) {
		if (w == FOURCC('H', 'T', 'T', 'P'))
			return p[4] == '/' ? LOOK_RESPONSE : LOOK_NONE;
		if (w == FOURCC('G', 'E', 'T', ' ') && p[4] == '/')
			return LOOK_REQUEST;
		/*
		 * Any type of TLS record: capture may start in mid-connection.
		 */
		if (p[0] - 0x14u < 4 && p[1] == 3 && p[2] <= 4 && p[3] <= 0x41)
			return LOOK_TLS;
		if (!is_upper(p[0]) || !look_token(p, n))
			return look_weak(p, n);
		return w == FOURCC('G', 'E', 'T', ' ') ||
				       w == FOURCC('H', 'E', 'A', 'D')
			       ? LOOK_REQUEST
			       : LOOK_REQUEST_BODY;
	}
	/* Fewer than 5 bytes: HEAD and HTTP/ both begin with H. */
	if (p[0] == 'H')
		return n == 1	     ? LOOK_EITHER
		       : p[1] == 'T' ? LOOK_RESPONSE
				     : LOOK_REQUEST;
	return look_token(p, n) ? LOOK_REQUEST_BODY : look_weak(p, n);
}

/* The first buffer of the call that is not empty. False: it can't be read. */
static __always_inline bool front_of(const struct tap_call *c,
				     const char **from, __u32 *n)
{
	struct iovec v;
	int i;

	*from = c->buf;
	*n = c->len;
	if (!c->iov)
		return true;
	if (FIRST(c)) {
		*n = FIRST(c);
		return true;
	}
	for (i = 0; i < 4; i++) {
		if (i >= c->iovs)
			return false;
		if (READ_IOVEC(&v, sizeof(v), c->iov + i))
			return false;
		if (v.iov_len)
			break;
	}
	*from = v.iov_base;
	if (v.iov_len < *n)
		*n = v.iov_len;
	return true;
}

/* Reads the first bytes of the call. Returns their number, or < 0. */
static __always_inline int peek(const struct tap_call *c,
				struct classify_beginning *to)
{
	const char *from;
	__u32 n;

	if (!front_of(c, &from, &n))
		return -1;
	if (n >= TAP_PEEK) {
		if (bpf_probe_read_user(to->at, TAP_PEEK, from))
			return -1;
		return TAP_PEEK;
	}
	if (bpf_probe_read_user(to->at, n & (TAP_PEEK - 1), from))
		return -1;
	return n;
}

#endif /* BPF_CLASSIFY_BPF_H */
