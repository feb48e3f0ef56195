/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/ledger/ledger_info.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

struct ledger_infos {
	struct ledger_info **bucket;
	size_t n_buckets, n;
	size_t bytes;
	uint64_t cut;
};

/* A batch_info with the bounds applied: texts are borrowed, with lengths. */
struct bounded {
	struct {
		const char *data;
		size_t len;
	} label[3], probe[LEDGER_INFO_PROBES];
	uint32_t attached[LEDGER_INFO_PROBES];
	size_t n_probes, bytes;
	uint64_t hash;
};

int ledger_infos_new(struct ledger_infos **out)
{
	struct ledger_infos *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->n_buckets = 64;
	t->bucket = calloc(t->n_buckets, sizeof(struct ledger_info *));
	if (!t->bucket) {
		free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void ledger_infos_free(struct ledger_infos *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_buckets; i++)
		while (t->bucket[i]) {
			struct ledger_info *info = t->bucket[i];

			t->bucket[i] = info->next;
			ledger_info_rele(info);
		}
	free(t->bucket);
	free(t);
}

/* --- references --- */

/* Casting const away is fine: each is allocated by make_info(). */
static struct ledger_info *info_of(const struct ledger_info *info)
{
	return (struct ledger_info *)(uintptr_t)info;
}

const struct ledger_info *ledger_info_hold(const struct ledger_info *info)
{
	atomic_fetch_add(&info_of(info)->references, 1);
	return info;
}

void ledger_info_rele(const struct ledger_info *info)
{
	if (info && atomic_fetch_sub(&info_of(info)->references, 1) == 1)
		free(info_of(info));
}

/* --- bounds --- */

/* Length of text, cut at the start of a UTF-8 character. */
static size_t cut_length(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	if (len <= max)
		return len;
	for (len = max; len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80; len--)
		;
	return len;
}

static uint64_t mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return (h ^ 0xff) * 0x100000001b3; /* ends the text */
}

/* A second sample of one name would make a scrape invalid. */
static bool repeated(const struct bounded *b, const char *name, size_t len)
{
	for (size_t i = 0; i < b->n_probes; i++)
		if (b->probe[i].len == len &&
		    memcmp(b->probe[i].data, name, len) == 0)
			return true;
	return false;
}

static void bound_probes(struct bounded *b, const struct batch_info *in)
{
	for (size_t i = 0; i < in->n_probes && b->n_probes < LEDGER_INFO_PROBES;
	     i++) {
		const char *name = in->probes[i];
		size_t len = cut_length(name, LEDGER_INFO_PROBE_BYTES);

		if (repeated(b, name, len))
			continue;
		b->probe[b->n_probes].data = name;
		b->probe[b->n_probes].len = len;
		b->attached[b->n_probes++] = in->probe_attached[i];
	}
}

/* Fills in b->hash and b->bytes. */
static void count_bytes(struct bounded *b)
{
	uint64_t h = 0xcbf29ce484222325;

	b->bytes = sizeof(struct ledger_info) +
		   b->n_probes * (sizeof(char *) + sizeof(uint32_t));
	for (size_t i = 0; i < 3; i++) {
		h = mix(h, b->label[i].data, b->label[i].len);
		b->bytes += b->label[i].len + 1;
	}
	for (size_t i = 0; i < b->n_probes; i++) {
		h = mix(h, b->probe[i].data, b->probe[i].len);
		b->bytes += b->probe[i].len + 1;
	}
	h = mix(h, b->attached, b->n_probes * sizeof(b->attached[0]));
	b->hash = h ^ h >> 32;
}

static void bound_info(struct bounded *b, const struct batch_info *in)
{
	const char *label[] = { in->version, in->kernel, in->capture };

	b->n_probes = 0;
	for (size_t i = 0; i < 3; i++) {
		b->label[i].data = label[i] ? label[i] : "";
		b->label[i].len =
			cut_length(b->label[i].data, LEDGER_INFO_LABEL_BYTES);
	}
	bound_probes(b, in);
	count_bytes(b);
}

/* --- the table --- */

static bool text_is(const char *text, const char *data, size_t len)
{
	return strncmp(text, data, len) == 0 && text[len] == '\0';
}

