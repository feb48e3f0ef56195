/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls_programs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "bpf/tls.h"
#include "common/log.h"
#include "probe-agent/tap/bpf_attach.h"
#include "probe-agent/tap/tap_bpf_maps.h"
#include "tls.skel.h"

static int open_programs(struct tls_bpf **out, bool many,
			 const struct tls_options *opt)
{
	struct tls_bpf *s = *out = tls_bpf__open();
	struct bpf_program *p;

	if (!s)
		return -errno;
	bpf_object__for_each_program(p, s->obj)
	{
		if (many && bpf_program__type(p) == BPF_PROG_TYPE_KPROBE)
			bpf_attach_make_many(p);
	}
	s->rodata->tap_self_tgid = opt->watch_self ? 0 : (uint32_t)getpid();
	return tap_bpf_maps_use(opt->maps, s->obj);
}

/* Loads only that program. 0, or why the kernel refuses it. */
static int try_program(const char *name, bool many,
		       const struct tls_options *opt)
{
	struct tls_bpf *s;
	struct bpf_program *p;
	int err = open_programs(&s, many, opt);

	if (!err) {
		bpf_object__for_each_program(p, s->obj)
			bpf_program__set_autoload(
				p, !strcmp(bpf_program__name(p), name));
		err = tls_bpf__load(s);
	}
	tls_bpf__destroy(s);
	return err;
}

/*
 * The kernel refused the object: loads it without the programs that it refuses.
 */
static int load_some(struct tls_bpf **out, bool many,
		     const struct tls_options *opt)
{
	struct bpf_program *p;
	int err, refused;

	tls_bpf__destroy(*out);
	err = open_programs(out, many, opt);
	if (err)
		return err;
	bpf_object__for_each_program(p, (*out)->obj)
	{
		refused = try_program(bpf_program__name(p), many, opt);
		if (!refused)
			continue;
		log_warn("tls: program refused program=%s error=\"%s\"",
			 bpf_program__name(p), strerror(-refused));
		bpf_program__set_autoload(p, false);
	}
	return tls_bpf__load(*out);
}

int tls_programs_load(struct tls_bpf **out, bool *many,
		      const struct tls_options *opt)
{
	int err;

	*many = bpf_attach_many();
	err = open_programs(out, *many, opt);
	if (!err)
		err = tls_bpf__load(*out);
	if (err && err != -ENOMEM && err != -EPERM)
		err = load_some(out, *many, opt);
	if (err)
		log_warn("tls: cannot load BPF programs; --log.level=debug "
			 "shows the verifier's output error=\"%s\"",
			 strerror(-err));
	return err;
}
