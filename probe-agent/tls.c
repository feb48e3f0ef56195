/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls.h"

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
#include <sys/sysmacros.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/tls.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/elfsym.h"
#include "probe-agent/links.h"
#include "probe-agent/tls_scan.h"
#include "tls.skel.h"

#define FILES_MAX 128
#define PROCESSES_MAX 4096
#define PROCESS_FILES 4
#define DULL_SLOTS 1024 /* a power of two */
#define LOOKS_MAX 256
#define LINGER_NS (10 * CLOCK_NS_PER_S)
#define SCAN_NS (60 * CLOCK_NS_PER_S) /* should anything have been missed */
#define EVENTS 32

/* The functions, and who is told when they are called. */
static const struct hook {
	const char *symbol;
	const char *program;
	bool moves; /* plain text; at least one such must be there */
} hooks[] = {
	{ "SSL_do_handshake", "openssl_handshake", false },
	{ "SSL_read", "openssl_read", true },
	{ "SSL_read_ex", "openssl_read_ex", true },
	{ "SSL_write", "openssl_write", true },
	{ "SSL_write_ex", "openssl_write_ex", true },
	{ "gnutls_handshake", "gnutls_handshake", false },
	{ "gnutls_record_recv", "gnutls_recv", true },
	{ "gnutls_record_send", "gnutls_send", true },
};
#define HOOKS (sizeof(hooks) / sizeof(*hooks))

/* A file with TLS calls. */
struct file {
	dev_t dev;
	ino_t ino; /* 0: a free slot */
	char name[48]; /* without its folder */
	struct bpf_link *link[2 * HOOKS]; /* in order of attaching */
	size_t returns; /* so many of them are of returns */
	size_t links; /* 0: could not be attached */
	uint32_t users; /* processes */
	bool standing; /* the host has it: not let go */
	uint64_t device; /* as the kernel calls dev; 0: not known */
	uint64_t idle_ns; /* since when there are none */
};

/* A process that uses such files. */
struct process {
	uint32_t pid;
	int pidfd; /* tells its end */
	uint32_t n;
	uint8_t file[PROCESS_FILES];
};

/* A file without TLS calls. */
struct dull {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

/* A process to be looked at when its libraries are mapped. */
struct look {
	uint32_t pid;
	uint32_t tries; /* made */
	uint64_t due_ns;
	struct tls_file file; /* that is being mapped; inode 0: not known */
};

/* Links to be destroyed, in an order that keeps pairs whole. */
struct going {
	struct bpf_link *call[FILES_MAX * HOOKS], *ret[FILES_MAX * HOOKS];
	size_t calls, rets;
};

struct tls {
	struct tls_bpf *skel;
	struct ring_buffer *events;
	struct bpf_link *exec, *map;
	uint64_t linger_ns;
	int epoll, stop;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* of file[] and generation, for tls_probes() */
	uint64_t generation;
	struct file file[FILES_MAX];
	struct process process[PROCESSES_MAX];
	uint32_t processes;
	struct dull dull[DULL_SLOTS];
	struct look look[LOOKS_MAX];
	size_t looks;
	uint64_t scan_ns; /* when all processes are looked at again */
	struct going going; /* the detacher's while it is busy */
	pthread_t detacher;
	bool detaching, busy; /* started and not joined; not done yet */
	bool found_dull; /* of the executable looked at last */
	struct tls_file wanted; /* inode 0 when it was found */
	uint64_t missed; /* see tls_missed() */
	bool full_said, untracked; /* an end may be missed: nothing detaches */
};

/* --- attaching --- */

static void changed(struct tls *t)
{
	t->generation++;
	pthread_mutex_unlock(&t->lock);
}

/* Moves the links of f out. */
static void let_go(struct file *f, struct going *g)
{
	size_t i;

	for (i = 0; i < f->links; i++)
		if (i < f->returns)
			g->ret[g->rets++] = f->link[i];
		else
			g->call[g->calls++] = f->link[i];
	f->links = 0;
}

static void destroy_all(struct bpf_link **link, size_t n)
{
	size_t i;

	for (i = 0; i < n; i += LINKS_MAX)
		links_destroy(link + i, n - i < LINKS_MAX ? n - i : LINKS_MAX);
}

/*
 * Takes seconds on a busy machine: no lock is held, and nobody waits who has
 * processes to look at. Calls first: what has begun must not be seen to end.
 */
static void detach(struct going *g)
{
	destroy_all(g->call, g->calls);
	destroy_all(g->ret, g->rets);
	g->calls = g->rets = 0;
}

static int attach_one(struct tls *t, struct file *f, const char *program,
		      bool ret, const char *path, uint64_t offset)
{
	struct bpf_program *p =
		bpf_object__find_program_by_name(t->skel->obj, program);
	struct bpf_link *link;

	link = bpf_program__attach_uprobe(p, ret, -1, path, offset);
	if (!link)
		return -errno;
	f->link[f->links++] = link;
	return 0;
}

/* Returns first: a call that is seen to begin must be seen to end. */
static int attach(struct tls *t, struct file *f, int fd, const uint64_t *offset)
{
	struct going undo = { .calls = 0 };
	char path[64];
	size_t i;
	int err = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (i = 0; !err && i < HOOKS; i++)
		if (offset[i])
			err = attach_one(t, f, "tls_return", true, path,
					 offset[i]);
	f->returns = f->links;
	for (i = 0; !err && i < HOOKS; i++)
		if (offset[i])
			err = attach_one(t, f, hooks[i].program, false, path,
					 offset[i]);
	if (err) {
		let_go(f, &undo);
		detach(&undo);
	}
	return err;
}

/* --- files --- */

static struct dull *dull_slot(struct tls *t, const struct stat *st)
{
	uint64_t h = (st->st_ino ^ st->st_dev << 32) * 0x9e3779b97f4a7c15ull;

