/* SPDX-License-Identifier: Apache-2.0 */
/* Types of C as BTF has them, and which text their bytes become. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>

#include "probe-agent/programs/spec_reader.h"
#include "probe-agent/worker/layout.h"

#define DEPTH_MAX 8 /* of structs in structs, and of typedefs */
#define LABELS_MAX 64u

struct walk {
	const struct btf *btf;
	struct spec_label **list;
	size_t *n;
	char *why;
	size_t why_size;
};

static const struct btf_type *strip(const struct btf *btf, unsigned *id)
{
	const struct btf_type *t = btf__type_by_id(btf, *id);

	for (unsigned i = 0; t && i < 32; i++) {
		if (!btf_is_mod(t) && !btf_is_typedef(t))
			return t;
		*id = t->type;
		t = btf__type_by_id(btf, *id);
	}
	return NULL;
}

/* Does the chain of typedefs have this name? */
static bool is_called(const struct btf *btf, unsigned id, const char *name)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	for (unsigned i = 0; t && i < 32; i++) {
		const char *its = btf__name_by_offset(btf, t->name_off);

		if (btf_is_typedef(t) && its && !strcmp(its, name))
			return true;
		if (!btf_is_mod(t) && !btf_is_typedef(t))
			return false;
		t = btf__type_by_id(btf, t->type);
	}
	return false;
}

static int refuse_member(const struct walk *w, const char *label,
			 const char *what)
{
	if (w->why)
		snprintf(w->why, w->why_size, "%s: %s", label, what);
	return -EINVAL;
}

/* --- decoders --- */

static struct spec_decoder *add_decoder(struct spec_label *l,
					enum spec_decoder_kind kind)
{
	struct spec_decoder *d =
		spec_grow(l->decoders, &l->n_decoders, sizeof(*d));

	if (!d)
		return NULL;
	l->decoders = d;
	d += l->n_decoders - 1;
	d->kind = kind;
	return d;
}

static int add_name(struct spec_decoder *d, long long value, const char *name)
{
	struct spec_pair *p = spec_grow(d->map, &d->n_map, sizeof(*p));

	if (!p)
		return -ENOMEM;
	d->map = p;
	p += d->n_map - 1;
	p->to = strdup(name);
	return p->to && asprintf(&p->from, "%lld", value) >= 0 ? 0 : -ENOMEM;
}

static int add_enum(const struct btf *btf, const struct btf_type *t,
		    struct spec_label *l)
{
	bool is_signed = btf_kflag(t);
	struct spec_decoder *d =
		add_decoder(l, is_signed ? SPEC_INT : SPEC_UINT);
	int err = 0;

	if (d)
		d = add_decoder(l, SPEC_STATIC_MAP);
	if (!d)
		return -ENOMEM;
	d->allow_unknown = true;
	for (unsigned i = 0; i < btf_vlen(t) && !err; i++) {
		if (btf_is_enum64(t)) {
			const struct btf_enum64 *e = btf_enum64(t) + i;

			err = add_name(d, (long long)btf_enum64_value(e),
				       btf__name_by_offset(btf, e->name_off));
		} else {
			const struct btf_enum *e = btf_enum(t) + i;

			err = add_name(d,
				       is_signed ? (long long)e->val
						 : (long long)(uint32_t)e->val,
				       btf__name_by_offset(btf, e->name_off));
		}
	}
	return err;
}

static bool is_byte(const struct btf *btf, unsigned id, bool *is_text)
{
	const struct btf_type *t = strip(btf, &id);
	const char *name;

	if (!t || !btf_is_int(t) || t->size != 1)
		return false;
	name = btf__name_by_offset(btf, t->name_off);
	*is_text = (btf_int_encoding(t) & BTF_INT_CHAR) ||
		   (name && !strcmp(name, "char"));
	return true;
}

/* The decoder for a scalar or an array; its size is set. */
static int add_decoders(const struct walk *w, unsigned id,
			const struct btf_type *t, struct spec_label *l)
{
	enum spec_decoder_kind kind = SPEC_UINT;
	bool is_text;

	l->size = (unsigned)btf__resolve_size(w->btf, id);
	if (btf_is_array(t)) {
		if (!is_byte(w->btf, btf_array(t)->type, &is_text))
			return refuse_member(
				w, l->name,
				"an array of other than bytes is no "
				"label");
		kind = is_text ? SPEC_STRING : SPEC_HEX;
		if (is_called(w->btf, id, "ipv6_addr") ||
		    is_called(w->btf, id, "ipv4_addr"))
			kind = SPEC_INET_IP;
	} else if (btf_is_any_enum(t)) {
		return add_enum(w->btf, t, l);
	} else if (btf_is_int(t)) {
		if (l->size > 8)
			kind = is_called(w->btf, id, "ipv6_addr") ? SPEC_INET_IP
								  : SPEC_HEX;
		else if (is_called(w->btf, id, "ipv4_addr") ||
			 is_called(w->btf, id, "ipv6_addr"))
			kind = SPEC_INET_IP;
		else if (is_called(w->btf, id, "duration"))
			kind = SPEC_DURATION;
		else if (btf_int_encoding(t) & BTF_INT_BOOL)
			kind = SPEC_BOOL;
		else if (btf_int_encoding(t) & BTF_INT_SIGNED)
			kind = SPEC_INT;
	} else if (!btf_is_ptr(t)) {
		return refuse_member(w, l->name,
				     btf_is_float(t) ? "a float is no label"
						     : "its type is no label");
	}
	return add_decoder(l, kind) ? 0 : -ENOMEM;
}

