/* SPDX-License-Identifier: Apache-2.0 */
/* An object through libbpf: what is changed in it before it is loaded. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <linux/bpf.h>

#include "common/log.h"
#include "probe-agent/worker/bpf_log.h"
#include "probe-agent/worker/object_state.h"

/* Programs that fail are left out one by one, at most this often. */
#define TRIES 64

/* --- variables --- */

/* A variable of a data section: its bytes. NULL: there is none. */
static void *find_variable(struct object *o, const char *name, size_t *size)
{
	const struct btf *btf = bpf_object__btf(o->bpf);
	struct bpf_map *m;

	if (!btf)
		return NULL;
	bpf_object__for_each_map(m, o->bpf)
	{
		const char *map = bpf_map__name(m), *dot = strchr(map, '.');
		const struct btf_var_secinfo *v;
		const struct btf_type *t;
		size_t len;
		char *data;
		int id;

		if (!bpf_map__is_internal(m) || !dot)
			continue;
		id = btf__find_by_name_kind(btf, dot, BTF_KIND_DATASEC);
		t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
		/* libbpf lets it be written until the object is loaded. */
		memcpy(&data,
		       (const void *[]){ bpf_map__initial_value(m, &len) },
		       sizeof(data));
		if (!t || !data)
			continue;
		v = btf_var_secinfos(t);
		for (unsigned i = 0; i < btf_vlen(t); i++, v++) {
			const struct btf_type *var =
				btf__type_by_id(btf, v->type);

			if (!var || v->offset > len ||
			    v->size > len - v->offset ||
			    strcmp(btf__name_by_offset(btf, var->name_off),
				   name) != 0)
				continue;
			*size = v->size;
			return data + v->offset;
		}
	}
	return NULL;
}

/* "entries", "ebpf_ex.rodata": libbpf names its own by object and section. */
static int set_variable(struct object *o, const char *name, uint64_t value,
			unsigned line)
{
	size_t size;
	void *at = find_variable(o, name, &size);

	if (!at || (size != 1 && size != 2 && size != 4 && size != 8)) {
		object_fail(o, "%s:%u: the object has no integer %s",
			    o->opt.spec->file, line, name);
		return -EINVAL;
	}
	memcpy(at, &value, size); /* little-endian, as BPF objects are here */
	return 0;
}

/* "ffffffff81000000 T _stext" */
static uint64_t kernel_address(const char *name)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	uint64_t address, found = 0;
	char line[512], symbol[256], type;

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%" SCNx64 " %c %255s", &address, &type,
			   symbol) == 3 &&
		    !strcmp(symbol, name))
			found = address;
	if (f)
		fclose(f);
	return found;
}

static int set_variables(struct object *o)
{
	const struct spec *s = o->opt.spec;
	int err = 0;

	for (size_t i = 0; i < s->n_consts && !err; i++)
		err = set_variable(o, s->consts[i].name,
				   (uint64_t)s->consts[i].value,
				   s->consts[i].line);
	for (size_t i = 0; i < s->n_kaddrs && !err; i++) {
		uint64_t address = kernel_address(s->kaddrs[i]);
		char name[160];

		snprintf(name, sizeof(name), "kaddr_%s", s->kaddrs[i]);
		if (!address) {
			object_fail(o,
				    "kaddrs: the kernel does not tell where "
				    "%s is",
				    s->kaddrs[i]);
			return -EINVAL;
		}
		err = set_variable(o, name, address, 0);
	}
	return err;
}

