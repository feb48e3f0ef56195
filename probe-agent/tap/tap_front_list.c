/* SPDX-License-Identifier: Apache-2.0 */

/* The front-ends, and where their programs attach. */

#include "probe-agent/tap/tap_front.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "fentry.skel.h"
#include "kprobe.skel.h"
#include "socket.skel.h"
#include "syscall.skel.h"

/* TCP's event at the start of a write, since 6.16. */
#define WRITE_BEGINS "tcp/tcp_sendmsg_locked"

/*
 * AT_EACCESS, as everywhere here: access() asks for the real user without the
 * capabilities that a service's own user has, and tracefs is root's.
 */
bool tap_has_event(const char *event)
{
	static const char *const dirs[] = {
		"/sys/kernel/tracing/events",
		"/sys/kernel/debug/tracing/events",
	};
	char path[160];

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], event);
		if (!faccessat(AT_FDCWD, path, F_OK, AT_EACCESS))
			return true;
	}
	return false;
}

bool tap_hook_fits(const struct tap_hook *hook)
{
	return (!hook->with || tap_has_event(hook->with)) &&
	       (!hook->without || !tap_has_event(hook->without));
}

static uint32_t self(const struct tap_options *opt)
{
	return opt->watch_self ? 0 : (uint32_t)getpid();
}

/* Which argument of tcp_recvmsg() is called flags: 3 or, before 5.19, 4. */
static uint32_t recvmsg_flags_arg(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *t;
	const struct btf_param *p;
	uint32_t arg = 3;
	int id;

	if (!btf)
		return arg;
	id = btf__find_by_name_kind(btf, "tcp_recvmsg", BTF_KIND_FUNC);
	t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	t = t ? btf__type_by_id(btf, t->type) : NULL;
	if (t && btf_is_func_proto(t)) {
		p = btf_params(t);
		for (int i = 0; i < btf_vlen(t); i++) {
			const char *name =
				btf__name_by_offset(btf, p[i].name_off);

			if (name && !strcmp(name, "flags"))
				arg = (uint32_t)i;
		}
	}
	btf__free(btf);
	return arg;
}

/*
 * Attached first: a connection that closes must not leave its state behind
 * (bpf/close.bpf.h).
 */
#define LIFE                                                                   \
	{ .program = "tcp_destroy_sock",                                       \
	  .probe = "tcp_destroy_sock",                                         \
	  .required = true },                                                  \
	{                                                                      \
		.program = "inet_sock_set_state",                              \
		.probe = "inet_sock_set_state", .required = true               \
	}

/* Tracepoints of system calls, and the programs that handle them. */
#define ENTER(call, where, all)                                                \
	{                                                                      \
		.program = "syscall_write_enter",                              \
		.probe = "syscall/enter_" call, .event = "sys_enter_" call,    \
		.without = where, .begins = all                                \
	}
#define EXIT_AT(prog, call, needed)                                            \
	{                                                                      \
		.program = "syscall_" prog "_exit",                            \
		.probe = "syscall/exit_" call, .event = "sys_exit_" call,      \
		.required = needed                                             \
	}
#define EXIT(prog, call) EXIT_AT(prog, call, false)
#define WRITES_BEGIN(where, all)                                               \
	ENTER("write", where, all), ENTER("writev", where, all),               \
		ENTER("sendto", where, all), ENTER("sendmsg", where, all),     \
		ENTER("sendmmsg", where, all)

/*
 * Defines NAME_open() and NAME_destroy() of a front-end. A macro, because the
 * core's constants have the same names in all skeletons, whose types differ.
 * more: sets further constants of the skeleton s.
 */
