/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_JSON_SCAN_H
#define PROBE_AGENT_REPLAY_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads one JSON value that comes in parts, and reports what is in it, without
 * keeping it: memory is this struct, whatever the value holds. Takes all that
 * RFC 8259 does, and what loggers write beside it: \xNN in strings, control
 * bytes, and bytes that are not UTF-8. Not locked.
 */

#define JSON_SCAN_TEXT_MAX 4096u /* of a string or number; the rest is cut */
#define JSON_SCAN_PATH_MAX 256u
#define JSON_SCAN_DEPTH_MAX 2048u
#define JSON_SCAN_NAMED_MAX 32u /* depth down to which items have a path */

enum json_scan_kind {
	JSON_SCAN_STRING,
	JSON_SCAN_NUMBER,
	JSON_SCAN_TRUE,
	JSON_SCAN_FALSE,
	JSON_SCAN_NULL,
	JSON_SCAN_OBJECT, /* begins */
	JSON_SCAN_ARRAY, /* begins */
	JSON_SCAN_END, /* of the object or array of this path */
};

struct json_scan_item {
	enum json_scan_kind kind;
	/*
	 * Keys from the outermost object inwards, "log.entries[].time"; [] is
	 * an element. "": the outermost value. NULL: too deep or too long.
	 */
	const char *path;
	/* String: with escapes resolved, a NUL is U+FFFD. Both: terminated. */
	const char *text;
	size_t len;
	bool cut; /* the text was longer */
};

/* Nonzero ends the scan, and is what the feed returns. */
typedef int json_scan_fn(void *arg, const struct json_scan_item *item);

struct json_scan {
	json_scan_fn *fn;
	void *arg;
	int state, err;
	unsigned depth;
	uint8_t in_object[JSON_SCAN_DEPTH_MAX / 8]; /* bit by depth */
	/* The path of each depth; more than JSON_SCAN_PATH_MAX: none. */
	uint16_t path_len[JSON_SCAN_NAMED_MAX + 1];
	char path[JSON_SCAN_PATH_MAX + 1];
	/* The string or number, or \u escape, that is under way. */
	char text[JSON_SCAN_TEXT_MAX + 1];
	size_t len;
	bool cut, is_key;
	unsigned escape, digits, high;
	const char *literal;
};

/* Begins a value; fn gets its items, with arg. */
void json_scan_init(struct json_scan *s, json_scan_fn *fn, void *arg);

/* Takes the next part. Returns 0. -EPROTO: malformed. Else what fn returned. */
int json_scan_feed(struct json_scan *s, const char *data, size_t len);

/* Ends the value. Returns 0. -EPROTO: it is not whole. Else what fn returned.
 */
int json_scan_end(struct json_scan *s);

#endif /* PROBE_AGENT_REPLAY_JSON_SCAN_H */
