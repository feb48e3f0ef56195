/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/hpack_huffman.h"

#include <errno.h>

/*
 * The code is canonical: codes of one length follow each other, and so do the
 * lengths. So a code's length is found by comparing it with the last code of
 * each length, and its symbol by counting from the first.
 */
struct code_length {
	uint32_t last; /* code of this length, in the highest bits, then ones */
	uint8_t bits;
	uint8_t symbol; /* index of the first one in symbols[] */
	uint32_t first; /* code of this length */
};

static const struct code_length lengths[] = {
	{ 0x4fffffff, 5, 0, 0x0 },	     { 0xb7ffffff, 6, 10, 0x14 },
	{ 0xf7ffffff, 7, 36, 0x5c },	     { 0xfdffffff, 8, 68, 0xf8 },
	{ 0xff3fffff, 10, 74, 0x3f8 },	     { 0xff9fffff, 11, 79, 0x7fa },
	{ 0xffbfffff, 12, 82, 0xffa },	     { 0xffefffff, 13, 84, 0x1ff8 },
	{ 0xfff7ffff, 14, 90, 0x3ffc },	     { 0xfffdffff, 15, 92, 0x7ffc },
	{ 0xfffe5fff, 19, 95, 0x7fff0 },     { 0xfffedfff, 20, 98, 0xfffe6 },
	{ 0xffff47ff, 21, 106, 0x1fffdc },   { 0xffffafff, 22, 119, 0x3fffd2 },
	{ 0xffffe9ff, 23, 145, 0x7fffd8 },   { 0xfffff5ff, 24, 174, 0xffffea },
	{ 0xfffff7ff, 25, 186, 0x1ffffec },  { 0xfffffbbf, 26, 190, 0x3ffffe0 },
	{ 0xfffffe1f, 27, 205, 0x7ffffde },  { 0xffffffef, 28, 224, 0xfffffe2 },
	{ 0xffffffff, 30, 253, 0x3ffffffc },
};

/* By length, then by value; behind the last one comes "end of string". */
static const uint8_t symbols[] = {
	48,  49,  50,  97,  99,	 101, 105, 111, 115, 116, 32,  37,  45,	 46,
	47,  51,  52,  53,  54,	 55,  56,  57,	61,  65,  95,  98,  100, 102,
	103, 104, 108, 109, 110, 112, 114, 117, 58,  66,  67,  68,  69,	 70,
	71,  72,  73,  74,  75,	 76,  77,  78,	79,  80,  81,  82,  83,	 84,
	85,  86,  87,  89,  106, 107, 113, 118, 119, 120, 121, 122, 38,	 42,
	44,  59,  88,  90,  33,	 34,  40,  41,	63,  39,  43,  124, 35,	 62,
	0,   36,  64,  91,  93,	 126, 94,  125, 60,  96,  123, 92,  195, 208,
	128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177,
	179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154,
	156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190,
	196, 198, 228, 232, 233, 1,   135, 137, 138, 139, 140, 141, 143, 147,
	149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182,
	183, 188, 191, 197, 231, 239, 9,   142, 144, 145, 148, 159, 171, 206,
	215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205,
	210, 213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212, 214,
	221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254,
	2,   3,	  4,   5,   6,	 7,   8,   11,	12,  14,  15,  16,  17,	 18,
	19,  20,  21,  23,  24,	 25,  26,  27,	28,  29,  30,  31,  127, 220,
	249, 10,  13,  22,
};

/*
 * The same for codes of up to eight bits, which is nearly all there are, by the
 * next eight bits: length << 8 | symbol. 0: the code is longer.
 */