#define SKELETON(name, more)                                                   \
	static void *name##_open(const struct tap_options *opt,                \
				 struct bpf_object **obj)                      \
	{                                                                      \
		struct name##_bpf *s = name##_bpf__open();                     \
                                                                               \
		if (!s)                                                        \
			return NULL;                                           \
		s->rodata->tap_self_tgid = self(opt);                          \
		s->rodata->tap_tls = opt->tls;                                 \
		more;                                                          \
		*obj = s->obj;                                                 \
		return s;                                                      \
	}                                                                      \
                                                                               \
	static void name##_destroy(void *skel)                                 \
	{                                                                      \
		name##_bpf__destroy(skel);                                     \
	}

/* --- syscall --- */

static const struct tap_hook syscall_hooks[] = {
	LIFE,
	WRITES_BEGIN(NULL, true),
	EXIT_AT("write", "write", true),
	EXIT("write", "writev"),
	EXIT("write", "sendto"),
	EXIT("write", "sendmsg"),
	EXIT("mmsg", "sendmmsg"),
	EXIT_AT("read", "read", true),
	EXIT("read", "readv"),
	EXIT("read", "recvfrom"),
	EXIT("read", "recvmsg"),
	EXIT("mmsg", "recvmmsg"),
	EXIT("sendfile", "sendfile64"),
	EXIT("splice", "splice"),
};

SKELETON(syscall, )

static const char *syscall_lacks(void)
{
	if (!tap_has_event("syscalls"))
		return "no system call tracepoints (CONFIG_FTRACE_SYSCALLS), "
		       "or tracefs is not mounted";
	return NULL;
}

static const struct tap_frontend syscall_front = {
	.name = "syscall",
	.hooks = syscall_hooks,
	.n_hooks = sizeof(syscall_hooks) / sizeof(*syscall_hooks),
	.open = syscall_open,
	.destroy = syscall_destroy,
	.late_at = offsetof(struct syscall_bpf__data, tap_late),
	.lacks = syscall_lacks,
};

/* --- socket --- */

static const struct tap_hook socket_hooks[] = {
	LIFE,
	{ .program = "sock_send_length",
	  .probe = "sock_send_length",
	  .required = true },
	{ .program = "sock_recv_length",
	  .probe = "sock_recv_length",
	  .required = true },
	{ .program = "tcp_sendmsg_locked",
	  .probe = "tcp_sendmsg_locked",
	  .with = WRITE_BEGINS,
	  .begins = true },
	WRITES_BEGIN(WRITE_BEGINS, false), /* they miss sendfile */
	{ .program = "tcp_rcv_space_adjust", .probe = "tcp_rcv_space_adjust" },
};

SKELETON(socket, )

static const char *socket_lacks(void)
{
	if (!tap_has_event("sock"))
		return "tracefs is not mounted";
	if (!tap_has_event("sock/sock_send_length"))
		return "the kernel has no sock_send_length (6.3)";
	return tap_has_event(WRITE_BEGINS) ? NULL : syscall_lacks();
}

static const struct tap_frontend socket_front = {
	.name = "socket",
	.hooks = socket_hooks,
	.n_hooks = sizeof(socket_hooks) / sizeof(*socket_hooks),
	.open = socket_open,
	.destroy = socket_destroy,
	.late_at = offsetof(struct socket_bpf__data, tap_late),
	.lacks = socket_lacks,
};

/* --- fentry --- */

static const struct tap_hook fentry_hooks[] = {
	LIFE,
	{ .program = "fexit_sendmsg",
	  .probe = "fexit/tcp_sendmsg",
	  .function = "tcp_sendmsg",
	  .required = true },
	{ .program = "fentry_sendmsg",
	  .probe = "fentry/tcp_sendmsg",
	  .function = "tcp_sendmsg",
	  .required = true,
	  .begins = true },
	{ .program = "fexit_recvmsg",
	  .probe = "fexit/tcp_recvmsg",
	  .function = "tcp_recvmsg",
	  .required = true },
	{ .program = "fexit_sendpage",
	  .probe = "fexit/tcp_sendpage",
	  .function = "tcp_sendpage" },
	{ .program = "fexit_splice_read",
	  .probe = "fexit/tcp_splice_read",
	  .function = "tcp_splice_read" },
};

