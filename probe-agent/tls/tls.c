/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/tls.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/tls/tls_files.h"
#include "probe-agent/tls/tls_mmap.h"
#include "probe-agent/tls/tls_programs.h"
#include "probe-agent/tls/tls_scan.h"
#include "tls.skel.h"

#define PROCESSES_MAX 4096
#define PROCESS_FILES 4
#define LOOKS_MAX 256
#define LINGER_NS (10 * CLOCK_NS_PER_S)
#define SCAN_NS (60 * CLOCK_NS_PER_S) /* in case anything was missed */
#define SCAN_PAUSE_NS (5 * CLOCK_NS_PER_S) /* if anything was missed */
#define EVENTS 32

/* A process that uses files with TLS calls. */
struct process {
	uint32_t pid;
	int pidfd; /* readable when it has ended */
	uint32_t n;
	uint8_t file[PROCESS_FILES];
};

/* A process whose mapped libraries must be scanned, perhaps more than once. */
struct look {
	uint32_t pid;
	uint32_t tries; /* made */
	uint64_t due_ns;
	struct tls_file file; /* the mapped library; inode 0: not known */
};

struct tls {
	struct tls_options opt;
	struct tls_bpf *skel;
	bool many; /* see bpf_attach_many() */
	struct ring_buffer *events;
	struct bpf_link *exec;
	struct tls_mmap *maps; /* NULL: mappings can't be watched */
	int epoll, stop;
	pthread_t thread;
	enum { IDLE, LOADING, RUNNING } state; /* what the thread is for */
	int load_err; /* of the loading thread */
	struct tls_files *files;
	struct process process[PROCESSES_MAX];
	uint32_t processes;
	struct look look[LOOKS_MAX];
	size_t looks;
	uint64_t scan_ns; /* when all processes will be scanned next */
	uint64_t scanned_ns; /* when they were scanned last */
	bool found_no_tls; /* the executable scanned last has no TLS calls */
	struct tls_file wanted; /* file looked for; inode 0: none, or found */
	uint64_t missed; /* see tls_missed() */
	bool untracked; /* a process's end may be missed: nothing detaches */
};

/* --- processes --- */

static struct process *process_of(struct tls *t, uint32_t pid)
{
	for (uint32_t i = 0; i < t->processes; i++)
		if (t->process[i].pid == pid)
			return &t->process[i];
	return NULL;
}

static void leave_files(struct tls *t, struct process *p)
{
	while (p->n)
		tls_files_leave(t->files, p->file[--p->n]);
}

static void forget(struct tls *t, struct process *p)
{
	leave_files(t, p);
	close(p->pidfd); /* which removes it from epoll, too */
	*p = t->process[--t->processes];
}

static struct process *add_process(struct tls *t, uint32_t pid)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = pid };
	struct process *p = &t->process[t->processes];
	int fd;

	fd = t->processes < PROCESSES_MAX ? (int)syscall(SYS_pidfd_open, pid, 0)
					  : -1;
	if (fd < 0 && t->processes < PROCESSES_MAX && errno == ESRCH)
		return NULL; /* gone already */
	if (fd < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		if (!t->untracked)
			log_warn("tls: cannot follow a process to its end; no "
				 "probe will be detached pid=%u",
				 pid);
		t->untracked = true;
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	*p = (struct process){ .pid = pid, .pidfd = fd };
	t->processes++;
	return p;
}

/* tls_scan_fn */
static void found(void *arg, uint32_t pid, int fd, const char *path)
{
	struct tls *t = arg;
	uint64_t device = 0;
	struct process *p;
	struct stat st;
	int file;

	if (fstat(fd, &st))
		return;
	if (t->wanted.inode == st.st_ino) {
		device = t->wanted.device;
		t->wanted.inode = 0;
	}
	file = tls_files_of(t->files, fd, &st, path, device);
	t->found_no_tls |= file == -ENOEXEC;
	if (file < 0)
		return;
	if (!pid) {
		tls_files_stand(t->files, file);
		return;
	}
	p = process_of(t, pid);
	if (!p)
		p = add_process(t, pid);
	if (!p)
		return;
	for (uint32_t i = 0; i < p->n; i++)
		if (p->file[i] == file)
			return;
	if (p->n == PROCESS_FILES) {
		t->untracked = true;
		return;
	}
	p->file[p->n++] = (uint8_t)file;
	tls_files_use(t->files, file);
}

static void scan_all(struct tls *t, uint64_t now_ns)
{
	int err;

	tls_files_unstand(t->files);
	tls_scan_host(found, t);
	err = tls_scan_all(found, t);
	if (err)
		log_warn("tls: cannot list processes error=\"%s\"",
			 strerror(-err));
	t->scanned_ns = now_ns;
	t->scan_ns = now_ns + SCAN_NS;
}

