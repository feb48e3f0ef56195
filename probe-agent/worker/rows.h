/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_ROWS_H
#define PROBE_AGENT_WORKER_ROWS_H

#include "common/buf.h"
#include "probe-agent/worker/program.h"

/* Keys and programs as text, for people and for their scripts. Stateless. */

/* A JSON string with its quotes. */
void rows_put_string(struct buf *out, const char *s);
/* A key as one line of JSON. */
void rows_put_json(struct buf *out, const struct table_row *row);
/* What is known of a program, as a JSON object. */
void rows_put_program(struct buf *out, struct program *p);
/* Its maps in the form of ebpf_exporter's page; raw: only the bytes. */
void rows_put_maps(struct buf *out, struct program *p, bool raw);

#endif /* PROBE_AGENT_WORKER_ROWS_H */