/* --- maps --- */

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool is_lru(uint32_t type)
{
	return type == BPF_MAP_TYPE_LRU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static enum object_map_type type_of(uint32_t type)
{
	switch (type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		return OBJECT_MAP_HASH;
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		return OBJECT_MAP_ARRAY;
	case BPF_MAP_TYPE_RINGBUF:
		return OBJECT_MAP_RING;
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
		return OBJECT_MAP_PERF;
	default:
		return OBJECT_MAP_OTHER;
	}
}

/* What an entry takes of the kernel's memory, about: pointers are left out. */
static uint64_t entry_bytes(const struct bpf_map *m)
{
	uint32_t type = bpf_map__type(m);
	uint64_t value = (bpf_map__value_size(m) + 7u) & ~7u;
	uint64_t key = (bpf_map__key_size(m) + 7u) & ~7u;

	if (type == BPF_MAP_TYPE_RINGBUF)
		return 1;
	if (is_per_cpu(type))
		value *= (uint64_t)sysconf(_SC_NPROCESSORS_CONF);
	if (type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY)
		return value;
	return 48 + key + value; /* 48: of the kernel's struct htab_elem */
}

static void clamp_memory(struct object *o, struct bpf_map *m)
{
	uint64_t limit = o->opt.spec->limits.memory_bytes;
	uint64_t one = entry_bytes(m), n = bpf_map__max_entries(m);
	uint32_t to;

	if (limit == 0 || n <= 1 || one == 0 || n <= limit / one)
		return;
	to = limit / one > 0 ? (uint32_t)(limit / one) : 1;
	if (bpf_map__type(m) == BPF_MAP_TYPE_RINGBUF)
		while (to & (to - 1))
			to &= to - 1;
	log_warn("map is smaller than its program wants program=%s map=%s "
		 "entries=%u wanted=%" PRIu64 " memory=%" PRIu64,
		 o->opt.spec->name, bpf_map__name(m), to, n, limit);
	bpf_map__set_max_entries(m, to);
}

static void change_maps(struct object *o)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, o->bpf)
	{
		if (bpf_map__is_internal(m))
			continue;
		/* BumbleBee's say what is in them; the kernel wants none. */
		if (bpf_map__type(m) == BPF_MAP_TYPE_RINGBUF) {
			bpf_map__set_value_size(m, 0);
			bpf_map__set_key_size(m, 0);
		}
		bpf_map__set_pin_path(m, NULL);
		if (bpf_map__max_entries(m) == 0 &&
		    type_of(bpf_map__type(m)) == OBJECT_MAP_HASH)
			object_fail(o, "map %s has no max_entries",
				    bpf_map__name(m));
		clamp_memory(o, m);
	}
}

/* --- programs --- */

static bool is_off(const struct object *o, const char *name)
{
	for (size_t i = 0; i < o->n_off; i++)
		if (!strcmp(o->off[i], name))
			return true;
	return false;
}

static int leave_out(struct object *o, const char *name)
{
	char **off = reallocarray(o->off, o->n_off + 1, sizeof(*off));

	if (!off)
		return -ENOMEM;
	o->off = off;
	off[o->n_off] = strdup(name);
	return off[o->n_off] ? (int)(o->n_off++, 0) : -ENOMEM;
}

static int change_programs(struct object *o)
{
	struct bpf_program *p;
	size_t on = 0;

	bpf_object__for_each_program(p, o->bpf)
	{
		const char *name = bpf_program__name(p);

		if (!is_off(o, name) && object_set_type(o, p)) {
			on++;
			continue;
		}
		bpf_program__set_autoload(p, false);
		/* Only what was refused is missed. */
		if (!is_off(o, name) && o->reason[0] && leave_out(o, name))
			return -ENOMEM;
	}
	if (on == 0) {
		object_fail(o, "it has no program that could be loaded");
		return -EINVAL;
	}
	return 0;
}

/* --- opening and loading --- */

static int keep_types(struct object *o)
{
	struct bpf_map *m;
	size_t n = 0;

	bpf_object__for_each_map(m, o->bpf) n++;
	free(o->types);
	o->types = calloc(n + 1, sizeof(*o->types));
	if (!o->types)
		return -ENOMEM;
	n = 0;
	bpf_object__for_each_map(m, o->bpf)
	{
		o->types[n].key = bpf_map__btf_key_type_id(m);
		o->types[n++].value = bpf_map__btf_value_type_id(m);
	}
	return 0;
}

static int open_with_libbpf(struct object *o)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts,
		    .object_name = o->opt.spec->name);
	int err;

	bpf_object__close(o->bpf);
	o->bpf = bpf_object__open_mem(o->file.data, o->file.len, &opts);
	if (!o->bpf) {
		char why[200];

		err = -errno;
		bpf_log_reason(why, sizeof(why));
		object_fail(o, "%s", *why ? why : strerror(-err));
		return -EINVAL;
	}
	err = change_programs(o);
	if (!err)
		err = set_variables(o);
	if (!err)
		err = keep_types(o);
	if (!err)
		change_maps(o);
	return err ? err : o->reason[0] && o->n_off == 0 ? -EINVAL : 0;
}