/* Something was missed: scans all processes soon, but not too often. */
static void scan_soon(struct tls *t)
{
	if (t->scan_ns > t->scanned_ns + SCAN_PAUSE_NS)
		t->scan_ns = t->scanned_ns + SCAN_PAUSE_NS;
}

/* Detaches files long unused. Scans first: a fork may have been missed. */
static void detach_idle(struct tls *t, uint64_t now_ns)
{
	if (!tls_files_idle(t->files, now_ns))
		return;
	scan_all(t, now_ns);
	tls_files_detach_idle(t->files, now_ns);
}

/* --- events from the kernel --- */

static void look_later(struct tls *t, uint32_t pid, const struct tls_file *file)
{
	if (t->looks == LOOKS_MAX) {
		scan_soon(t); /* all processes, then */
		return;
	}
	t->look[t->looks++] = (struct look){ .pid = pid, .file = *file };
}

/* ring_buffer_sample_fn: a process has started another program. */
static int on_exec(void *arg, void *data, size_t len)
{
	const struct tls_event *e = data;
	struct tls *t = arg;
	struct process *p;
	uint8_t one = 1;

	if (len < sizeof(*e))
		return 0;
	p = process_of(t, e->tgid);
	if (p)
		leave_files(t, p);
	t->found_no_tls = false;
	tls_scan_executable(e->tgid, found, t);
	if (!t->maps) /* then every program start must be reported */
		look_later(t, e->tgid, &(struct tls_file){ 0 });
	else if (t->found_no_tls)
		bpf_map_update_elem(bpf_map__fd(t->skel->maps.tls_no_tls),
				    &e->file, &one, BPF_ANY);
	return 0;
}

static void take_maps(struct tls *t)
{
	struct tls_event e;

	while (t->maps && !tls_mmap_take(t->maps, &e))
		if (e.tgid)
			look_later(t, e.tgid, &e.file);
		else
			scan_soon(t);
}

/* Scans the process once more. Returns true if that was the last time. */
static bool look_again(struct tls *t, struct look *l, const uint16_t *wait_ms,
		       size_t waits)
{
	int n;

	t->wanted = l->file;
	n = tls_scan_libraries(l->pid, found, t);
	if (n >= 0 && l->tries < waits && (!l->file.inode || t->wanted.inode)) {
		l->due_ns =
			clock_mono_ns() + wait_ms[l->tries++] * CLOCK_NS_PER_MS;
		return false;
	}
	/* The process is gone. Missed, unless its library is attached. */
	if (n <= 0 && t->wanted.inode && !tls_files_has(t->files, &l->file))
		__atomic_fetch_add(&t->missed, 1, __ATOMIC_RELAXED);
	t->wanted.inode = 0;
	return true;
}

/* Makes the scans that are due. Returns the time of the next one, or 0. */
static uint64_t make_looks(struct tls *t, uint64_t now_ns)
{
	static const uint16_t wait_ms[] = { 1, 4, 20, 100, 500 };
	uint64_t next_ns = 0;
	size_t i = 0;

	while (i < t->looks) {
		struct look *l = &t->look[i];

		if (l->due_ns <= now_ns &&
		    look_again(t, l, wait_ms,
			       sizeof(wait_ms) / sizeof(*wait_ms))) {
			*l = t->look[--t->looks];
			continue;
		}
		if (!next_ns || l->due_ns < next_ns)
			next_ns = l->due_ns;
		i++;
	}
	return next_ns;
}

static void tls_turn(struct tls *t, const struct epoll_event *ev, int n,
		     uint64_t *next_ns)
{
	uint64_t now_ns;
	struct process *p;

	for (int i = 0; i < n; i++) {
		p = ev[i].data.u64 ? process_of(t, (uint32_t)ev[i].data.u64)
				   : NULL;
		if (p)
			forget(t, p);
	}
	ring_buffer__consume(t->events);
	take_maps(t);
	now_ns = clock_mono_ns();
	*next_ns = make_looks(t, now_ns);
	if (now_ns >= t->scan_ns)
		scan_all(t, now_ns);
	if (!t->untracked)
		detach_idle(t, now_ns);
}

static void *tls_thread(void *arg)
{
	struct tls *t = arg;
	struct epoll_event ev[EVENTS];
	uint64_t next_ns = 0, now_ns, stop;
	int n = 0, timeout_ms;

	for (;;) {
		tls_turn(t, ev, n, &next_ns);
		now_ns = clock_mono_ns();
		timeout_ms = 1000;
		if (next_ns)
			timeout_ms = next_ns <= now_ns
					     ? 0
					     : (int)((next_ns - now_ns) /
							     CLOCK_NS_PER_MS +
						     1);
		n = epoll_wait(t->epoll, ev, EVENTS, timeout_ms);
		if (read(t->stop, &stop, sizeof(stop)) == sizeof(stop))
			return NULL;
	}
}

