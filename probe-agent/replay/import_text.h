/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_REPLAY_IMPORT_TEXT_H
#define PROBE_AGENT_REPLAY_IMPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the formats of import.h have in common: times, durations and numbers as
 * other programs write them. Pure, but for the time zone of this host, which
 * holds for a time that names none. Any thread.
 */

/*
 * Each reads a time at the beginning of a text and returns where it ends; NULL:
 * no such time.
 *
 *	clf  28/Nov/2026:09:00:01 +0000, 28/Nov/2026:09:00:01.250
 *	iso  2026-11-28T09:00:01.123Z, 2026-11-28 09:00:01,5 +01:00
 *
 * Fractions, and all forms of a zone, may be there or not. Without a zone clf
 *is in this host's time (the TZ of the environment), iso in UTC.
 */
const char *import_time_clf(const char *text, int64_t *out_us);
const char *import_time_iso(const char *text, int64_t *out_us);

/*
 * Reads a whole text: either of the above, "Sat, 28 Nov 2026 09:00:01 GMT", or
 * a number since 1970: seconds, or ms, µs or ns if it is too large for the unit
 * before. -EINVAL.
 */
int import_time(const char *text, int64_t *out_us);
/* The same for a number. -EINVAL: before 1970, or too far in the future. */
int import_time_number(double since_1970, int64_t *out_us);

/* Reads digits with or without a fraction and an exponent; *at moves on. */
bool import_number(const char **at, double *out);

/*
 * Reads a duration of len bytes: a number, of unit_us µs each unless it has a
 * unit of its own (ns us µs ms s m h; 1m2.5s adds them up). Returns 1. 0: not
 * known ("", "-", negative). -EPROTO: malformed, or over LIMIT_DURATION_US.
 */
int import_duration(const char *text, size_t len, double unit_us,
		    uint64_t *out_us);

/* Reads HTTP/1.1, h2, 2.0 … as 11, 20; 0: unknown. */
uint32_t import_http_version(const char *text);

/* True for a method: one or more characters of RFC 9110's token. */
bool import_is_token(const char *text, size_t len);

#endif /* PROBE_AGENT_REPLAY_IMPORT_TEXT_H */
