/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tap/tap_front.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "common/log.h"
#include "probe-agent/tap/bpf_attach.h"

static struct bpf_program *program_of(struct bpf_object *obj,
				      const struct tap_hook *hook)
{
	return bpf_object__find_program_by_name(obj, hook->program);
}

static int open_front(struct tap_front_state *s, const struct tap_options *opt)
{
	s->skel = s->front->open(opt, &s->obj);
	if (!s->skel)
		return errno ? -errno : -EINVAL;
	return tap_bpf_maps_use(s->maps, s->obj);
}

static void close_front(struct tap_front_state *s)
{
	if (s->skel)
		s->front->destroy(s->skel);
	s->skel = NULL;
	s->obj = NULL;
}

/*
 * Finds the hooks on functions or events that this kernel does not have: a bit
 * for each. -ENOENT if a required function is among them. The kernel's types
 * are only read if a hook names a function: that takes a tenth of a start.
 */
static int find_absent(const struct tap_frontend *front, uint32_t *absent,
		       char *why, size_t why_len)
{
	struct btf *btf = NULL;
	int err = 0;

	*absent = 0;
	for (size_t i = 0; i < front->n_hooks; i++) {
		const char *f = front->hooks[i].function;

		if (!tap_hook_fits(&front->hooks[i]))
			*absent |= 1u << i;
		if (f && !btf)
			btf = btf__load_vmlinux_btf();
		if (f && !btf)
			break; /* loading will fail and say why */
		if (!f || btf__find_by_name_kind(btf, f, BTF_KIND_FUNC) > 0)
			continue;
		*absent |= 1u << i;
		if (front->hooks[i].required && !err) {
			err = -ENOENT;
			snprintf(why, why_len, "the kernel has no %s()", f);
		}
	}
	btf__free(btf);
	return err;
}

static void autoload(struct tap_front_state *s, uint32_t without)
{
	/* A program may serve several hooks. */
	for (size_t i = 0; i < s->front->n_hooks; i++) {
		const struct tap_hook *hook = &s->front->hooks[i];
		bool wanted = false;

		for (size_t j = 0; j < s->front->n_hooks; j++)
			if (!strcmp(s->front->hooks[j].program, hook->program))
				wanted |= !(without & 1u << j);
		bpf_program__set_autoload(program_of(s->obj, hook), wanted);
	}
}

/* Loads only the program of that hook, to see whether the kernel accepts it. */
static int try_hook(const struct tap_front_state *whole, size_t hook,
		    const struct tap_options *opt)
{
	struct tap_front_state s = { .front = whole->front,
				     .maps = whole->maps };
	int err;

	err = open_front(&s, opt);
	if (!err) {
		autoload(&s, ~(1u << hook));
		err = bpf_object__load(s.obj);
	}
	close_front(&s);
	return err;
}

/*
 * The kernel refused the object: finds out which programs it refuses, so that
 * the others can be used. Returns an error if the front-end needs one of them.
 */
static int find_refused(struct tap_front_state *s,
			const struct tap_options *opt, uint32_t absent,
			int *errs, char *why, size_t why_len)
{
	const struct tap_frontend *front = s->front;
	size_t j;

	for (size_t i = 0; i < front->n_hooks; i++) {
		const struct tap_hook *hook = &front->hooks[i];

		if (absent & 1u << i)
			continue;
		for (j = 0; j < i; j++)
			if (!strcmp(front->hooks[j].program, hook->program))
				break;
		errs[i] = j < i ? errs[j] : try_hook(s, i, opt);
		if (errs[i] && hook->required) {
			/*
			 * EPERM for a program that is on no function is not
			 * about its place, but about privileges.
			 */
			snprintf(why, why_len, "the kernel refuses %s: %s%s",
				 hook->probe, strerror(-errs[i]),
				 errs[i] == -EPERM && !hook->function
					 ? TAP_PRIVILEGES
					 : "");
			return errs[i];
		}
	}
	return 0;
}