/* --- life --- */

static void *load_all(void *arg)
{
	struct tls *t = arg;

	t->load_err = tls_programs_load(&t->skel, &t->many, &t->opt);
	return NULL;
}

/*
 * Without program starts, new programs are found late; without library loads,
 * libraries are.
 */
static void watch_starts(struct tls *t)
{
	int err;

	t->exec = bpf_program__attach(t->skel->progs.process_exec);
	if (!t->exec)
		log_warn("tls: cannot watch program starts error=\"%m\"");
	err = tls_mmap_open(&t->maps);
	if (err)
		log_warn("tls: cannot watch library loads; a library loaded "
			 "over 0.6 s after its program's start is found within "
			 "a minute call=perf_event_open error=\"%s\"",
			 strerror(-err));
}

/* Each probe and each process needs a descriptor. */
static void raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l))
		log_debug("tls: cannot raise the limit of open files "
			  "error=\"%m\"");
}

static int watch_fds(struct tls *t)
{
	struct epoll_event ev = { .events = EPOLLIN };

	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->epoll < 0 || t->stop < 0 ||
	    epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->stop, &ev) ||
	    epoll_ctl(t->epoll, EPOLL_CTL_ADD, ring_buffer__epoll_fd(t->events),
		      &ev) ||
	    (t->maps &&
	     epoll_ctl(t->epoll, EPOLL_CTL_ADD, tls_mmap_fd(t->maps), &ev)))
		return -errno;
	return 0;
}

int tls_load(struct tls **out, const struct tls_options *opt)
{
	struct tls *t = calloc(1, sizeof(*t));
	int err;

	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->epoll = t->stop = -1;
	t->opt = *opt;
	raise_limit();
	err = pthread_create(&t->thread, NULL, load_all, t);
	if (err) {
		tls_stop(t);
		return -err;
	}
	t->state = LOADING;
	*out = t;
	return 0;
}

int tls_loaded(struct tls *t)
{
	if (t->state == LOADING)
		pthread_join(t->thread, NULL);
	t->state = IDLE;
	return t->load_err;
}

int tls_start(struct tls *t)
{
	const uint64_t linger_ns =
		t->opt.linger_ns ? t->opt.linger_ns : LINGER_NS;
	int err = tls_loaded(t);

	if (!err)
		err = tls_files_new(&t->files, t->skel->obj, t->many,
				    linger_ns);
	if (err)
		return err;
	t->events = ring_buffer__new(bpf_map__fd(t->skel->maps.tls_events),
				     on_exec, t, NULL);
	if (!t->events)
		return -errno;
	watch_starts(t);
	err = watch_fds(t);
	if (err)
		return err;
	scan_all(t, clock_mono_ns());
	err = pthread_create(&t->thread, NULL, tls_thread, t);
	if (!err)
		t->state = RUNNING;
	return -err;
}

void tls_stop(struct tls *t)
{
	uint64_t one = 1;

	if (!t)
		return;
	if (t->state == RUNNING && write(t->stop, &one, sizeof(one)) < 0)
		log_error("tls: cannot wake the thread to stop it "
			  "error=\"%m\"");
	if (t->state != IDLE)
		pthread_join(t->thread, NULL);
	tls_mmap_close(t->maps);
	bpf_link__destroy(t->exec);
	while (t->processes)
		forget(t, &t->process[0]);
	tls_files_free(t->files);
	ring_buffer__free(t->events);
	tls_bpf__destroy(t->skel);
	if (t->epoll >= 0)
		close(t->epoll);
	if (t->stop >= 0)
		close(t->stop);
	free(t);
}

uint64_t tls_missed(const struct tls *t)
{
	return __atomic_load_n(&t->missed, __ATOMIC_RELAXED);
}

void tls_poll(struct tls *t)
{
	if (t->maps)
		tls_mmap_poll(t->maps);
}

uint64_t tls_loads_lost(const struct tls *t)
{
	return t->maps ? tls_mmap_lost(t->maps) : 0;
}

size_t tls_probes(struct tls *t, struct tls_probe *out, size_t cap,
		  uint64_t *generation)
{
	const struct tls_probe watch[] = {
		{ "tls/exec", t->exec != NULL },
		{ "tls/mmap", t->maps != NULL },
	};
	size_t n = 0;

	for (; n < cap && n < sizeof(watch) / sizeof(*watch); n++)
		out[n] = watch[n];
	return n + tls_files_probes(t->files, out + n, cap - n, generation);
}
