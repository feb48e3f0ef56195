/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/rows.h"

#include <inttypes.h>
#include <string.h>

#include "proto/samples.h"

void rows_put_string(struct buf *out, const char *s)
{
	buf_putc(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_printf(out, "\\%c", *s);
		else if ((unsigned char)*s < ' ')
			buf_printf(out, "\\u%04x", (unsigned char)*s);
		else
			buf_putc(out, *s);
	}
	buf_putc(out, '"');
}

static void put_hex(struct buf *out, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%02x", p[i]);
}

void rows_put_json(struct buf *out, const struct table_row *row)
{
	buf_puts(out, "{\"map\":");
	rows_put_string(out, row->map);
	buf_puts(out, ",\"metric\":");
	rows_put_string(out, row->metric);
	buf_puts(out, ",\"labels\":{");
	for (size_t i = 0; row->label && i < row->n_labels; i++) {
		if (i > 0)
			buf_putc(out, ',');
		rows_put_string(out, row->name[i]);
		buf_putc(out, ':');
		rows_put_string(out, row->label[i]);
	}
	buf_putc(out, '}');
	if (!row->label) {
		buf_puts(out, ",\"key\":\"");
		put_hex(out, row->key, row->key_len);
		buf_putc(out, '"');
	}
	if (row->bucket >= 0)
		buf_printf(out, ",\"bucket\":%" PRId64, row->bucket);
	else if (row->bucket == -2)
		buf_puts(out, ",\"bucket\":\"sum\"");
	buf_printf(out, "%s,\"value\":%" PRId64 "}\n",
		   row->event ? ",\"event\":true" : "", row->value);
}

static void put_map(struct buf *out, struct table *t, bool first)
{
	const struct object_map *m = table_map(t);
	struct table_stats s;

	table_stats(t, &s);
	buf_puts(out, first ? "{\"name\":" : ",{\"name\":");
	rows_put_string(out, m->name);
	buf_puts(out, ",\"guarantee\":");
	rows_put_string(out, samples_guarantee_name(m->guarantee));
	buf_printf(out,
		   ",\"entries\":%" PRIu64 ",\"max_entries\":%u"
		   ",\"memory\":%" PRIu64 ",\"resets\":%" PRIu64
		   ",\"undecoded\":%" PRIu64 ",\"skipped\":%" PRIu64
		   ",\"truncated\":%" PRIu64 ",\"complaint\":",
		   s.entries, m->max_entries,
		   (uint64_t)m->max_entries * (m->key_size + m->value_size),
		   s.resets, s.undecoded, s.skipped, s.truncated);
	rows_put_string(out, table_complaint(t));
	buf_putc(out, '}');
}

static const char *dialect_name(enum spec_dialect d)
{
	switch (d) {
	case SPEC_EXPORTER:
		return "ebpf_exporter";
	case SPEC_EXPORTER_V1:
		return "ebpf_exporter v1";
	case SPEC_OURS:
		return "redtap";
	default:
		return "map names";
	}
}

void rows_put_program(struct buf *out, struct program *p)
{
	const struct cost *c = program_cost(p);
	const struct spec *s = program_spec(p);
	const struct program_times *times = program_times(p);
	struct program_figures f;
	struct table *t;

	program_figures(p, &f);
	buf_puts(out, "{\"name\":");
	rows_put_string(out, s->name);
	buf_puts(out, ",\"file\":");
	rows_put_string(out, s->file);
	buf_puts(out, ",\"format\":");
	rows_put_string(out, dialect_name(s->dialect));
	buf_puts(out, ",\"state\":");
	rows_put_string(out, samples_state_name(program_state(p)));
	buf_puts(out, ",\"reason\":");
	rows_put_string(out, program_reason(p));
	buf_puts(out, ",\"digest\":\"");
	if (program_object(p))
		put_hex(out, object_digest(program_object(p)), SHA256_BYTES);
	buf_printf(out,
		   "\",\"runs\":%" PRIu64 ",\"run_ns\":%" PRIu64
		   ",\"trap_ns\":%" PRIu64 ",\"cpu\":%.6f"
		   ",\"entries\":%" PRIu64 ",\"max_entries\":%" PRIu64
		   ",\"series\":%" PRIu64 ",\"lost\":%" PRIu64
		   ",\"read_us\":%" PRId64 ",\"took_us\":%" PRId64
		   ",\"detach_us\":[%" PRId64 ",%" PRId64
		   "],\"attach_us\":[%" PRId64 ",%" PRId64
		   "],\"pinned\":%s,\"maps\":[",
		   c->runs, c->run_ns, c->trap_ns, c->cpu, f.entries,
		   f.max_entries, f.series, f.lost, program_read_us(p),
		   program_took_us(p), times->detach_us[0], times->detach_us[1],
		   times->attach_us[0], times->attach_us[1],
		   program_pinned(p) ? "true" : "false");
	for (size_t i = 0; (t = program_table(p, i)); i++)
		put_map(out, t, i == 0);
	buf_puts(out, "]}");
}

struct text {
	struct buf *out;
	bool raw;
};

static void put_row(void *arg, const struct table_row *row)
{
	const struct text *to = arg;

	put_hex(to->out, row->key, row->key_len);
	if (!to->raw) {
		buf_puts(to->out, " ([");
		for (size_t i = 0; row->label && i < row->n_labels; i++)
			buf_printf(to->out, "%s%s", i ? " " : "",
				   row->label[i]);
		buf_puts(to->out, row->label ? "])" : "not decoded])");
		if (row->bucket >= 0)
			buf_printf(to->out, " bucket %" PRId64, row->bucket);
		else if (row->bucket == -2)
			buf_puts(to->out, " sum");
	}
	buf_printf(to->out, " -> %" PRId64 "\n", row->value);
}

void rows_put_maps(struct buf *out, struct program *p, bool raw)
{
	struct text to = { out, raw };
	struct table *t;

	buf_printf(out, "## Config: %s\n\n", program_name(p));
	for (size_t i = 0; (t = program_table(p, i)); i++) {
		const struct object_map *m = table_map(t);
		struct table_stats s;

		table_stats(t, &s);
		buf_printf(out, "### Map: %s\n\n", m->name);
		buf_printf(out,
			   "entries %" PRIu64 " of %u, %s, resets %" PRIu64
			   ", not decoded %" PRIu64 "%s%s\n\n```\n",
			   s.entries, m->max_entries,
			   samples_guarantee_name(m->guarantee), s.resets,
			   s.undecoded, *table_complaint(t) ? ": " : "",
			   table_complaint(t));
		table_each(t, put_row, &to);
		buf_puts(out, "```\n\n");
	}
}
