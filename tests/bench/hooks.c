/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hooks of a front-end cost: requests and answers go to and fro over
 * one connection, in one thread, with all of them attached and with none in
 * turn. Programs that do nothing (mov r0, 0; exit) show what the kernel takes
 * for the places alone; no front-end can cost less. A request is two events,
 * as both of its ends are here. Root.
 *
 *	bench: NAME VALUE UNIT
 *
 * With "floor FRONT": that of one. For tests/bench/capture.py: with "exchange
 * SECONDS" only goes to and fro, and says how long one takes; with "hold FRONT"
 * only has programs that do nothing at its places, until stdin ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>

#include "probe-agent/tap/tap_front.h"

#define PORT 21593
#define ROUNDS 11
#define SLICE_S 0.15
#define BATCH 64 /* exchanges between two looks at the clock */

static const char request[] = "GET /small.html HTTP/1.1\r\nHost: localhost\r\n"
			      "User-Agent: bench\r\n\r\n";
static char answer[840];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* This thread's own time, so that others on the machine matter less. */
static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- the load --- */

static int client, server;

/* Stays where it is: else attaching would move it, now and then. */
static void stay(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("affinity");
}

static void set_nodelay(int fd)
{
	int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
		die("TCP_NODELAY");
}

static void connect_both(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(PORT),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	int n;

	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(listener, (void *)&at, sizeof(at)) || listen(listener, 1))
		die("listen");
	client = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(client, (void *)&at, sizeof(at)))
		die("connect");
	server = accept(listener, NULL, NULL);
	if (server < 0)
		die("accept");
	close(listener);
	set_nodelay(client);
	set_nodelay(server);
	memset(answer, 'x', sizeof(answer));
	n = snprintf(answer, sizeof(answer),
		     "HTTP/1.1 200 OK\r\nServer: bench\r\n"
		     "Content-Type: text/html\r\nContent-Length: 0600\r\n"
		     "Connection: keep-alive\r\nX-Fill: ");
	memcpy(answer + sizeof(answer) - 604, "\r\n\r\n", 4);
	answer[n] = 'x';
}

static void move(int from, int to, const char *data, size_t len)
{
	char in[4096];

	if (write(from, data, len) != (ssize_t)len ||
	    read(to, in, sizeof(in)) != (ssize_t)len)
		die("exchange");
}

/* Nanoseconds that one exchange takes. */
static double exchange(double seconds, uint64_t *count)
{
	double begin = now_s(), end;
	uint64_t n = 0;

	do {
		for (int i = 0; i < BATCH; i++) {
			move(client, server, request, sizeof(request) - 1);
			move(server, client, answer, sizeof(answer));
		}
		n += BATCH;
		end = now_s();
	} while (end - begin < seconds);
	if (count)
		*count = n;
	return (end - begin) * 1e9 / (double)n;
}

/* --- programs that do nothing --- */

static const struct bpf_insn nothing[] = {
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
	{ .code = BPF_JMP | BPF_EXIT },
};

/* Stays open, so that /proc tells whose program it is. */
static int load(enum bpf_prog_type type, struct bpf_prog_load_opts *opts)
{
	int fd = bpf_prog_load(type, NULL, "Dual BSD/GPL", nothing,
			       sizeof(nothing) / sizeof(*nothing), opts);

	if (fd < 0)
		die("load");
	return fd;
}

/* Its id in tracefs, as text. */
static uint64_t event_id(const char *event)
{
	char path[128], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/kernel/tracing/events/syscalls/%s/id", event);
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f))
		die(path);
	fclose(f);
	return strtoull(text, NULL, 10);
}

static int at_event(const char *event)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT,
					.size = sizeof(attr),
					.config = event_id(event) };
	int prog = load(BPF_PROG_TYPE_TRACEPOINT, NULL);
	int fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1,
			      PERF_FLAG_FD_CLOEXEC);

	if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog) ||
	    ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		die(event);
	return fd;
}