/* --- members --- */

static char *join_names(const char *prefix, const char *name)
{
	char *out = NULL;

	if (!*prefix || !*name)
		return strdup(*prefix ? prefix : name);
	return asprintf(&out, "%s_%s", prefix, name) < 0 ? NULL : out;
}

static int add_labels(struct walk *w, unsigned id, const char *name,
		      unsigned offset, unsigned depth);

static int add_members(struct walk *w, const struct btf_type *t,
		       const char *prefix, unsigned offset, unsigned depth)
{
	int err = 0;

	for (unsigned i = 0; i < btf_vlen(t) && !err; i++) {
		const struct btf_member *m = btf_members(t) + i;
		const char *member = btf__name_by_offset(w->btf, m->name_off);
		unsigned bits = btf_member_bit_offset(t, i);
		char *name = join_names(prefix, member ? member : "");

		if (!name)
			return -ENOMEM;
		if (bits % 8 || btf_member_bitfield_size(t, i))
			err = refuse_member(w, name, "a bit field is no label");
		else
			err = add_labels(w, m->type, name, offset + bits / 8,
					 depth + 1);
		free(name);
	}
	return err;
}

static int add_labels(struct walk *w, unsigned id, const char *name,
		      unsigned offset, unsigned depth)
{
	unsigned plain = id;
	const struct btf_type *t = strip(w->btf, &plain);
	struct spec_label *l;
	const char *is;

	if (!t || depth > DEPTH_MAX || *w->n >= LABELS_MAX)
		return refuse_member(w, name,
				     "its type is too deep or too wide");
	is = btf__name_by_offset(w->btf, t->name_off);
	/* The kernel's own struct of 16 bytes, as good as a typedef. */
	if (btf_is_struct(t) && !(is && !strcmp(is, "in6_addr")))
		return add_members(w, t, name, offset, depth);
	l = spec_grow(*w->list, w->n, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*w->list = l;
	l += *w->n - 1;
	l->name = strdup(name);
	l->offset = offset;
	if (!l->name)
		return -ENOMEM;
	if (btf_is_struct(t)) {
		l->size = t->size;
		return add_decoder(l, SPEC_INET_IP) ? 0 : -ENOMEM;
	}
	return add_decoders(w, id, t, l);
}

int layout_labels(const struct btf *btf, unsigned type, const char *name,
		  struct spec_label **list, size_t *n, char *why,
		  size_t why_size)
{
	struct walk w = { btf, list, n, why, why_size };

	return add_labels(&w, type, layout_is_struct(btf, type) ? "" : name, 0,
			  0);
}

int layout_find(const struct btf *btf, unsigned type, const char *name,
		struct spec_label *out)
{
	struct spec_label *list = NULL;
	size_t n = 0;
	int err = -ENOENT;

	/* What is no label by itself may have decoders in the file. */
	layout_labels(btf, type, name, &list, &n, NULL, 0);
	for (size_t i = 0; i < n; i++) {
		if (err && list[i].name && !strcmp(list[i].name, name)) {
			*out = list[i];
			err = 0;
		} else {
			spec_label_fini(&list[i]);
		}
	}
	free(list);
	return err;
}

int layout_number(const struct btf *btf, unsigned type,
		  struct layout_number *out)
{
	const struct btf_type *t = strip(btf, &type);

	if (!t || !(btf_is_int(t) || btf_is_any_enum(t)) || t->size > 8)
		return -EINVAL;
	out->size = t->size;
	out->is_signed =
		btf_is_int(t) && (btf_int_encoding(t) & BTF_INT_SIGNED);
	return 0;
}

bool layout_is_struct(const struct btf *btf, unsigned type)
{
	const struct btf_type *t = strip(btf, &type);

	return t && btf_is_struct(t);
}

int layout_each_member(const struct btf *btf, unsigned type,
		       layout_member_fn fn, void *arg)
{
	const struct btf_type *t = strip(btf, &type);
	int err = 0;

	if (!t || !btf_is_struct(t))
		return -EINVAL;
	for (unsigned i = 0; i < btf_vlen(t) && !err; i++) {
		const struct btf_member *m = btf_members(t) + i;

		err = fn(arg, btf__name_by_offset(btf, m->name_off), m->type,
			 btf_member_bit_offset(t, i) / 8);
	}
	return err;
}
