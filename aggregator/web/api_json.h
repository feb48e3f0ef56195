/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_JSON_H
#define AGGREGATOR_WEB_API_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

/*
 * Writes JSON straight into a buffer, commas included: answers of columns have
 * ten thousand numbers, and no tree is needed for them. Texts must be UTF-8.
 * Pure; errors stick in out->err.
 */
struct api_json {
	struct buf *out; /* borrowed */
	bool comma; /* before the next value or key */
};

void api_json_open(struct api_json *j, char bracket); /* '{' or '[' */
void api_json_close(struct api_json *j, char bracket); /* '}' or ']' */
void api_json_key(struct api_json *j, const char *key);

void api_json_text(struct api_json *j, const char *text); /* NULL: null */
void api_json_text_n(struct api_json *j, const char *text, size_t len);
void api_json_u64(struct api_json *j, uint64_t v);
void api_json_i64(struct api_json *j, int64_t v);
void api_json_bool(struct api_json *j, bool v);
void api_json_null(struct api_json *j);
void api_json_real(struct api_json *j, double v); /* nine digits; NaN: null */
void api_json_us(struct api_json *j, int64_t us); /* as seconds, exact */

/* A key with its value. */
void api_json_put_text(struct api_json *j, const char *key, const char *text);
void api_json_put_u64(struct api_json *j, const char *key, uint64_t v);
void api_json_put_i64(struct api_json *j, const char *key, int64_t v);
void api_json_put_bool(struct api_json *j, const char *key, bool v);
void api_json_put_real(struct api_json *j, const char *key, double v);
void api_json_put_us(struct api_json *j, const char *key, int64_t us);

#endif /* AGGREGATOR_WEB_API_JSON_H */