	return &t->dull[h >> 54 & (DULL_SLOTS - 1)];
}

static bool is_dull(struct tls *t, const struct stat *st)
{
	const struct dull *d = dull_slot(t, st);

	return d->ino == st->st_ino && d->dev == st->st_dev &&
	       d->size == st->st_size &&
	       d->changed.tv_sec == st->st_ctim.tv_sec &&
	       d->changed.tv_nsec == st->st_ctim.tv_nsec;
}

static void set_dull(struct tls *t, const struct stat *st)
{
	*dull_slot(t, st) = (struct dull){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = st->st_size,
		.changed = st->st_ctim,
	};
}

/* Where its TLS calls are. False: it has none, or none that can be read. */
static bool has_calls(int fd, const char *path, uint64_t offset[HOOKS])
{
	const char *names[HOOKS];
	bool moves = false;
	size_t i;
	int n;

	for (i = 0; i < HOOKS; i++)
		names[i] = hooks[i].symbol;
	n = elfsym_find(fd, names, HOOKS, offset);
	if (n < 0 && n != -ENOEXEC)
		log_warn("tls: symbols of %s can't be read: %s", path,
			 strerror(-n));
	for (i = 0; n > 0 && i < HOOKS; i++)
		moves |= hooks[i].moves && offset[i];
	return moves;
}

static struct file *add_file(struct tls *t, int fd, const struct stat *st,
			     const char *path)
{
	const char *name = strrchr(path, '/');
	uint64_t offset[HOOKS];
	struct file *f = NULL, new = { .dev = st->st_dev, .ino = st->st_ino };
	size_t i;
	int err;

	for (i = 0; i < FILES_MAX && !f; i++)
		if (!t->file[i].ino)
			f = &t->file[i];
	if (!f) {
		if (!t->full_said)
			log_warn("tls: more than %d files with TLS calls; %s "
				 "and others are not watched",
				 FILES_MAX, path);
		t->full_said = true;
		return NULL;
	}
	if (!has_calls(fd, path, offset)) {
		set_dull(t, st);
		t->found_dull = true;
		return NULL;
	}
	snprintf(new.name, sizeof(new.name), "%s", name ? name + 1 : path);
	err = attach(t, &new, fd, offset);
	new.idle_ns = clock_mono_ns();
	pthread_mutex_lock(&t->lock);
	*f = new;
	changed(t);
	if (err)
		log_warn("tls: not attached file=%s inode=%llu: %s", path,
			 (unsigned long long)f->ino, strerror(-err));
	else
		log_info("tls: attached file=%s inode=%llu probes=%zu", path,
			 (unsigned long long)f->ino, f->links);
	return f;
}

static struct file *file_of(struct tls *t, int fd, const char *path)
{
	uint64_t device = 0;
	struct file *f;
	struct stat st;
	size_t i;