static int at_raw(const char *name)
{
	int prog = load(BPF_PROG_TYPE_RAW_TRACEPOINT, NULL);
	int fd = bpf_raw_tracepoint_open(name, prog);

	if (fd < 0)
		die(name);
	return fd;
}

static int at_function(const char *name, enum bpf_attach_type type)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = type);
	int id = libbpf_find_vmlinux_btf_id(name, type), prog, fd;

	if (id < 0)
		return -1; /* not in this kernel */
	opts.attach_btf_id = (uint32_t)id;
	prog = load(BPF_PROG_TYPE_TRACING, &opts);
	fd = bpf_raw_tracepoint_open(NULL, prog);
	if (fd < 0)
		die(name);
	return fd;
}

static int at_hook(struct bpf_object *obj, const struct tap_hook *hook)
{
	const char *section = bpf_program__section_name(
		bpf_object__find_program_by_name(obj, hook->program));

	if (hook->event)
		return at_event(hook->event);
	if (!strncmp(section, "raw_tp/", 7))
		return at_raw(section + 7);
	if (!strncmp(section, "fentry/", 7))
		return at_function(section + 7, BPF_TRACE_FENTRY);
	return at_function(section + 6, BPF_TRACE_FEXIT);
}

/* Where the front-end has its programs. */
struct places {
	int fd[TAP_HOOKS_MAX];
	size_t n;
};

static void attach(struct places *p, const struct tap_frontend *front,
		   struct bpf_object *obj)
{
	p->n = 0;
	for (size_t i = 0; i < front->n_hooks; i++)
		if (tap_hook_fits(&front->hooks[i]))
			p->fd[p->n++] = at_hook(obj, &front->hooks[i]);
}

static void detach(struct places *p)
{
	while (p->n)
		if (p->fd[--p->n] >= 0)
			close(p->fd[p->n]);
}

/* --- figures --- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_size);
	return v[ROUNDS / 2];
}

static void floor_of(const struct tap_frontend *front)
{
	const struct tap_options opt = { .mode = front->name };
	double added[ROUNDS], without;
	struct bpf_object *obj;
	void *skel = front->open(&opt, &obj);
	struct places places;

	if (!skel)
		die(front->name);
	for (int i = 0; i < ROUNDS; i++) {
		without = exchange(SLICE_S, NULL);
		attach(&places, front, obj);
		added[i] = exchange(SLICE_S, NULL) - without;
		detach(&places);
	}
	front->destroy(skel);
	printf("bench: capture-%s-hooks-floor %.0f ns/event\n", front->name,
	       median(added) / 2);
	fflush(stdout);
}

static void hold(const struct tap_frontend *front)
{
	const struct tap_options opt = { .mode = front->name };
	struct bpf_object *obj;
	struct places places;
	void *skel = front->open(&opt, &obj);

	if (!skel)
		die(front->name);
	attach(&places, front, obj);
	puts("held");
	fflush(stdout);
	while (getchar() != EOF)
		;
	detach(&places);
	front->destroy(skel);
}

static int print_nothing(enum libbpf_print_level level, const char *format,
			 va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t n = 0;
	double ns;

	libbpf_set_print(print_nothing);
	stay();
	connect_both();
	if (argc == 3 && !strcmp(argv[1], "exchange")) {
		ns = exchange(strtod(argv[2], NULL), &n);
		printf("%.1f ns %llu\n", ns, (unsigned long long)n);
		return 0;
	}
	for (size_t i = 0; i < tap_front_count; i++) {
		const struct tap_frontend *front = tap_front_list[i];

		if (argc == 3 && strcmp(argv[2], front->name))
			continue;
		/* Probes have no numbers to attach by here. */
		if (!strcmp(front->name, "kprobe") || front->lacks())
			continue;
		if (argc == 3 && !strcmp(argv[1], "hold"))
			hold(front);
		else
			floor_of(front);
	}
	return 0;
}
