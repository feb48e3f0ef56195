/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/tls/tls_owner.h"
#include "probe-agent/tls/tls_scan.h"
#include "probe-agent/tls/tls_state.h"
#include "tls.skel.h"

/*
 * What the thread does: it learns of program starts and library loads, scans
 * their processes for files with TLS calls, and follows them to their end.
 */

#define SCAN_NS (60 * CLOCK_NS_PER_S) /* in case anything was missed */
#define SCAN_PAUSE_NS (5 * CLOCK_NS_PER_S) /* if anything was missed */
#define EVENTS 32

/* --- processes --- */

static struct tls_process *process_of(struct tls *t, uint32_t pid)
{
	for (uint32_t i = 0; i < t->processes; i++)
		if (t->process[i].pid == pid)
			return &t->process[i];
	return NULL;
}

static void leave_files(struct tls *t, struct tls_process *p)
{
	while (p->n)
		tls_files_leave(t->files, p->file[--p->n]);
}

static void forget_process(struct tls *t, struct tls_process *p)
{
	leave_files(t, p);
	close(p->pidfd); /* which removes it from epoll, too */
	*p = t->process[--t->processes];
}

static struct tls_process *add_process(struct tls *t, uint32_t pid)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = pid };
	struct tls_process *p = &t->process[t->processes];
	int fd;

	fd = t->processes < TLS_PROCESSES_MAX
		     ? (int)syscall(SYS_pidfd_open, pid, 0)
		     : -1;
	if (fd < 0 && t->processes < TLS_PROCESSES_MAX && errno == ESRCH)
		return NULL; /* gone already */
	if (fd < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		log_warn("tls: cannot follow a process to its end; its probes "
			 "stay from scan to scan pid=%u",
			 pid);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	*p = (struct tls_process){ .pid = pid, .pidfd = fd };
	t->processes++;
	return p;
}

/* tls_scan_fn */
static void found(void *arg, uint32_t pid, int fd, const char *path)
{
	struct tls *t = arg;
	uint64_t device = 0;
	struct tls_process *p;
	struct stat st;
	int file;

	if (fstat(fd, &st))
		return;
	if (t->wanted.inode == st.st_ino) {
		device = t->wanted.device;
		t->wanted.inode = 0;
	}
	file = tls_files_of(t->files, fd, &st, path, device, t->owner);
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
	for (uint32_t i = 0; p && i < p->n; i++)
		if (p->file[i] == file)
			return;
	if (!p || p->n == TLS_PROCESS_FILES) {
		tls_files_see(t->files, file, clock_mono_ns() + SCAN_NS);
		return;
	}
	p->file[p->n++] = (uint16_t)file;
	tls_files_use(t->files, file);
}

/* --- what a process may cost --- */

static uint64_t cpu_ns(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static bool is_stopping(const struct tls *t)
{
	return __atomic_load_n(&t->stopping, __ATOMIC_RELAXED);
}

/*
 * Begins a scan of a process on its owner's account. False: the owner has had
 * its share of this minute.
 */
static bool begin_scan(struct tls *t, uint32_t pid, uint64_t *begin_ns)
{
	*begin_ns = cpu_ns();
	t->owner = tls_owner_of("/proc", pid);
	if (!tls_share_spent(tls_files_share(t->files), t->owner,
			     clock_mono_ns()))
		return true;
	__atomic_fetch_add(&t->skipped, 1, __ATOMIC_RELAXED);
	return false;
}

static void end_scan(struct tls *t, uint64_t begin_ns)
{
	tls_share_spend(tls_files_share(t->files), t->owner,
			cpu_ns() - begin_ns, clock_mono_ns());
}

/* tls_scan_pid_fn; errors are those of processes that end meanwhile. */
static bool scan_process(void *arg, uint32_t pid)
{
	struct tls *t = arg;
	uint64_t begin_ns;

	if (begin_scan(t, pid, &begin_ns)) {
		tls_scan_executable(pid, found, t);
		tls_scan_libraries(pid, found, t);
		end_scan(t, begin_ns);
	}
	return !is_stopping(t);
}

void tls_thread_scan_all(struct tls *t, uint64_t now_ns)
{
	int err;

	tls_files_unstand(t->files);
	t->owner = TLS_OWNER_HOST;
	tls_scan_host(found, t);
	err = tls_scan_processes(scan_process, t);
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
	tls_thread_scan_all(t, now_ns);
	tls_files_detach_idle(t->files, now_ns);
}

/* --- events from the kernel --- */

static void look_later(struct tls *t, uint32_t pid, const struct tls_file *file)
{
	if (t->looks == TLS_LOOKS_MAX) {
		scan_soon(t); /* all processes, then */
		return;
	}
	t->look[t->looks++] = (struct tls_look){ .pid = pid, .file = *file };
}

int tls_thread_on_exec(void *arg, void *data, size_t len)
{
	const struct tls_event *e = data;
	struct tls *t = arg;
	struct tls_process *p;
	uint64_t begin_ns;
	uint8_t one = 1;

	if (len < sizeof(*e))
		return 0;
	p = process_of(t, e->tgid);
	if (p)
		leave_files(t, p);
	t->found_no_tls = false;
	if (begin_scan(t, e->tgid, &begin_ns)) {
		tls_scan_executable(e->tgid, found, t);
		end_scan(t, begin_ns);
	}
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
static bool look_again(struct tls *t, struct tls_look *l,
		       const uint16_t *wait_ms, size_t waits)
{
	uint64_t begin_ns;
	int n;

	t->wanted = l->file;
	if (!begin_scan(t, l->pid, &begin_ns)) {
		t->wanted.inode = 0;
		return true; /* until the next scan of all */
	}
	n = tls_scan_libraries(l->pid, found, t);
	end_scan(t, begin_ns);
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

	while (i < t->looks && !is_stopping(t)) {
		struct tls_look *l = &t->look[i];

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

static void make_turn(struct tls *t, const struct epoll_event *ev, int n,
		      uint64_t *next_ns)
{
	uint64_t now_ns;
	struct tls_process *p;

	for (int i = 0; i < n; i++) {
		p = ev[i].data.u64 ? process_of(t, (uint32_t)ev[i].data.u64)
				   : NULL;
		if (p)
			forget_process(t, p);
	}
	ring_buffer__consume(t->events);
	take_maps(t);
	now_ns = clock_mono_ns();
	*next_ns = make_looks(t, now_ns);
	if (now_ns >= t->scan_ns)
		tls_thread_scan_all(t, now_ns);
	detach_idle(t, now_ns);
}

void *tls_thread_main(void *arg)
{
	struct tls *t = arg;
	struct epoll_event ev[EVENTS];
	uint64_t next_ns = 0, now_ns, stop;
	int n = 0, timeout_ms;

	for (;;) {
		make_turn(t, ev, n, &next_ns);
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

void tls_thread_forget(struct tls *t)
{
	while (t->processes)
		forget_process(t, &t->process[0]);
}
