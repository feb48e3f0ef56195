/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_HPACK_HUFFMAN_H
#define PROBE_AGENT_HTTP_HPACK_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The Huffman code of header strings (RFC 7541, appendix B), decoded as its
 * bytes come. The caller owns the state, which is zeroed before a string. No
 * allocation, no globals; any thread.
 */
struct hpack_huffman {
	uint64_t bits; /* not decoded yet, the first in the highest bit */
	uint32_t n; /* number of them */
};

/*
 * Decodes len bytes. Writes at most cap bytes to out and drops the others.
 * Returns the number of bytes decoded, which may be more than cap. -EPROTO: the
 * code for "end of string" is among them.
 */
ssize_t hpack_huffman_feed(struct hpack_huffman *h, const uint8_t *in,
			   size_t len, char *out, size_t cap);

/*
 * Call after the string's last byte. Returns 0. -EPROTO: what is left over is
 * not padding.
 */
int hpack_huffman_end(const struct hpack_huffman *h);

#endif /* PROBE_AGENT_HTTP_HPACK_HUFFMAN_H */
