/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_HPACK_H
#define PROBE_AGENT_HTTP_HPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe-agent/http/exchange.h"
#include "probe-agent/http/hpack_huffman.h"
#include "probe-agent/http/hpack_window.h"

/*
 * HPACK (RFC 7541): header blocks → fields, as a bystander reads them: one that
 * may have joined late or missed bytes (see hpack_window.h). A value is decoded
 * only if its name is one of those that are kept. Blocks may come in pieces
 * that are cut anywhere; only the string that is being read is buffered.
 *
 * The caller owns the state. No allocation but the window's; one thread per
 * budget.
 */

/* A header field. The value is lent until the next call. */
struct hpack_field {
	enum hpack_name name;
	bool known; /* the value is; false for HPACK_OTHER and _UNKNOWN */
	bool cut; /* the value is longer */
	struct slice value;
};

/* A header block that is being decoded; zeroed but for text at its start. */
struct hpack_block {
	struct hpack_huffman code;
	uint32_t number; /* that is being read, or was */
	uint32_t left; /* bytes of the string that is being read */
	uint16_t text_len; /* of the string that is being read */
	uint16_t text_max; /* bytes of it that are kept */
	uint8_t state; /* of hpack.c */
	uint8_t what; /* the number is for */
	uint8_t shift; /* of the number's next seven bits */
	uint8_t name; /* enum hpack_name, of the literal */
	bool huffman; /* the string is coded so */
	bool insert; /* the literal goes into the table */
	bool cut;
	bool fields; /* there was one */
	uint16_t wanted; /* 1 << enum hpack_name */
	char text[HPACK_VALUE_MAX_BYTES];
};

#define HPACK_ALL UINT16_MAX

/* wanted: 1 << enum hpack_name; literals of other names are passed over. */
void hpack_begin(struct hpack_block *b, uint16_t wanted);
/*
 * Takes bytes of a block from *at, up to the end of the next field. Returns 1
 * and the field in *out; 0 if the input is used up. -EPROTO: this is no header
 * block, or the window is not that of this connection.
 */
int hpack_next(struct hpack_window *w, struct hpack_block *b,
	       const uint8_t **at, const uint8_t *end, struct hpack_field *out);
/* Returns 0 if the block may end here. -EPROTO: it ends inside a field. */
int hpack_end(const struct hpack_block *b);

/* The name of n characters; HPACK_OTHER for those that are not kept. */
enum hpack_name hpack_name_of(const char *name, size_t n);

static inline bool hpack_is_pseudo(enum hpack_name name)
{
	return name >= HPACK_METHOD && name <= HPACK_STATUS;
}

#endif /* PROBE_AGENT_HTTP_HPACK_H */
