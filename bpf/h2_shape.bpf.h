/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef BPF_H2_SHAPE_BPF_H
#define BPF_H2_SHAPE_BPF_H

/*
 * Can these bytes be HTTP/2 frames (RFC 9113, 4.1 and 6)? Random bytes pass for
 * a frame once in some 2^18 times, and hardly ever twice.
 */

#include "bpf/classify.bpf.h"
#include "bpf/h2_walk.bpf.h"

/* Frames of a call that are checked, at most. */
#define H2_CHECKED 8
/* Longer frames must be allowed by the peer, and hardly ever are. */
#define H2_USUAL_MAX 16384
#define H2_USUAL_DATA_MAX (4 << 20)

/* What the frames of a type look like. */
struct h2_form {
	__u32 min, max; /* bytes of payload */
	__u8 flags; /* that may be set */
	__u8 stream; /* 0: must be 0; 1: must be odd; 2: not 0; 3: any */
};

static __always_inline bool form_of(__u8 type, struct h2_form *f)
{
	f->min = 0;
	f->max = H2_USUAL_MAX;
	f->flags = 0;
	f->stream = 0;
	switch (type) {
	case 0: /* DATA */
		f->max = H2_USUAL_DATA_MAX;
		f->flags = 0x09;
		f->stream = 1;
		return true;
	case 1: /* HEADERS */
		f->min = 1;
		f->flags = 0x2d;
		f->stream = 1;
		return true;
	case 2: /* PRIORITY */
		f->min = f->max = 5;
		f->stream = 2;
		return true;
	case 3: /* RST_STREAM */
		f->min = f->max = 4;
		f->stream = 2;
		return true;
	case 4: /* SETTINGS */
		f->flags = 0x01;
		return true;
	case 5: /* PUSH_PROMISE */
		f->min = 5;
		f->flags = 0x0c;
		f->stream = 1;
		return true;
	case 6: /* PING */
		f->min = f->max = 8;
		f->flags = 0x01;
		return true;
	case 7: /* GOAWAY */
		f->min = 8;
		return true;
	case 8: /* WINDOW_UPDATE */
		f->min = f->max = 4;
		f->stream = 3;
		return true;
	case 9: /* CONTINUATION */
		f->flags = 0x04;
		f->stream = 1;
		return true;
	default:
		return false;
	}
}

/* Can the head of a frame be at b? */
static __always_inline bool is_frame(const __u8 *b)
{
	struct h2_form f;
	__u32 len = (__u32)b[0] << 16 | (__u32)b[1] << 8 | b[2];
	__u32 stream =
		(__u32)b[5] << 24 | (__u32)b[6] << 16 | (__u32)b[7] << 8 | b[8];

	if (!form_of(b[3], &f) || len < f.min || len > f.max ||
	    b[4] & ~f.flags || stream >> 31)
		return false;
	if (b[3] == 4 && (len % 6 || (b[4] && len)))
		return false;
	if (f.stream == 0)
		return !stream;
	return f.stream == 3 || (f.stream == 2 ? stream != 0 : stream & 1);
}

/*
 * Checks the frames of a call from byte at on, in its first buffer. Returns how
 * many could be frames; -1: one could not. Global: see copy_call().
 */
__noinline int h2_frames(const struct tap_call *c, __u32 at)
{
	__u8 head[16] = {};
	const char *from;
	__u32 n, i;

	if (!c || !front_of(c, &from, &n))
		return 0;
	for (i = 0; i < H2_CHECKED; i++) {
		if (at >= n || n - at < H2_WALK_HEAD)
			break;
		if (bpf_probe_read_user(head, H2_WALK_HEAD, from + at))
			break;
		if (!is_frame(head))
			return -1;
		at += H2_WALK_HEAD +
		      ((__u32)head[0] << 16 | (__u32)head[1] << 8 | head[2]);
	}
	return i;
}

#endif /* BPF_H2_SHAPE_BPF_H */