static const uint16_t short_codes[256] = {
	0x530, 0x530, 0x530, 0x530, 0x530, 0x530, 0x530, 0x530, 0x531, 0x531,
	0x531, 0x531, 0x531, 0x531, 0x531, 0x531, 0x532, 0x532, 0x532, 0x532,
	0x532, 0x532, 0x532, 0x532, 0x561, 0x561, 0x561, 0x561, 0x561, 0x561,
	0x561, 0x561, 0x563, 0x563, 0x563, 0x563, 0x563, 0x563, 0x563, 0x563,
	0x565, 0x565, 0x565, 0x565, 0x565, 0x565, 0x565, 0x565, 0x569, 0x569,
	0x569, 0x569, 0x569, 0x569, 0x569, 0x569, 0x56f, 0x56f, 0x56f, 0x56f,
	0x56f, 0x56f, 0x56f, 0x56f, 0x573, 0x573, 0x573, 0x573, 0x573, 0x573,
	0x573, 0x573, 0x574, 0x574, 0x574, 0x574, 0x574, 0x574, 0x574, 0x574,
	0x620, 0x620, 0x620, 0x620, 0x625, 0x625, 0x625, 0x625, 0x62d, 0x62d,
	0x62d, 0x62d, 0x62e, 0x62e, 0x62e, 0x62e, 0x62f, 0x62f, 0x62f, 0x62f,
	0x633, 0x633, 0x633, 0x633, 0x634, 0x634, 0x634, 0x634, 0x635, 0x635,
	0x635, 0x635, 0x636, 0x636, 0x636, 0x636, 0x637, 0x637, 0x637, 0x637,
	0x638, 0x638, 0x638, 0x638, 0x639, 0x639, 0x639, 0x639, 0x63d, 0x63d,
	0x63d, 0x63d, 0x641, 0x641, 0x641, 0x641, 0x65f, 0x65f, 0x65f, 0x65f,
	0x662, 0x662, 0x662, 0x662, 0x664, 0x664, 0x664, 0x664, 0x666, 0x666,
	0x666, 0x666, 0x667, 0x667, 0x667, 0x667, 0x668, 0x668, 0x668, 0x668,
	0x66c, 0x66c, 0x66c, 0x66c, 0x66d, 0x66d, 0x66d, 0x66d, 0x66e, 0x66e,
	0x66e, 0x66e, 0x670, 0x670, 0x670, 0x670, 0x672, 0x672, 0x672, 0x672,
	0x675, 0x675, 0x675, 0x675, 0x73a, 0x73a, 0x742, 0x742, 0x743, 0x743,
	0x744, 0x744, 0x745, 0x745, 0x746, 0x746, 0x747, 0x747, 0x748, 0x748,
	0x749, 0x749, 0x74a, 0x74a, 0x74b, 0x74b, 0x74c, 0x74c, 0x74d, 0x74d,
	0x74e, 0x74e, 0x74f, 0x74f, 0x750, 0x750, 0x751, 0x751, 0x752, 0x752,
	0x753, 0x753, 0x754, 0x754, 0x755, 0x755, 0x756, 0x756, 0x757, 0x757,
	0x759, 0x759, 0x76a, 0x76a, 0x76b, 0x76b, 0x771, 0x771, 0x776, 0x776,
	0x777, 0x777, 0x778, 0x778, 0x779, 0x779, 0x77a, 0x77a, 0x826, 0x82a,
	0x82c, 0x83b, 0x858, 0x85a, 0x000, 0x000,
};

#define END_OF_STRING 256
#define PADDING_MAX_BITS 7

/* The code that bits begin with, the first in the highest bit. */
static uint16_t code_at(uint64_t bits, uint32_t *len)
{
	const struct code_length *l = lengths;
	uint16_t code = short_codes[bits >> 56];

	if (code) {
		*len = code >> 8;
		return code & 0xff;
	}
	while ((uint32_t)(bits >> 32) > l->last)
		l++;
	*len = l->bits;
	code = (uint16_t)(l->symbol + (uint32_t)(bits >> (64 - l->bits)) -
			  l->first);
	return code < sizeof(symbols) ? symbols[code] : END_OF_STRING;
}

ssize_t hpack_huffman_feed(struct hpack_huffman *h, const uint8_t *in,
			   size_t len, char *out, size_t cap)
{
	const uint8_t *end = in + len;
	uint64_t bits = h->bits;
	uint32_t n = h->n, used;
	size_t made = 0;

	for (;;) {
		uint16_t symbol;

		for (; in < end && n <= 56; n += 8)
			bits |= (uint64_t)*in++ << (56 - n);
		symbol = code_at(bits, &used);
		if (used > n)
			break;
		if (symbol == END_OF_STRING)
			return -EPROTO;
		bits <<= used;
		n -= used;
		if (made < cap)
			out[made] = (char)symbol;
		made++;
	}
	h->bits = bits;
	h->n = n;
	return (ssize_t)made;
}

int hpack_huffman_end(const struct hpack_huffman *h)
{
	uint64_t ones = ~(UINT64_MAX >> h->n);

	if (h->n > PADDING_MAX_BITS || h->bits != ones)
		return -EPROTO;
	return 0;
}
