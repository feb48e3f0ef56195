/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/log.h"
#include "syscall.skel.h"

#define TRACEFS "/sys/kernel/tracing"
#define PROBES_MAX 64

struct tap {
	struct syscall_bpf *skel;
	struct ring_buffer *ring;
	struct bpf_link *link[PROBES_MAX];
	struct tap_probe probe[PROBES_MAX];
	size_t probes;
	int conns_fd, counters_fd;
	int cpus;
	uint64_t *per_cpu; /* cpus values */
	tap_record_fn fn; /* during tap_drain() */
	void *arg;
};

/* Which program serves which system call, on its way in or out. */
struct hook {
	const char *program;
	const char *event; /* of tracefs' events/syscalls */
	const char *probe; /* name as reported */
};

static const struct hook hooks[] = {
#define ENTER(call)                                                            \
	{                                                                      \
		"syscall_write_enter", "sys_enter_" call,                      \
			"syscall/enter_" call                                  \
	}
#define EXIT(prog, call)                                                       \
	{                                                                      \
		"syscall_" prog "_exit", "sys_exit_" call,                     \
			"syscall/exit_" call                                   \
	}
	ENTER("write"),		  ENTER("writev"),
	ENTER("sendto"),	  ENTER("sendmsg"),
	ENTER("sendmmsg"),	  EXIT("write", "write"),
	EXIT("write", "writev"),  EXIT("write", "sendto"),
	EXIT("write", "sendmsg"), EXIT("mmsg", "sendmmsg"),
	EXIT("read", "read"),	  EXIT("read", "readv"),
	EXIT("read", "recvfrom"), EXIT("read", "recvmsg"),
	EXIT("mmsg", "recvmmsg"), EXIT("sendfile", "sendfile64"),
	EXIT("splice", "splice"),
#undef ENTER
#undef EXIT
};
static_assert(sizeof(hooks) / sizeof(hooks[0]) < PROBES_MAX, "probe table");

static int print_libbpf(enum libbpf_print_level level, const char *fmt,
			va_list args) __attribute__((format(printf, 2, 0)));

static int print_libbpf(enum libbpf_print_level level, const char *fmt,
			va_list args)
{
	char line[512];
	size_t n;

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, args);
	n = strlen(line);
	if (n && line[n - 1] == '\n')
		line[n - 1] = '\0';
	log_debug("%s", line);
	return 0;
}

/* Tracepoints are looked up in tracefs: mounts it where it is not. */
static int mount_tracefs(void)
{
	struct statfs fs;

	if (!statfs(TRACEFS, &fs) && fs.f_type == TRACEFS_MAGIC)
		return 0;
	if (!access("/sys/kernel/debug/tracing/events", F_OK))
		return 0;
	if (mount("nodev", TRACEFS, "tracefs", 0, NULL)) {
		int err = -errno;

		log_error("tracefs is not mounted and mounting it on " TRACEFS
			  " failed: %s; run as root, or mount it first",
			  strerror(-err));
		return err;
	}
	log_info("mounted tracefs on " TRACEFS);
	return 0;
}

/*
 * Address of a kernel symbol, or 0 if kallsyms does not tell (kptr_restrict):
 * then the program does without.
 */
static uint64_t kernel_symbol(const char *name)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	unsigned long long addr, found = 0;
	char line[512], sym[256];

	if (!f)
		return 0;
	while (!found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %*c %255s", &addr, sym) == 2 &&
		    !strcmp(sym, name))
			found = addr;
	fclose(f);
	return found;
}

static int load(struct tap *t, const struct tap_options *opt)
{
	struct syscall_bpf *s;
	int err;

	s = t->skel = syscall_bpf__open();
	if (!s)
		return -errno;
	s->rodata->tap_self_tgid = opt->watch_self ? 0 : (uint32_t)getpid();
	s->rodata->tap_socket_fops = kernel_symbol("socket_file_ops");
	s->rodata->tap_tls = opt->tls;
	if (!opt->tls)
		bpf_map__set_max_entries(s->maps.tls_threads, 1);
	bpf_map__set_max_entries(s->maps.tap_ring, opt->ring_bytes);
	bpf_map__set_max_entries(s->maps.tap_conns, opt->max_connections);
	err = syscall_bpf__load(s);
	if (err == -EPERM || err == -EACCES)
		log_error("the kernel refused to load BPF programs: %s; run as "
			  "root, or with CAP_BPF and CAP_PERFMON",
			  strerror(-err));
	else if (err)
		log_error("loading the BPF programs failed: %s; "
			  "--log.level=debug shows the verifier's word",
			  strerror(-err));
	return err;
}

static void attached(struct tap *t, const char *name, struct bpf_link *link)
{
	struct tap_probe *p = &t->probe[t->probes];

	p->name = name;
	p->attached = link != NULL;
	p->err = link ? 0 : -errno;
	if (!link)
		log_warn("probe=%s not attached: %s", name, strerror(-p->err));
	t->link[t->probes++] = link;
}