	if (fstat(fd, &st))
		return NULL;
	if (t->wanted.inode == st.st_ino) {
		device = t->wanted.device;
		t->wanted.inode = 0;
	}
	if (is_dull(t, &st)) {
		t->found_dull = true;
		return NULL;
	}
	for (i = 0; i < FILES_MAX; i++)
		if (t->file[i].ino == st.st_ino && t->file[i].dev == st.st_dev)
			break;
	f = i < FILES_MAX ? &t->file[i] : add_file(t, fd, &st, path);
	if (f && device)
		f->device = device;
	return f;
}

/* --- processes --- */

static struct process *process_of(struct tls *t, uint32_t pid)
{
	uint32_t i;

	for (i = 0; i < t->processes; i++)
		if (t->process[i].pid == pid)
			return &t->process[i];
	return NULL;
}

static void leave_files(struct tls *t, struct process *p)
{
	struct file *f;

	while (p->n) {
		f = &t->file[p->file[--p->n]];
		if (!--f->users)
			f->idle_ns = clock_mono_ns();
	}
}

static void forget(struct tls *t, struct process *p)
{
	leave_files(t, p);
	close(p->pidfd); /* and epoll forgets it */
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
			log_warn("tls: process %u can't be followed to its "
				 "end: no probe will be detached",
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
	struct file *f = file_of(t, fd, path);
	struct process *p;
	uint32_t i;
	uint8_t index;

	if (!f)
		return;
	if (!pid) {
		f->standing = true;
		return;
	}
	p = process_of(t, pid);
	if (!p)
		p = add_process(t, pid);
	if (!p)
		return;
	index = (uint8_t)(f - t->file);
	for (i = 0; i < p->n; i++)
		if (p->file[i] == index)
			return;
	if (p->n == PROCESS_FILES) {
		t->untracked = true;
		return;
	}
	p->file[p->n++] = index;
	f->users++;
}

static void scan_all(struct tls *t, uint64_t now_ns)
{
	size_t i;
	int err;

	/* One that was replaced or removed is let go as others are. */
	for (i = 0; i < FILES_MAX; i++) {
		if (t->file[i].standing && !t->file[i].users)
			t->file[i].idle_ns = now_ns;
		t->file[i].standing = false;
	}
	tls_scan_host(found, t);
	err = tls_scan_all(found, t);
	if (err)
		log_warn("tls: processes can't be listed: %s", strerror(-err));
	t->scan_ns = now_ns + SCAN_NS;
}

static void *detach_all(void *arg)
{
	struct tls *t = arg;

	detach(&t->going);
	__atomic_store_n(&t->busy, false, __ATOMIC_RELEASE);
	return NULL;
}

static void start_detaching(struct tls *t)
{
	t->busy = true;
	t->detaching = !pthread_create(&t->detacher, NULL, detach_all, t);
	if (!t->detaching)
		detach_all(t);
}

/* Is the detacher through? waits: it is when this returns. */
static bool detached(struct tls *t, bool waits)
{
	if (!t->detaching)
		return true;
	if (!waits && __atomic_load_n(&t->busy, __ATOMIC_ACQUIRE))
		return false;
	pthread_join(t->detacher, NULL);
	t->detaching = false;
	return true;
}

static bool is_idle(const struct tls *t, const struct file *f, uint64_t now_ns)
{
	return f->ino && !f->users && !f->standing &&
	       now_ns >= f->idle_ns + t->linger_ns;
}

/* Files that nobody has used for long. A fork may have been missed: look. */
static void detach_idle(struct tls *t, uint64_t now_ns)
{
	bool scanned = false;
	size_t i;

	for (i = 0; i < FILES_MAX; i++) {
		struct file *f = &t->file[i];

		if (!is_idle(t, f, now_ns))
			continue;
		if (!scanned)
			scan_all(t, now_ns);
		scanned = true;
		if (!is_idle(t, f, now_ns))
			continue;
		log_info("tls: detached file=%s inode=%llu: nobody uses it",
			 f->name, (unsigned long long)f->ino);
		pthread_mutex_lock(&t->lock);
		let_go(f, &t->going);
		f->ino = 0;
		changed(t);
	}
	if (t->going.rets)
		start_detaching(t);
}

/* --- what the kernel tells --- */

static void look_later(struct tls *t, uint32_t pid, const struct tls_file *file)
{
	if (t->looks == LOOKS_MAX) {
		t->scan_ns = 0; /* all of them, then */
		return;
	}
	t->look[t->looks++] = (struct look){ .pid = pid, .file = *file };
}

static void on_exec(struct tls *t, const struct tls_event *e)
{
	struct process *p = process_of(t, e->tgid);
	uint8_t one = 1;

	if (p)
		leave_files(t, p);
	t->found_dull = false;
	tls_scan_executable(e->tgid, found, t);
	if (t->found_dull)
		bpf_map_update_elem(bpf_map__fd(t->skel->maps.tls_dull),
				    &e->file, &one, BPF_ANY);
	if (!t->map)
		look_later(t, e->tgid, &(struct tls_file){ 0 });
}

static int on_event(void *arg, void *data, size_t len)
{
	const struct tls_event *e = data;
	struct tls *t = arg;

	if (len < sizeof(*e))
		return 0;
	if (e->kind == TLS_EXEC)
		on_exec(t, e);
	else if (e->kind == TLS_MAPS)
		look_later(t, e->tgid, &e->file);
	return 0;
}

/*
 * The process is gone. If its library was attached, it was seen. Some file
 * systems have a device for the kernel and another one for stat(): that is
 * known of a file that was found by what the kernel told.
 */
static void count_missed(struct tls *t, const struct look *l)
{
	dev_t dev = makedev(l->file.device >> 20, l->file.device & 0xfffff);
	size_t i;

	for (i = 0; i < FILES_MAX; i++) {
		const struct file *f = &t->file[i];

		if (f->ino == l->file.inode && f->links &&
		    (f->dev == dev || f->device == l->file.device))
			return;
	}
	__atomic_fetch_add(&t->missed, 1, __ATOMIC_RELAXED);
}

/* Looks once more. True: that was the last time. */
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
	if (n <= 0 && t->wanted.inode)
		count_missed(t, l);
	t->wanted.inode = 0;
	return true;
}

/* Looks that are due. When the next one is, or 0. */
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

static void turn(struct tls *t, const struct epoll_event *ev, int n,
		 uint64_t *next_ns)
{
	uint64_t now_ns;
	struct process *p;
	int i;

	for (i = 0; i < n; i++) {
		p = ev[i].data.u64 ? process_of(t, (uint32_t)ev[i].data.u64)
				   : NULL;
		if (p)
			forget(t, p);
	}
	ring_buffer__consume(t->events);
	now_ns = clock_mono_ns();
	*next_ns = make_looks(t, now_ns);
	if (now_ns >= t->scan_ns)
		scan_all(t, now_ns);
	if (!t->untracked && detached(t, false))
		detach_idle(t, now_ns);
}

static void *run(void *arg)
{
	struct tls *t = arg;
	struct epoll_event ev[EVENTS];
	uint64_t next_ns = 0, now_ns, stop;
	int n = 0, timeout_ms;

	for (;;) {
		turn(t, ev, n, &next_ns);
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

static int reuse(struct bpf_map *map, int fd)
{
	return bpf_map__reuse_fd(map, fd);
}

static int load(struct tls *t, const struct tls_options *opt)
{
	struct tls_bpf *s = t->skel = tls_bpf__open();
	int err;

	if (!s)
		return -errno;
	s->rodata->tap_self_tgid = opt->watch_self ? 0 : (uint32_t)getpid();
	err = reuse(s->maps.tap_ring, opt->maps.ring);
	if (!err)
		err = reuse(s->maps.tap_conns, opt->maps.conns);
	if (!err)
		err = reuse(s->maps.tap_counters, opt->maps.counters);
	if (!err)
		err = reuse(s->maps.tls_threads, opt->maps.threads);
	if (!err)
		err = tls_bpf__load(s);
	if (err)
		log_warn("tls: loading the BPF programs failed: %s; "
			 "--log.level=debug shows the verifier's word",
			 strerror(-err));
	return err;
}

/* Without the one, new programs are found late; without the other, libraries.
 */
static void watch_starts(struct tls *t)
{
	t->exec = bpf_program__attach(t->skel->progs.process_exec);
	if (!t->exec)
		log_warn("tls: program starts can't be watched: %m");
	t->map = bpf_program__attach_tracepoint(t->skel->progs.library_map,
						"syscalls", "sys_enter_mmap");
	if (!t->map)
		log_warn("tls: library loads can't be watched: %m");
}

/* Each probe and each process has a descriptor. */
static void raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l))
		log_debug("tls: the limit of open files stays: %m");
}

