/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_HTTP_HPACK_WINDOW_H
#define PROBE_AGENT_HTTP_HPACK_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a bystander knows of one direction's dynamic table (RFC 7541, section
 * 2.3.2): a window over its newest insertions.
 *
 * An index into the table counts from the newest entry. So an entry that was
 * inserted since the window began is found exactly, and an older entry cannot
 * be named at all. The size of the table does not matter: an encoder never
 * refers to an entry that it has evicted, and an entry too large for the table
 * empties it, so that no later index reaches that far. Hence one window serves
 * a connection that is seen from its start, one that was joined late, and one
 * that lost bytes; only the time when the window began differs.
 *
 * The window keeps the values of a few names, and only the place of all other
 * entries. The caller owns it. It grows on demand to what the table can hold;
 * its memory counts against a budget. At the budget's limit it drops its oldest
 * values, which makes fields unknown, never wrong. One thread per budget.
 */

/* Pseudo-headers are those from METHOD to STATUS. */
enum hpack_name {
	HPACK_OTHER, /* a name that is not below */
	HPACK_UNKNOWN, /* the name is from before the window */
	HPACK_METHOD,
	HPACK_SCHEME,
	HPACK_PATH,
	HPACK_AUTHORITY,
	HPACK_PROTOCOL,
	HPACK_STATUS,
	HPACK_HOST,
	HPACK_CONTENT_TYPE,
	HPACK_GRPC_STATUS,
	HPACK_CONNECT_VERSION, /* connect-protocol-version */
	HPACK_TRACEPARENT,
	HPACK_DATE,
	HPACK_NAMES,
};

#define HPACK_VALUE_MAX_BYTES 2048u /* of a path; other values have less */

/* Memory of all windows. */
struct hpack_budget {
	size_t used_bytes, max_bytes;
	uint64_t refused; /* times that a window could not grow */
};

/* An entry of the window. */
struct hpack_entry {
	uint32_t at; /* where the value begins in the values */
	uint16_t len; /* of the value */
	uint8_t name; /* enum hpack_name */
	bool cut; /* the value is longer than what is kept */
};

/* The window of one direction. */
struct hpack_window {
	struct hpack_budget *budget;
	struct hpack_entry *entries; /* a ring */
	char *values; /* a ring */
	uint64_t inserted; /* entries, since the window began */
	uint32_t written; /* bytes of values ever, wraps */
	uint32_t first; /* of these, the oldest that is still there */
	uint32_t table_bytes; /* size of the encoder's table as far as known */
	uint16_t n_entries; /* room, a power of two or 0 */
	uint16_t kept; /* entries that are there */
	uint32_t n_values; /* room, a power of two or 0 */
	bool whole; /* the window has seen every insertion */
};

/* whole: the connection is seen from its first byte on. */
void hpack_window_init(struct hpack_window *w, struct hpack_budget *budget,
		       bool whole);
/* Gives back what the window has grown by. A zeroed window is fine. */
void hpack_window_fini(struct hpack_window *w);
/* Insertions may have been missed: the window begins anew. */
void hpack_window_reset(struct hpack_window *w);

/* The newest entry. value: len bytes, borrowed. */
void hpack_window_insert(struct hpack_window *w, enum hpack_name name,
			 const char *value, size_t len, bool cut);
/* The encoder's table has another size from now on. */
void hpack_window_resize(struct hpack_window *w, uint32_t bytes);

/*
 * The i-th newest entry, from 1. Returns its name, HPACK_UNKNOWN if it is older
 * than the window. -EPROTO: there is no such entry.
 */
int hpack_window_name(const struct hpack_window *w, uint32_t i);
/*
 * Copies the value of an entry, which has a name that is kept, to out, which
 * has room for HPACK_VALUE_MAX_BYTES. Returns its length. -ENOENT: the value is
 * forgotten.
 */
int hpack_window_value(const struct hpack_window *w, uint32_t i, char *out,
		       bool *cut);

#endif /* PROBE_AGENT_HTTP_HPACK_WINDOW_H */