static bool same_info(const struct ledger_info *info, const struct bounded *b)
{
	const struct batch_info *s = &info->said;

	if (info->hash != b->hash || s->n_probes != b->n_probes ||
	    !text_is(s->version, b->label[0].data, b->label[0].len) ||
	    !text_is(s->kernel, b->label[1].data, b->label[1].len) ||
	    !text_is(s->capture, b->label[2].data, b->label[2].len))
		return false;
	for (size_t i = 0; i < b->n_probes; i++)
		if (s->probe_attached[i] != b->attached[i] ||
		    !text_is(s->probes[i], b->probe[i].data, b->probe[i].len))
			return false;
	return true;
}

static const char *put_text(char **at, const char *data, size_t len)
{
	char *text = *at;

	memcpy(text, data, len);
	text[len] = '\0';
	*at += len + 1;
	return text;
}

/* One allocation: the struct, the probes' pointers and states, all texts. */
static struct ledger_info *make_info(const struct bounded *b)
{
	struct ledger_info *info = calloc(1, b->bytes);
	const char **probes;
	uint32_t *attached;
	char *at;

	if (!info)
		return NULL;
	probes = (const char **)(info + 1);
	attached = (uint32_t *)(probes + b->n_probes);
	at = (char *)(attached + b->n_probes);
	info->said = (struct batch_info){
		.version = put_text(&at, b->label[0].data, b->label[0].len),
		.kernel = put_text(&at, b->label[1].data, b->label[1].len),
		.capture = put_text(&at, b->label[2].data, b->label[2].len),
		.n_probes = b->n_probes,
		.probes = probes,
		.probe_attached = attached,
	};
	for (size_t i = 0; i < b->n_probes; i++) {
		probes[i] = put_text(&at, b->probe[i].data, b->probe[i].len);
		attached[i] = b->attached[i];
	}
	info->hash = b->hash;
	info->bytes = b->bytes;
	info->references = 1; /* the table's */
	return info;
}

static void grow_infos(struct ledger_infos *t)
{
	size_t n = 2 * t->n_buckets;
	struct ledger_info **bucket = calloc(n, sizeof(*bucket));

	if (!bucket)
		return; /* longer chains */
	for (size_t i = 0; i < t->n_buckets; i++)
		while (t->bucket[i]) {
			struct ledger_info *info = t->bucket[i];

			t->bucket[i] = info->next;
			info->next = bucket[info->hash & (n - 1)];
			bucket[info->hash & (n - 1)] = info;
		}
	free(t->bucket);
	t->bucket = bucket;
	t->n_buckets = n;
}

static struct ledger_info *find_info(const struct ledger_infos *t,
				     const struct bounded *b)
{
	struct ledger_info *info = t->bucket[b->hash & (t->n_buckets - 1)];

	while (info && !same_info(info, b))
		info = info->next;
	return info;
}

static int add_info(struct ledger_infos *t, const struct bounded *b,
		    struct ledger_info **out)
{
	struct ledger_info *info = make_info(b), **at;

	if (!info)
		return -ENOMEM;
	if (t->n >= t->n_buckets)
		grow_infos(t);
	at = &t->bucket[b->hash & (t->n_buckets - 1)];
	info->next = *at;
	*at = info;
	t->n++;
	t->bytes += info->bytes;
	*out = info;
	return 0;
}

int ledger_infos_get(struct ledger_infos *t, const struct batch_info *in,
		     struct ledger_info **out)
{
	struct bounded b;
	struct ledger_info *info;
	int err = 0;

	bound_info(&b, in);
	info = find_info(t, &b);
	if (!info && b.n_probes > 0 &&
	    t->bytes + b.bytes > LEDGER_INFO_TABLE_BYTES) {
		log_warn("no room for what agents say about their probes, left "
			 "out bytes=%zu limit=%zu",
			 t->bytes, LEDGER_INFO_TABLE_BYTES);
		t->cut++;
		b.n_probes = 0;
		count_bytes(&b);
		info = find_info(t, &b);
	}
	if (!info)
		err = add_info(t, &b, &info);
	if (err < 0)
		return err;
	info->agents++;
	*out = info;
	return 0;
}

void ledger_infos_drop(struct ledger_infos *t, struct ledger_info *info)
{
	struct ledger_info **at;

	if (!info || --info->agents > 0)
		return;
	at = &t->bucket[info->hash & (t->n_buckets - 1)];
	while (*at != info)
		at = &(*at)->next;
	*at = info->next;
	t->n--;
	t->bytes -= info->bytes;
	ledger_info_rele(info);
}

size_t ledger_infos_bytes(const struct ledger_infos *t)
{
	return t->bytes;
}

uint64_t ledger_infos_cut(const struct ledger_infos *t)
{
	return t->cut;
}