static int watch_fds(struct tls *t)
{
	struct epoll_event ev = { .events = EPOLLIN };

	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->epoll < 0 || t->stop < 0 ||
	    epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->stop, &ev) ||
	    epoll_ctl(t->epoll, EPOLL_CTL_ADD, ring_buffer__epoll_fd(t->events),
		      &ev))
		return -errno;
	return 0;
}

int tls_start(struct tls **out, const struct tls_options *opt)
{
	struct tls *t = calloc(1, sizeof(*t));
	int err;

	*out = NULL;
	if (!t)
		return -ENOMEM;
	t->epoll = t->stop = -1;
	t->linger_ns = opt->linger_ns ? opt->linger_ns : LINGER_NS;
	pthread_mutex_init(&t->lock, NULL);
	raise_limit();
	err = load(t, opt);
	if (!err) {
		t->events =
			ring_buffer__new(bpf_map__fd(t->skel->maps.tls_events),
					 on_event, t, NULL);
		err = t->events ? watch_fds(t) : -errno;
	}
	if (err) {
		tls_stop(t);
		return err;
	}
	watch_starts(t);
	scan_all(t, clock_mono_ns());
	err = pthread_create(&t->thread, NULL, run, t);
	if (err) {
		tls_stop(t);
		return -err;
	}
	t->running = true;
	*out = t;
	return 0;
}

