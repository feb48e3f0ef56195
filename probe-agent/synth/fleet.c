/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/synth/fleet.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/synth/fleet_state.h"

#define FILES_BESIDES 256u
#define EVENTS_MAX 512
#define DIALS_PER_MS 10u /* at first, over the whole fleet */

void fleet_wake_in(struct fleet_member *m, uint64_t ms)
{
	fleet_timer_set(&m->fleet->timers, &m->timer,
			m->fleet->now_ns + ms * CLOCK_NS_PER_MS);
}

uint32_t fleet_random(struct fleet *f, uint32_t below)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return (uint32_t)((f->random >> 11) % below);
}

/* --- the thread --- */

static void stop_members(struct fleet *f)
{
	uint64_t n;

	if (read(f->wake, &n, sizeof(n)) < 0 || !atomic_load(&f->stop))
		return;
	for (unsigned i = 0; i < f->opt.agents; i++)
		fleet_member_stop(&f->members[i]);
}

static void expire_timers(struct fleet *f)
{
	struct fleet_timer *t;

	while ((t = fleet_timers_first(&f->timers)) && t->at_ns <= f->now_ns) {
		char *m = (char *)t - offsetof(struct fleet_member, timer);

		fleet_timer_clear(&f->timers, t);
		fleet_member_timer((struct fleet_member *)(void *)m);
	}
}

static int timeout_ms(const struct fleet *f)
{
	const struct fleet_timer *t = fleet_timers_first(&f->timers);
	uint64_t now_ns = clock_mono_ns();

	if (!t)
		return -1;
	if (t->at_ns <= now_ns)
		return 0;
	return (int)((t->at_ns - now_ns) / CLOCK_NS_PER_MS) + 1;
}

static void *fleet_loop(void *arg)
{
	struct epoll_event event[EVENTS_MAX];
	struct fleet *f = arg;

	while (!atomic_load(&f->closing)) {
		int n = epoll_wait(f->epoll, event, EVENTS_MAX, timeout_ms(f));

		f->now_ns = clock_mono_ns();
		for (int i = 0; i < n; i++) {
			if (event[i].data.ptr == f)
				stop_members(f);
			else
				fleet_conn_event(event[i].data.ptr,
						 event[i].events);
		}
		expire_timers(f);
	}
	return NULL;
}

static void wake_thread(struct fleet *f)
{
	uint64_t one = 1;

	while (write(f->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* --- start and end --- */

static int raise_files(unsigned agents)
{
	rlim_t want = (rlim_t)agents + FILES_BESIDES;
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
		return -errno;
	if (lim.rlim_cur >= want)
		return 0;
	lim.rlim_cur = want;
	if (lim.rlim_max < want)
		lim.rlim_max = want; /* works as root */
	if (setrlimit(RLIMIT_NOFILE, &lim) == 0)
		return 0;
	getrlimit(RLIMIT_NOFILE, &lim);
	log_error("limit of open files is too low: raise it with ulimit -Hn "
		  "or use fewer agents agents=%u need=%llu limit=%llu",
		  agents, (unsigned long long)want,
		  (unsigned long long)lim.rlim_max);
	return -EMFILE;
}

static int find_address(struct fleet *f, const char *url)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICSERV };
	struct addrinfo *list = NULL;
	char host[256], *port, *end;

	if (strncmp(url, "tcp://", 6) != 0 ||
	    snprintf(host, sizeof(host), "%s", url + 6) >= (int)sizeof(host))
		return -EINVAL;
	port = strrchr(host, ':');
	if (!port)
		return -EINVAL;
	*port++ = '\0';
	end = host + strlen(host);
	if (host[0] == '[' && end[-1] == ']')
		end[-1] = '\0';
	if (getaddrinfo(host[0] == '[' ? host + 1 : host, port, &hints, &list))
		return -EINVAL;
	memcpy(&f->to, list->ai_addr, list->ai_addrlen);
	f->to_len = list->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

static int open_descriptors(struct fleet *f)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = f };

	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->epoll < 0 || f->wake < 0)
		return -errno;
	return epoll_ctl(f->epoll, EPOLL_CTL_ADD, f->wake, &e) ? -errno : 0;
}

