/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/programs/spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const decoder_names[SPEC_DECODERS] = {
	[SPEC_CGROUP] = "cgroup",
	[SPEC_DNAME] = "dname",
	[SPEC_ERRNO] = "errno",
	[SPEC_HEX] = "hex",
	[SPEC_IFNAME] = "ifname",
	[SPEC_INET_IP] = "inet_ip",
	[SPEC_KSTACK] = "kstack",
	[SPEC_KSYM] = "ksym",
	[SPEC_MAJORMINOR] = "majorminor",
	[SPEC_PCI_CLASS] = "pci_class",
	[SPEC_PCI_DEVICE] = "pci_device",
	[SPEC_PCI_SUBCLASS] = "pci_subclass",
	[SPEC_PCI_VENDOR] = "pci_vendor",
	[SPEC_REGEXP] = "regexp",
	[SPEC_STATIC_MAP] = "static_map",
	[SPEC_STRING] = "string",
	[SPEC_SYSCALL] = "syscall",
	[SPEC_UINT] = "uint",
	[SPEC_INT] = "int",
	[SPEC_BOOL] = "bool",
	[SPEC_DURATION] = "duration",
	[SPEC_COMM] = "comm",
	[SPEC_EXE] = "exe",
	[SPEC_USER] = "user",
	[SPEC_CONTAINER] = "container",
	[SPEC_SERVICE] = "service",
	[SPEC_CGROUP_CONTAINER] = "cgroup_container",
};

const char *spec_decoder_name(unsigned kind)
{
	return kind < SPEC_DECODERS ? decoder_names[kind] : NULL;
}

int spec_decoder_kind(const char *name)
{
	for (int i = 0; i < SPEC_DECODERS; i++)
		if (!strcmp(decoder_names[i], name))
			return i;
	return -ENOENT;
}

void spec_limits_default(struct spec_limits *out)
{
	*out = (struct spec_limits){
		.cpu = 0,
		.detach = true,
		.interval_ms = 5000,
		.entries = 65536,
		.series = 2000,
		.memory_bytes = UINT64_C(16) << 20,
		.events_s = 20000,
	};
}

/* --- lifetime --- */

static void free_texts(char **list, size_t n)
{
	for (size_t i = 0; list && i < n; i++)
		free(list[i]);
	free(list);
}

void spec_label_fini(struct spec_label *l)
{
	for (size_t i = 0; i < l->n_decoders; i++) {
		struct spec_decoder *d = &l->decoders[i];

		for (size_t k = 0; k < d->n_map; k++) {
			free(d->map[k].from);
			free(d->map[k].to);
		}
		free(d->map);
		free_texts(d->regexps, d->n_regexps);
	}
	free(l->decoders);
	free(l->name);
	memset(l, 0, sizeof(*l));
}

void spec_metric_fini(struct spec_metric *m)
{
	for (size_t i = 0; i < m->n_labels; i++)
		spec_label_fini(&m->labels[i]);
	spec_label_fini(&m->bucket);
	free(m->labels);
	free(m->name);
	free(m->table);
	free(m->help);
	free(m->unit);
	free(m->member);
	free(m->histogram.keys);
	memset(m, 0, sizeof(*m));
}

void spec_fini(struct spec *s)
{
	for (size_t i = 0; i < s->n_metrics; i++)
		spec_metric_fini(&s->metrics[i]);
	for (size_t i = 0; i < s->n_attach; i++) {
		free(s->attach[i].function);
		free_texts(s->attach[i].any_of, s->attach[i].n_any_of);
	}
	for (size_t i = 0; i < s->n_consts; i++)
		free(s->consts[i].name);
	for (size_t i = 0; i < s->n_hints; i++) {
		free(s->hints[i].map);
		free(s->hints[i].value);
		free(s->hints[i].bounds);
	}
	free(s->hints);
	free(s->metrics);
	free(s->attach);
	free(s->consts);
	free_texts(s->kaddrs, s->n_kaddrs);
	free_texts(s->cflags, s->n_cflags);
	free_texts(s->cgroups.regexps, s->cgroups.n_regexps);
	free(s->cgroups.name);
	free(s->name);
	free(s->file);
	free(s->object);
	free(s->code);
	free(s->prefix);
	memset(s, 0, sizeof(*s));
}

void spec_free(struct spec *list, size_t n)
{
	for (size_t i = 0; list && i < n; i++)
		spec_fini(&list[i]);
	free(list);
}

/* --- buckets --- */

static uint64_t bound_of(const struct spec_histogram *h, uint64_t key)
{
	switch (h->type) {
	case SPEC_EXP2:
		return key < 64 ? UINT64_C(1) << key : UINT64_MAX;
	case SPEC_EXP2ZERO:
		return key == 0	  ? 0
		       : key < 65 ? UINT64_C(1) << (key - 1)
				  : UINT64_MAX;
	case SPEC_LOG2L:
		return key < 64 ? (UINT64_C(1) << key) - 1 : UINT64_MAX;
	default:
		return key;
	}
}

/* The last finite bucket's count may belong to +Inf: then it has no bound. */
static size_t count_keys(const struct spec_histogram *h)
{
	uint64_t n;

	if (h->type == SPEC_FIXED)
		n = h->n_keys;
	else
		n = h->max >= h->min ? (uint64_t)(h->max - h->min) + 1 : 0;
	return h->overflow_inf && n > 0 ? (size_t)n - 1 : (size_t)n;
}

int spec_bounds(const struct spec_histogram *h, uint64_t *bound, size_t max)
{
	size_t n = count_keys(h);

	if (h->min < 0 || n == 0 || n > max)
		return -EINVAL;
	for (size_t i = 0; bound && i < n; i++)
		bound[i] = bound_of(h, h->type == SPEC_FIXED
					       ? h->keys[i]
					       : (uint64_t)h->min + i);
	return (int)n;
}

int spec_bucket(const struct spec_histogram *h, uint64_t key)
{
	size_t n = count_keys(h);

	if (h->type != SPEC_FIXED) {
		uint64_t at = key - (uint64_t)h->min;

		if (key < (uint64_t)h->min || key > (uint64_t)h->max)
			return -1;
		return (int)(at < n ? at : n);
	}
	for (size_t i = 0; i < h->n_keys; i++)
		if (h->keys[i] == key)
			return (int)(i < n ? i : n);
	return -1;
}

bool spec_is_sum(const struct spec_histogram *h, uint64_t key)
{
	if (h->type == SPEC_FIXED)
		return h->n_keys > 0 && key == h->keys[h->n_keys - 1] + 1;
	return key == (uint64_t)h->max + 1;
}