void tls_stop(struct tls *t)
{
	uint64_t one = 1;
	size_t i;

	if (!t)
		return;
	if (t->running) {
		if (write(t->stop, &one, sizeof(one)) < 0)
			log_error("tls: not to be stopped: %m");
		pthread_join(t->thread, NULL);
	}
	bpf_link__destroy(t->map);
	bpf_link__destroy(t->exec);
	while (t->processes)
		forget(t, &t->process[0]);
	detached(t, true);
	for (i = 0; i < FILES_MAX; i++)
		let_go(&t->file[i], &t->going);
	detach(&t->going);
	ring_buffer__free(t->events);
	tls_bpf__destroy(t->skel);
	if (t->epoll >= 0)
		close(t->epoll);
	if (t->stop >= 0)
		close(t->stop);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

uint64_t tls_missed(const struct tls *t)
{
	return __atomic_load_n(&t->missed, __ATOMIC_RELAXED);
}

size_t tls_probes(struct tls *t, struct tls_probe *out, size_t cap,
		  uint64_t *generation)
{
	size_t i, k, n = 0;

	pthread_mutex_lock(&t->lock);
	*generation = t->generation;
	for (i = 0; i < FILES_MAX; i++) {
		const struct file *f = &t->file[i];
		char name[sizeof(out->name)];

		if (!f->ino)
			continue;
		snprintf(name, sizeof(name), "tls/%s", f->name);
		for (k = 0; k < n && strcmp(out[k].name, name); k++)
			;
		if (k == n && n == cap)
			break;
		if (k == n) {
			snprintf(out[n].name, sizeof(out[n].name), "%s", name);
			out[n++].attached = true;
		}
		out[k].attached &= f->links > 0;
	}
	pthread_mutex_unlock(&t->lock);
	return n;
}