static void init_member(struct fleet *f, unsigned index)
{
	struct fleet_member *m = &f->members[index];

	m->fleet = f;
	m->index = index;
	m->fd = -1;
	m->request = index * 2654435761u;
	snprintf(m->id, sizeof(m->id), "%s-%05u", f->opt.id_prefix, index + 1);
	fleet_wake_in(m, index / DIALS_PER_MS);
}

static int start_thread(struct fleet *f)
{
	int err = find_address(f, f->opt.url);

	if (err) {
		log_error("cannot start the fleet, address is not "
			  "tcp://host:port url=%s",
			  f->opt.url);
		return err;
	}
	err = open_descriptors(f);
	if (!err)
		err = fleet_timers_init(&f->timers, f->opt.agents);
	if (err)
		return err;
	f->start_ns = f->now_ns = clock_mono_ns();
	f->start_us = clock_real_us();
	f->random = f->start_ns | 1;
	for (unsigned i = 0; i < f->opt.agents; i++)
		init_member(f, i);
	atomic_store(&f->active, f->opt.agents);
	err = -pthread_create(&f->thread, NULL, fleet_loop, f);
	f->started = !err;
	return err;
}

int fleet_start(struct fleet **out, const struct fleet_options *opt)
{
	struct fleet *f;
	int err = raise_files(opt->agents);

	if (err)
		return err;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->opt = *opt;
	f->epoll = f->wake = -1;
	f->members = calloc(opt->agents, sizeof(*f->members));
	err = f->members ? start_thread(f) : -ENOMEM;
	if (err) {
		fleet_free(f);
		return err;
	}
	*out = f;
	return 0;
}

void fleet_stop(struct fleet *f)
{
	atomic_store(&f->stop, true);
	wake_thread(f);
}

void fleet_stats(struct fleet *f, struct fleet_stats *out)
{
	*out = (struct fleet_stats){
		.start_us = f->start_us,
		.batches = atomic_load(&f->batches),
		.events = atomic_load(&f->events),
		.bytes = atomic_load(&f->bytes),
		.resent = atomic_load(&f->resent),
		.refused = atomic_load(&f->refused),
		.busy = atomic_load(&f->busy),
		.conflicts = atomic_load(&f->conflicts),
		.duplicates = atomic_load(&f->duplicates),
		.late = atomic_load(&f->late),
		.rubbish = atomic_load(&f->rubbish),
		.dials = atomic_load(&f->dials),
		.active = atomic_load(&f->active),
		.outstanding = atomic_load(&f->outstanding),
		.connected = atomic_load(&f->connected),
		.gather_ms = atomic_load(&f->gather_ms),
	};
}

uint32_t fleet_reply_ms(struct fleet *f, unsigned permille)
{
	uint64_t all = 0, seen = 0;
	uint32_t ms = 0;

	for (uint32_t i = 0; i <= FLEET_REPLY_MS; i++)
		all += atomic_load(&f->reply_ms[i]);
	for (; ms < FLEET_REPLY_MS; ms++) {
		seen += atomic_load(&f->reply_ms[ms]);
		if (seen * 1000 >= all * permille)
			break;
	}
	return ms;
}

void fleet_free(struct fleet *f)
{
	if (!f)
		return;
	atomic_store(&f->stop, true);
	atomic_store(&f->closing, true);
	if (f->started) {
		wake_thread(f);
		pthread_join(f->thread, NULL);
		for (unsigned i = 0; i < f->opt.agents; i++)
			fleet_conn_close(&f->members[i]);
	}
	for (unsigned i = 0; f->members && i < f->opt.agents; i++)
		free(f->members[i].joined);
	fleet_timers_fini(&f->timers);
	free(f->members);
	if (f->epoll >= 0)
		close(f->epoll);
	if (f->wake >= 0)
		close(f->wake);
	free(f);
}