SKELETON(fentry, s->rodata->tcp_recvmsg_flags_arg = recvmsg_flags_arg())

static const char *fentry_lacks(void)
{
	/*
	 * mov r0, 0; exit: a quick test, before the real programs are loaded.
	 */
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts,
		    .expected_attach_type = BPF_TRACE_FENTRY);
	int fd, id;

	if (faccessat(AT_FDCWD, "/sys/kernel/btf/vmlinux", R_OK, AT_EACCESS))
		return "no BTF (CONFIG_DEBUG_INFO_BTF)";
	id = libbpf_find_vmlinux_btf_id("tcp_sendmsg", BPF_TRACE_FENTRY);
	if (id <= 0)
		return "the kernel has no tcp_sendmsg()";
	opts.attach_btf_id = (uint32_t)id;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, NULL, "GPL", nothing,
			   sizeof(nothing) / sizeof(*nothing), &opts);
	if (fd < 0)
		return errno == EPERM ? "the kernel refuses programs at the "
					"entry of functions: not permitted"
				      : "the kernel refuses programs at the "
					"entry of functions";
	close(fd);
	return NULL;
}

static const struct tap_frontend fentry_front = {
	.name = "fentry",
	.hooks = fentry_hooks,
	.n_hooks = sizeof(fentry_hooks) / sizeof(*fentry_hooks),
	.open = fentry_open,
	.destroy = fentry_destroy,
	.late_at = offsetof(struct fentry_bpf__data, tap_late),
	.lacks = fentry_lacks,
};

/* --- kprobe --- */

static const struct tap_hook kprobe_hooks[] = {
	LIFE,
	{ .program = "kretprobe_sendmsg",
	  .probe = "kretprobe/tcp_sendmsg",
	  .function = "tcp_sendmsg",
	  .required = true },
	{ .program = "kprobe_sendmsg",
	  .probe = "kprobe/tcp_sendmsg",
	  .function = "tcp_sendmsg",
	  .required = true,
	  .begins = true },
	{ .program = "tcp_rcv_space_adjust",
	  .probe = "tcp_rcv_space_adjust",
	  .required = true },
	{ .program = "kprobe_recvmsg",
	  .probe = "kprobe/tcp_recvmsg",
	  .function = "tcp_recvmsg",
	  .required = true },
	/*
	 * Without it, a splice would look like tcp_recvmsg(), and its bytes be
	 * read from the wrong place.
	 */
	{ .program = "kprobe_splice_read",
	  .probe = "kprobe/tcp_splice_read",
	  .function = "tcp_splice_read",
	  .required = true },
	{ .program = "kretprobe_sendpage",
	  .probe = "kretprobe/tcp_sendpage",
	  .function = "tcp_sendpage" },
	{ .program = "kprobe_sendpage",
	  .probe = "kprobe/tcp_sendpage",
	  .function = "tcp_sendpage" },
};

SKELETON(kprobe, s->rodata->tcp_recvmsg_flags_arg = recvmsg_flags_arg())

static const char *kprobe_lacks(void)
{
	if (faccessat(AT_FDCWD, "/sys/bus/event_source/devices/kprobe", F_OK,
		      AT_EACCESS))
		return "no kprobes (CONFIG_KPROBE_EVENTS)";
	return NULL;
}

static const struct tap_frontend kprobe_front = {
	.name = "kprobe",
	.hooks = kprobe_hooks,
	.n_hooks = sizeof(kprobe_hooks) / sizeof(*kprobe_hooks),
	.open = kprobe_open,
	.destroy = kprobe_destroy,
	.late_at = offsetof(struct kprobe_bpf__data, tap_late),
	.lacks = kprobe_lacks,
};

const struct tap_frontend *const tap_front_list[] = {
	&fentry_front,
	&socket_front,
	&syscall_front,
	&kprobe_front,
};
const size_t tap_front_count = sizeof(tap_front_list) / sizeof(*tap_front_list);