static int attach(struct tap *t)
{
	struct bpf_program *p;
	size_t i, up = 0;

	/* First: a connection that closes must not leave its state behind. */
	attached(t, "inet_sock_set_state",
		 bpf_program__attach(t->skel->progs.inet_sock_set_state));
	for (i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		p = bpf_object__find_program_by_name(t->skel->obj,
						     hooks[i].program);
		attached(t, hooks[i].probe,
			 bpf_program__attach_tracepoint(p, "syscalls",
							hooks[i].event));
	}
	for (i = 0; i < t->probes; i++)
		up += t->probe[i].attached;
	return up ? 0 : t->probe[0].err;
}

static int on_record(void *arg, void *data, size_t len)
{
	struct tap *t = arg;

	t->fn(t->arg, data, len);
	return 0;
}

static int set_up(struct tap *t, const struct tap_options *opt)
{
	int err;

	err = mount_tracefs();
	if (!err)
		err = load(t, opt);
	if (!err)
		err = attach(t);
	if (err)
		return err;
	t->conns_fd = bpf_map__fd(t->skel->maps.tap_conns);
	t->counters_fd = bpf_map__fd(t->skel->maps.tap_counters);
	t->cpus = libbpf_num_possible_cpus();
	if (t->cpus < 0)
		return t->cpus;
	t->per_cpu = calloc((size_t)t->cpus, sizeof(*t->per_cpu));
	if (!t->per_cpu)
		return -ENOMEM;
	t->ring = ring_buffer__new(bpf_map__fd(t->skel->maps.tap_ring),
				   on_record, t, NULL);
	return t->ring ? 0 : -errno;
}

int tap_open(struct tap **out, const struct tap_options *opt)
{
	struct tap *t;
	int err;

	*out = NULL;
	if (strcmp(opt->mode, "auto") && strcmp(opt->mode, "syscall")) {
		log_error("capture mode \"%s\" is not known; use auto or "
			  "syscall",
			  opt->mode);
		return -ENOTSUP;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	libbpf_set_print(print_libbpf);
	err = set_up(t, opt);
	if (err) {
		tap_close(t);
		return err;
	}
	*out = t;
	return 0;
}

void tap_close(struct tap *t)
{
	size_t i;

	if (!t)
		return;
	for (i = 0; i < t->probes; i++)
		bpf_link__destroy(t->link[i]);
	ring_buffer__free(t->ring);
	syscall_bpf__destroy(t->skel);
	free(t->per_cpu);
	free(t);
}

int tap_drain(struct tap *t, tap_record_fn fn, void *arg)
{
	t->fn = fn;
	t->arg = arg;
	return ring_buffer__consume(t->ring);
}

/* Reads the connection if it is still the one of that generation. */
static int find(struct tap *t, uint64_t sock, uint64_t born_ns,
		struct tap_conn *conn)
{
	int err = bpf_map_lookup_elem(t->conns_fd, &sock, conn);

	if (err)
		return err == -ENOENT ? err : -ENOENT;
	return conn->born_ns == born_ns ? 0 : -ENOENT;
}

int tap_progress(struct tap *t, uint64_t sock, uint64_t born_ns,
		 struct tap_progress *out)
{
	struct tap_conn conn;
	int err = find(t, sock, born_ns, &conn);

	if (!err)
		*out = conn.done;
	return err;
}

void tap_ignore(struct tap *t, uint64_t sock, uint64_t born_ns)
{
	struct tap_conn conn;

	if (find(t, sock, born_ns, &conn))
		return;
	/*
	 * What the kernel wrote into the entry meanwhile is lost, which does
	 * not matter: nobody looks at it any more. BPF_EXIST, so that a
	 * connection that closed in between does not come back.
	 */
	conn.verdict = VERDICT_IGNORED;
	bpf_map_update_elem(t->conns_fd, &sock, &conn, BPF_EXIST);
}

int tap_counters(struct tap *t, uint64_t out[TAP_C_MAX])
{
	uint32_t key;
	int cpu, err;

	for (key = 0; key < TAP_C_MAX; key++) {
		err = bpf_map_lookup_elem(t->counters_fd, &key, t->per_cpu);
		if (err)
			return err;
		out[key] = 0;
		for (cpu = 0; cpu < t->cpus; cpu++)
			out[key] += t->per_cpu[cpu];
	}
	return 0;
}

size_t tap_probes(const struct tap *t, const struct tap_probe **out)
{
	*out = t->probe;
	return t->probes;
}

void tap_tls_maps(const struct tap *t, struct tls_maps *out)
{
	*out = (struct tls_maps){
		.ring = bpf_map__fd(t->skel->maps.tap_ring),
		.conns = t->conns_fd,
		.counters = t->counters_fd,
		.threads = bpf_map__fd(t->skel->maps.tls_threads),
	};
}

const char *tap_capture(const struct tap *t)
{
	(void)t;
	return "syscall";
}
