/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names out of pci.ids: vendors at the line's start, their devices after one
 * tab; classes after "C ", their subclasses after one tab.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/decode_state.h"

#define NAMES_MAX 200000u

enum pci_table {
	PCI_VENDOR,
	PCI_DEVICE, /* vendor << 16 | device */
	PCI_CLASS,
	PCI_SUBCLASS, /* class << 8 | subclass */
};

struct pci_name {
	uint64_t key; /* table << 32 | id */
	uint32_t name;
};

struct decode_pci {
	bool missing;
	struct pci_name *entry; /* sorted by key */
	size_t n, cap;
	struct buf names;
};

void decode_pci_free(struct decode_pci *p)
{
	if (!p)
		return;
	buf_fini(&p->names);
	free(p->entry);
	free(p);
}

static int by_key(const void *pa, const void *pb)
{
	const struct pci_name *a = pa, *b = pb;

	return (a->key > b->key) - (a->key < b->key);
}

static int add_name(struct decode_pci *p, enum pci_table table, uint32_t id,
		    const char *name)
{
	if (p->n == NAMES_MAX)
		return 0;
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 32768;
		void *list = reallocarray(p->entry, cap, sizeof(*p->entry));

		if (!list)
			return -ENOMEM;
		p->entry = list;
		p->cap = cap;
	}
	p->entry[p->n++] = (struct pci_name){ (uint64_t)table << 32 | id,
					      (uint32_t)p->names.len };
	buf_puts(&p->names, name);
	return buf_putc(&p->names, '\0');
}

struct pci_reader {
	struct decode_pci *p;
	bool in_class;
	uint32_t parent;
};

static int read_line(struct pci_reader *r, char *line)
{
	unsigned id;
	int at = 0;

	line[strcspn(line, "\r\n")] = '\0';
	if (*line == '#' || !*line || !strncmp(line, "\t\t", 2))
		return 0;
	if (sscanf(line, "C %2x  %n", &id, &at) == 1 && at > 0) {
		r->in_class = true;
		r->parent = id;
		return add_name(r->p, PCI_CLASS, id, line + at);
	}
	if (*line == '\t' && r->in_class &&
	    sscanf(line, "\t%2x  %n", &id, &at) == 1 && at > 0)
		return add_name(r->p, PCI_SUBCLASS, r->parent << 8 | id,
				line + at);
	if (*line == '\t' && !r->in_class &&
	    sscanf(line, "\t%4x  %n", &id, &at) == 1 && at > 0)
		return add_name(r->p, PCI_DEVICE, r->parent << 16 | id,
				line + at);
	if (*line != '\t' && sscanf(line, "%4x  %n", &id, &at) == 1 && at > 0) {
		r->in_class = false;
		r->parent = id;
		return add_name(r->p, PCI_VENDOR, id, line + at);
	}
	return 0;
}

static int have_names(struct decode *d)
{
	struct pci_reader r = { 0 };
	char *line = NULL;
	size_t size = 0;
	int err = 0;
	FILE *f;

	if (d->pci)
		return 0;
	r.p = d->pci = calloc(1, sizeof(*d->pci));
	if (!r.p)
		return -ENOMEM;
	f = fopen(d->opt.pci_ids, "re");
	r.p->missing = !f;
	while (f && !err && getline(&line, &size, f) > 0)
		err = read_line(&r, line);
	free(line);
	if (f)
		fclose(f);
	if (r.p->n)
		qsort(r.p->entry, r.p->n, sizeof(*r.p->entry), by_key);
	return err;
}

static const char *find_name(const struct decode_pci *p, enum pci_table table,
			     uint64_t id)
{
	const struct pci_name key = { (uint64_t)table << 32 | id, 0 };
	const struct pci_name *found;

	if (id > UINT32_MAX || p->n == 0)
		return NULL;
	found = bsearch(&key, p->entry, p->n, sizeof(key), by_key);
	return found ? p->names.data + found->name : NULL;
}

/* *done: no file, and said so. */
static int begin_pci(struct decode *d, const struct decode_in *in,
		     struct buf *out, uint64_t *v, bool *done)
{
	int err = have_names(d);

	*done = !err && d->pci->missing;
	if (*done)
		return buf_puts(out, "missing pci.ids db");
	return err ? err : decode_number(d, in, v);
}

/*
 * ebpf_exporter looks a vendor up by two digits at least, a device by four: ids
 * with leading zeros are not found there, so neither here.
 */
int decode_pci_vendor(struct decode *d, const struct decode_in *in,
		      struct buf *out)
{
	const char *name;
	uint64_t v;
	bool done;
	int err = begin_pci(d, in, out, &v, &done);

	if (err || done)
		return err;
	name = v > 0xfff ? find_name(d->pci, PCI_VENDOR, v) : NULL;
	if (name)
		return buf_puts(out, name);
	return buf_printf(out, "unknown pci vendor: 0x%02llx",
			  (unsigned long long)v);
}

int decode_pci_device(struct decode *d, const struct decode_in *in,
		      struct buf *out)
{
	const char *name;
	uint64_t v;
	bool done;
	int err = begin_pci(d, in, out, &v, &done);

	if (err || done)
		return err;
	name = v > 0xfffffff ? find_name(d->pci, PCI_DEVICE, v) : NULL;
	if (name)
		return buf_puts(out, name);
	return buf_printf(out, "unknown pci device: 0x%04llx",
			  (unsigned long long)v);
}

int decode_pci_class(struct decode *d, const struct decode_in *in,
		     struct buf *out)
{
	const char *name;
	uint64_t v;
	bool done;
	int err = begin_pci(d, in, out, &v, &done);

	if (err || done)
		return err;
	name = find_name(d->pci, PCI_CLASS, v);
	if (name)
		return buf_puts(out, name);
	return buf_printf(out, "unknown pci class: 0x%02llx",
			  (unsigned long long)v);
}

int decode_pci_subclass(struct decode *d, const struct decode_in *in,
			struct buf *out)
{
	const char *name;
	uint64_t v;
	bool done;
	int err = begin_pci(d, in, out, &v, &done);

	if (err || done)
		return err;
	if (!find_name(d->pci, PCI_CLASS, v >> 8))
		return buf_printf(out, "unknown pci class: 0x%02llx",
				  (unsigned long long)(v >> 8));
	name = find_name(d->pci, PCI_SUBCLASS, v);
	if (name)
		return buf_puts(out, name);
	return buf_printf(
		out, "unknown pci subclass: 0x%02llx (class 0x%02llx)",
		(unsigned long long)(v & 0xff), (unsigned long long)(v >> 8));
}