static int load_front(struct tap_front_state *s, const struct tap_options *opt,
		      uint32_t absent, int *errs, char *why, size_t why_len)
{
	uint32_t without = absent;
	int err;

	err = open_front(s, opt);
	if (err)
		return err;
	autoload(s, without);
	err = bpf_object__load(s->obj);
	if (!err || err == -ENOMEM)
		return err;
	close_front(s);
	err = find_refused(s, opt, absent, errs, why, why_len);
	if (err)
		return err;
	for (size_t i = 0; i < s->front->n_hooks; i++)
		if (errs[i])
			without |= 1u << i;
	err = open_front(s, opt);
	if (err)
		return err;
	autoload(s, without);
	return bpf_object__load(s->obj);
}

static int attach_hook(struct tap_front_state *s, const struct tap_hook *hook)
{
	struct bpf_program *p = program_of(s->obj, hook);
	struct tap_probe *probe = &s->probe[s->probes];
	struct bpf_link *link;

	link = hook->event ? bpf_program__attach_tracepoint(p, "syscalls",
							    hook->event)
			   : bpf_program__attach(p);
	probe->err = link ? 0 : -errno;
	probe->attached = link != NULL;
	s->link[s->probes] =
		(struct bpf_attachment){ .libbpf = link, .fd = -1 };
	return probe->err;
}

/* Is every write seen when it begins? attached: a bit for each hook. */
static bool begins_seen(const struct tap_frontend *front, uint32_t attached)
{
	uint32_t begins = 0;

	for (size_t i = 0; i < front->n_hooks; i++)
		if (front->hooks[i].begins)
			begins |= 1u << i;
	return begins && (attached & begins) == begins;
}

/* Lets the programs skip returns of writes: tap_late in bpf/write.bpf.h. */
static void tell_begins_seen(const struct tap_front_state *s)
{
	const struct bpf_map *data =
		bpf_object__find_map_by_name(s->obj, ".data");
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *values;

	if (!data)
		return;
	assert(s->front->late_at + sizeof(uint64_t) <= page);
	values = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED,
		      bpf_map__fd(data), 0);
	if (values == MAP_FAILED)
		return;
	__atomic_sub_fetch((uint64_t *)(void *)(values + s->front->late_at), 1,
			   __ATOMIC_RELAXED);
	munmap(values, page);
}

static int attach(struct tap_front_state *s, uint32_t absent, const int *errs,
		  char *why, size_t why_len)
{
	uint32_t up = 0;
	int err, first = 0;

	for (size_t i = 0; i < s->front->n_hooks; i++) {
		const struct tap_hook *hook = &s->front->hooks[i];

		if (absent & 1u << i)
			continue;
		s->probe[s->probes].name = hook->probe;
		err = errs[i];
		if (err)
			s->probe[s->probes].err = err;
		else
			err = attach_hook(s, hook);
		s->probes++;
		if (!err) {
			up |= 1u << i;
			continue;
		}
		first = first ? first : err;
		if (hook->required) {
			snprintf(why, why_len, "cannot attach %s: %s",
				 hook->probe, strerror(-err));
			return err;
		}
		log_warn("probe not attached probe=%s error=\"%s\"",
			 hook->probe, strerror(-err));
	}
	if (begins_seen(s->front, up))
		tell_begins_seen(s);
	return up ? 0 : first;
}

int tap_front_start(struct tap_front_state *s, const struct tap_frontend *front,
		    const struct tap_bpf_maps *maps,
		    const struct tap_options *opt, char *why, size_t why_len)
{
	const char *lacks = front->lacks();
	int errs[TAP_HOOKS_MAX] = { 0 };
	uint32_t absent;
	int err;

	*s = (struct tap_front_state){ .front = front, .maps = maps };
	if (why_len)
		why[0] = '\0';
	if (lacks) {
		snprintf(why, why_len, "%s", lacks);
		return -ENOTSUP;
	}
	err = find_absent(front, &absent, why, why_len);
	if (!err)
		err = load_front(s, opt, absent, errs, why, why_len);
	if (!err)
		err = attach(s, absent, errs, why, why_len);
	if (!err)
		return 0;
	if (why_len && !why[0])
		snprintf(why, why_len, "%s%s", strerror(-err),
			 err == -EPERM || err == -EACCES ? TAP_PRIVILEGES : "");
	tap_front_stop(s);
	return err;
}

void tap_front_stop(struct tap_front_state *s)
{
	bpf_attach_destroy(s->link, s->probes);
	s->probes = 0;
	close_front(s);
}
