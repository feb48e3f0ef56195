/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/tls/tls_programs.h"
#include "probe-agent/tls/tls_state.h"
#include "tls.skel.h"

#define LINGER_NS (10 * CLOCK_NS_PER_S)

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
	t->state = TLS_LOADING;
	*out = t;
	return 0;
}

int tls_loaded(struct tls *t)
{
	if (t->state == TLS_LOADING)
		pthread_join(t->thread, NULL);
	t->state = TLS_IDLE;
	return t->load_err;
}

int tls_start(struct tls *t)
{
	struct tls_files_options opt = {
		.linger_ns = t->opt.linger_ns ? t->opt.linger_ns : LINGER_NS,
		.stop = &t->stopping,
	};
	int err = tls_loaded(t);

	opt.many = t->many;
	if (!err)
		err = tls_files_new(&t->files, t->skel->obj, &opt);
	if (err)
		return err;
	t->events = ring_buffer__new(bpf_map__fd(t->skel->maps.tls_events),
				     tls_thread_on_exec, t, NULL);
	if (!t->events)
		return -errno;
	watch_starts(t);
	err = watch_fds(t);
	if (err)
		return err;
	tls_thread_scan_all(t, clock_mono_ns());
	err = pthread_create(&t->thread, NULL, tls_thread_main, t);
	if (!err)
		t->state = TLS_RUNNING;
	return -err;
}

void tls_stop(struct tls *t)
{
	uint64_t one = 1;

	if (!t)
		return;
	__atomic_store_n(&t->stopping, true, __ATOMIC_RELAXED);
	if (t->state == TLS_RUNNING && write(t->stop, &one, sizeof(one)) < 0)
		log_error("tls: cannot wake the thread to stop it "
			  "error=\"%m\"");
	if (t->state != TLS_IDLE)
		pthread_join(t->thread, NULL);
	tls_mmap_close(t->maps);
	bpf_link__destroy(t->exec);
	tls_thread_forget(t);
	tls_files_free(t->files);
	ring_buffer__free(t->events);
	tls_bpf__destroy(t->skel);
	if (t->epoll >= 0)
		close(t->epoll);
	if (t->stop >= 0)
		close(t->stop);
	free(t);
}

void tls_stats(const struct tls *t, struct tls_stats *out)
{
	struct tls_files_stats files;

	tls_files_stats(t->files, &files);
	*out = (struct tls_stats){
		.missed = __atomic_load_n(&t->missed, __ATOMIC_RELAXED),
		.skipped = __atomic_load_n(&t->skipped, __ATOMIC_RELAXED),
		.refused = files.refused,
		.crowded = files.crowded,
	};
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
