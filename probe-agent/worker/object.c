/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/object.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "probe-agent/worker/bpf_log.h"
#include "probe-agent/worker/object_state.h"

#define FILE_MAX (16u << 20)

void object_fail(struct object *o, const char *fmt, ...)
{
	va_list ap;

	if (o->reason[0])
		return;
	va_start(ap, fmt);
	vsnprintf(o->reason, sizeof(o->reason), fmt, ap);
	va_end(ap);
}

void object_keep_log(struct object *o)
{
	buf_puts(&o->log, bpf_log_text());
	bpf_log_clear();
}

static int read_object(struct object *o)
{
	int fd = open(o->opt.spec->object, O_RDONLY | O_CLOEXEC | O_NONBLOCK),
	    err = 0;
	struct stat st;
	ssize_t got;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EISDIR; /* a folder, or what would be waited for */
	}
	o->file.max = FILE_MAX;
	do {
		char *to = buf_reserve(&o->file, 65536);

		got = to ? read(fd, to, 65536) : -1;
		if (got > 0)
			o->file.len += (size_t)got;
		else if (got < 0)
			err = o->file.err ? o->file.err : -errno;
	} while (got > 0);
	close(fd);
	return err;
}

static int inspect_object(struct object *o)
{
	const struct inspect_options opt = { .xdp = o->opt.xdp };
	const char *why = "";
	int err = elf_code_read(&o->code, o->file.data, o->file.len, &why);

	if (err == -EINVAL)
		object_fail(o, "%s: %s", o->opt.spec->object, why);
	if (err)
		return err;
	if (o->code->old_section) {
		object_fail(o,
			    "section %.40s is not known to libbpf: rebuild "
			    "from the source with `redtap-agent program "
			    "build`",
			    o->code->old_section);
		return -EINVAL;
	}
	err = inspect_code(&o->inspected, o->code, &opt);
	if (!err && o->inspected.refused[0]) {
		object_fail(o, "%s", o->inspected.refused);
		err = -EINVAL;
	}
	return err;
}

int object_open(struct object **out, const struct object_options *opt)
{
	struct object *o = calloc(1, sizeof(*o));
	int err;

	*out = o;
	if (!o)
		return -ENOMEM;
	o->opt = *opt;
	o->log.max = 1u << 20;
	bpf_log_clear();
	err = read_object(o);
	if (err) {
		object_fail(o, "cannot read %s: %s", opt->spec->object,
			    strerror(-err));
		return err;
	}
	sha256(o->file.data, o->file.len, o->digest);
	err = inspect_object(o);
	if (!err)
		err = object_load(o);
	object_keep_log(o);
	return err;
}

void object_close(struct object *o)
{
	if (!o)
		return;
	object_detach(o);
	if (o->adopted) {
		for (size_t i = 0; i < o->n_maps; i++)
			if (o->map[i].fd >= 0)
				close(o->map[i].fd);
		for (size_t i = 0; i < o->n_programs; i++)
			if (o->program[i].fd >= 0)
				close(o->program[i].fd);
	}
	bpf_object__close(o->bpf);
	elf_code_free(o->code);
	for (size_t i = 0; i < o->n_off; i++)
		free(o->off[i]);
	free(o->off);
	free(o->types);
	free(o->map);
	free(o->program);
	free(o->handle);
	free(o->link);
	free(o->adopted_link);
	buf_fini(&o->file);
	buf_fini(&o->log);
	free(o);
}

bool object_attached(const struct object *o)
{
	return o->attached;
}

bool object_adopted(const struct object *o)
{
	return o->adopted;
}

uint64_t object_generation(const struct object *o)
{
	return o->generation;
}

const char *object_reason(const struct object *o)
{
	return o->reason;
}

const char *object_log(const struct object *o)
{
	return o->log.data ? o->log.data : "";
}

enum samples_state object_state(const struct object *o)
{
	size_t up = 0, wanted = 0;

	for (size_t i = 0; i < o->n_programs; i++) {
		up += o->program[i].attached;
		wanted += o->program[i].wanted;
	}
	if (!o->attached || (wanted > 0 && up == 0))
		return SAMPLES_FAILED;
	return up < wanted || o->n_off > 0 ? SAMPLES_PARTIAL : SAMPLES_RUNNING;
}

const uint8_t *object_digest(const struct object *o)
{
	return o->digest;
}

const struct inspect *object_inspected(const struct object *o)
{
	return &o->inspected;
}

const struct btf *object_btf(const struct object *o)
{
	return o->bpf ? bpf_object__btf(o->bpf) : NULL;
}

const char *object_note(const struct object *o)
{
	return o->code ? o->code->note : NULL;
}

size_t object_maps(const struct object *o, const struct object_map **out)
{
	*out = o->map;
	return o->n_maps;
}

const struct object_map *object_map(const struct object *o, const char *name)
{
	for (size_t i = 0; i < o->n_maps; i++)
		if (!strcmp(o->map[i].name, name))
			return &o->map[i];
	return NULL;
}

size_t object_programs(const struct object *o,
		       const struct object_program **out)
{
	*out = o->program;
	return o->n_programs;
}

void object_cost(const struct object *o, struct object_cost *out)
{
	*out = (struct object_cost){ 0 };
	for (size_t i = 0; i < o->n_programs; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);

		if (o->program[i].fd < 0 ||
		    bpf_obj_get_info_by_fd(o->program[i].fd, &info, &len))
			continue;
		out->runs += info.run_cnt;
		out->run_ns += info.run_time_ns;
		out->traps += info.run_cnt * o->program[i].traps;
	}
}