/* Leaves out the programs that the kernel refuses; reports the first. */
static int load_with_libbpf(struct object *o)
{
	for (unsigned try = 0; try < TRIES; try++) {
		char why[200], name[128];
		int err = bpf_object__load(o->bpf);

		if (!err)
			return 0;
		bpf_log_reason(why, sizeof(why));
		if (!bpf_log_failed_program(name, sizeof(name)) ||
		    is_off(o, name)) {
			object_fail(o, "%s", *why ? why : strerror(-err));
			return -EINVAL;
		}
		object_fail(o, "%s: %s", name, *why ? why : strerror(-err));
		object_keep_log(o);
		if (leave_out(o, name))
			return -ENOMEM;
		err = open_with_libbpf(o);
		if (err)
			return err;
	}
	return -EINVAL;
}

static void describe_map(struct object *o, const struct bpf_map *m,
			 const struct object_types *types,
			 struct object_map *out)
{
	uint32_t type = bpf_map__type(m);

	*out = (struct object_map){
		.name = bpf_map__name(m),
		.type = type_of(type),
		.per_cpu = is_per_cpu(type),
		.lru = is_lru(type),
		.internal = bpf_map__is_internal(m),
		.fd = o->opt.load && !o->adopted ? bpf_map__fd(m) : -1,
		.kernel_type = type,
		.key_size = bpf_map__key_size(m),
		.value_size = bpf_map__value_size(m),
		.max_entries = bpf_map__max_entries(m),
		.key_btf = types->key,
		.value_btf = types->value,
	};
	out->guarantee = inspect_guarantee(&o->inspected, out->name, out->lru,
					   out->per_cpu);
	out->deletes = out->lru;
	for (size_t i = 0; i < o->inspected.n_maps; i++)
		if (!strcmp(o->inspected.map[i].name, out->name))
			out->deletes |= o->inspected.map[i].deletes;
}

/* A uprobe's run is a breakpoint; other programs run where the kernel is. */
static unsigned traps_of(const char *section)
{
	if (!strncmp(section, "uretprobe", 9))
		return 2;
	return !strncmp(section, "uprobe", 6) || !strncmp(section, "usdt", 4);
}

static unsigned traps_said(const struct spec *s, const char *name)
{
	for (size_t i = 0; i < s->n_attach; i++)
		if (!strcmp(s->attach[i].function, name) &&
		    s->attach[i].n_any_of > 0)
			return traps_of(s->attach[i].any_of[0]);
	return 0;
}

static int list_parts(struct object *o)
{
	struct bpf_program *p;
	struct bpf_map *m;
	size_t maps = 0, programs = 0;

	bpf_object__for_each_map(m, o->bpf) maps++;
	bpf_object__for_each_program(p, o->bpf) programs++;
	o->map = calloc(maps + 1, sizeof(*o->map));
	o->program = calloc(programs + 1, sizeof(*o->program));
	o->handle = calloc(programs + 1, sizeof(struct bpf_program *));
	if (!o->map || !o->program || !o->handle)
		return -ENOMEM;
	bpf_object__for_each_map(m, o->bpf)
	{
		describe_map(o, m, &o->types[o->n_maps], &o->map[o->n_maps]);
		o->n_maps++;
	}
	bpf_object__for_each_program(p, o->bpf)
	{
		struct object_program *to = &o->program[o->n_programs];
		bool on = bpf_program__autoload(p);

		o->handle[o->n_programs++] = p;
		*to = (struct object_program){
			.name = bpf_program__name(p),
			.section = bpf_program__section_name(p),
			.fd = o->opt.load && !o->adopted && on
				      ? bpf_program__fd(p)
				      : -1,
			.wanted = on,
		};
		to->traps = traps_of(to->section);
		if (to->traps == 0)
			to->traps = traps_said(o->opt.spec, to->name);
	}
	return 0;
}

int object_load(struct object *o)
{
	int err = open_with_libbpf(o);

	if (err)
		return err;
	if (o->opt.load && o->opt.pin_dir) {
		/* Maps and links that another process left, if they fit. */
		o->adopted = true;
		err = list_parts(o);
		if (!err)
			err = object_adopt(o);
		if (err != -ENOENT)
			return err;
		free(o->map);
		free(o->program);
		free(o->handle);
		o->map = NULL;
		o->program = NULL;
		o->handle = NULL;
		o->n_maps = o->n_programs = 0;
		o->adopted = false;
	}
	if (o->opt.load)
		err = load_with_libbpf(o);
	else
		err = 0;
	return err ? err : list_parts(o);
}
