/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel addresses to the symbols before them: /proc/kallsyms, sorted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "probe-agent/programs/decode_state.h"

#define SYMBOLS_MAX (2u << 20)
/* An address that no symbol precedes: the table is read again, but not more
 * often than this. */
#define REREAD_NS (10 * CLOCK_NS_PER_S)

struct symbol {
	uint64_t address;
	uint32_t name; /* offset in names */
};

struct decode_symbols {
	struct symbol *symbol;
	size_t n, cap;
	struct buf names;
	uint64_t read_ns;
	bool reread; /* once more than REREAD_NS allows, at the start */
};

static int by_address(const void *pa, const void *pb)
{
	const struct symbol *a = pa, *b = pb;

	return (a->address > b->address) - (a->address < b->address);
}

static int add_symbol(struct decode_symbols *s, uint64_t address,
		      const char *name, size_t len)
{
	if (s->n == SYMBOLS_MAX)
		return 0;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1u << 16;
		void *p = reallocarray(s->symbol, cap, sizeof(*s->symbol));

		if (!p)
			return -ENOMEM;
		s->symbol = p;
		s->cap = cap;
	}
	s->symbol[s->n++] = (struct symbol){ address, (uint32_t)s->names.len };
	buf_append(&s->names, name, len);
	return buf_putc(&s->names, '\0');
}

/* "ffffffff81000000 T name\t[module]": the name is all of the third part. */
static int read_line(struct decode_symbols *s, char *line)
{
	char *end, *name;
	uint64_t address = strtoull(line, &end, 16);

	if (end == line || end[0] != ' ' || !end[1] || end[2] != ' ')
		return 0;
	name = end + 3;
	return add_symbol(s, address, name, strcspn(name, " \n"));
}

static int read_symbols(struct decode *d)
{
	struct decode_symbols *s = d->symbols;
	FILE *f = fopen(d->opt.kallsyms, "re");
	size_t size = 0;
	char *line = NULL;
	int err = 0;

	if (!f)
		return decode_fail(d, "%s: %s", d->opt.kallsyms,
				   strerror(errno));
	s->n = 0;
	buf_reset(&s->names);
	while (!err && getline(&line, &size, f) > 0)
		err = read_line(s, line);
	free(line);
	fclose(f);
	qsort(s->symbol, s->n, sizeof(*s->symbol), by_address);
	s->read_ns = clock_mono_ns();
	return err;
}

void decode_symbols_free(struct decode_symbols *s)
{
	if (!s)
		return;
	buf_fini(&s->names);
	free(s->symbol);
	free(s);
}

static const char *preceding(const struct decode_symbols *s, uint64_t address)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->symbol[mid].address <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? s->names.data + s->symbol[low - 1].name : NULL;
}

static int have_symbols(struct decode *d)
{
	int err;

	if (d->symbols)
		return 0;
	d->symbols = calloc(1, sizeof(*d->symbols));
	if (!d->symbols)
		return -ENOMEM;
	d->symbols->reread = true;
	err = read_symbols(d);
	if (err) {
		decode_symbols_free(d->symbols);
		d->symbols = NULL;
	}
	return err;
}

/* *name NULL: none precedes it, now neither. */
static int find_symbol(struct decode *d, uint64_t address, const char **name)
{
	struct decode_symbols *s;
	int err = have_symbols(d);

	if (err)
		return err;
	s = d->symbols;
	*name = preceding(s, address);
	if (*name || (!s->reread && clock_mono_ns() - s->read_ns < REREAD_NS))
		return 0;
	s->reread = false;
	err = read_symbols(d);
	if (!err)
		*name = preceding(s, address);
	return err;
}

int decode_ksym(struct decode *d, const struct decode_in *in, struct buf *out)
{
	const char *name;
	uint64_t address;
	int err;

	if (in->len != 8)
		return decode_fail(d, "ksym: not 8 bytes");
	memcpy(&address, in->data, 8);
	err = find_symbol(d, address, &name);
	if (err)
		return err;
	if (name)
		return buf_puts(out, name);
	return buf_printf(out, "unknown_addr:0x%llx",
			  (unsigned long long)address);
}

int decode_kstack(struct decode *d, const struct decode_in *in, struct buf *out)
{
	for (size_t at = 0; at + 8 <= in->len; at += 8) {
		const char *name;
		uint64_t address;
		int err;

		memcpy(&address, in->data + at, 8);
		if (address == 0)
			break;
		err = find_symbol(d, address, &name);
		if (err)
			return err;
		if (at > 0)
			buf_putc(out, '\n');
		buf_puts(out, name ? name : "??");
	}
	return out->err;
}
