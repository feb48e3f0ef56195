/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/ingest/gate_state.h"
#include "common/clock.h"

/*
 * The gate's thread: one epoll loop over all connections. What complete
 * messages a round brings goes to the engine at once, and what the engine
 * answered is sent in one go, so that the threads meet once per group and not
 * once per message.
 */

#define EVENTS_MAX 512
#define ACCEPTS_MAX 64 /* per round, so that a rush does not delay messages */
#define ACCEPT_AGAIN_MS 100u /* pause after accept() failed */
#define START_MS 10000u /* for the handshake and the peer's hello */
#define REPLY_MS 10000u

/*
 * A wake-up costs more than to read a small message. From SMALL_RATE per
 * second on, the thread sleeps NAP_MS before it asks for more of them.
 */
#define NAP_MS 2u
#define SMALL_RATE 2000u
#define SMALL_BYTES 4096u
#define RATE_MS 10u /* at least, for an estimate of the rate */

/* Events of connections carry their address; others the bits of OTHER too. */
#define OTHER UINT64_C(1)

int gate_loop_watch(struct gate *g, int fd, void *what, bool is_conn)
{
	/* Edges: a connection is registered once and never changed. */
	struct epoll_event e = {
		.events = is_conn ? EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
				  : EPOLLIN,
		.data.u64 = (uint64_t)(uintptr_t)what | (is_conn ? 0 : OTHER),
	};

	return epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

/* --- new connections --- */

static void set_pause(struct gate *g, struct gate_listener *l, bool pause)
{
	struct epoll_event e = {
		.events = pause ? 0 : EPOLLIN,
		.data.u64 = (uint64_t)(uintptr_t)l | OTHER,
	};

	l->pausing = pause;
	l->again_ns = g->now_ns + ACCEPT_AGAIN_MS * CLOCK_NS_PER_MS;
	epoll_ctl(g->epoll, EPOLL_CTL_MOD, l->fd, &e);
}

static void accept_some(struct gate *g, struct gate_listener *l)
{
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
		socklen_t len = sizeof(peer);
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			gate_conn_start(g, fd, l->tls, &peer);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno != ECONNABORTED && errno != EINTR) {
			set_pause(g, l, true); /* no descriptors, no memory */
			return;
		}
	}
}

/* --- time --- */

#define TIME_LIMITS 6u

struct time_limit {
	struct gate_list *list;
	uint64_t limit_ns;
	enum refusal cause; /* of a peer that exceeds it */
	const char *why; /* NULL: it is nothing to tell */
};

static void time_limits(struct gate *g, struct time_limit out[TIME_LIMITS])
{
	out[0] = (struct time_limit){ &g->starting, START_MS * CLOCK_NS_PER_MS,
				      REFUSAL_SILENT, "no greeting in time" };
	out[1] = (struct time_limit){ &g->silent, g->first_ns, REFUSAL_SILENT,
				      "no message in time" };
	out[2] = (struct time_limit){ &g->reading, g->body_ns, REFUSAL_SLOW,
				      "a message that did not arrive in time" };
	out[3] = (struct time_limit){ &g->sending, REPLY_MS * CLOCK_NS_PER_MS,
				      REFUSAL_SLOW,
				      "the peer does not take its reply" };
	out[4] = (struct time_limit){ &g->idle, g->idle_ns, REFUSAL_SILENT,
				      NULL };
	out[5] = (struct time_limit){ &g->waiting, g->wait_ns, REFUSAL_SLOW,
				      NULL };
}

static void expire_lists(struct gate *g)
{
	struct time_limit t[TIME_LIMITS];
	struct gate_conn *c;

	time_limits(g, t);
	for (size_t i = 0; i < TIME_LIMITS; i++)
		while ((c = t[i].list->head) &&
		       g->now_ns - c->since_ns > t[i].limit_ns) {
			if (t[i].why)
				gate_tell(c, t[i].cause, NULL, t[i].why);
			if (t[i].list == &g->waiting)
				gate_conn_turn_away(c);
			else
				gate_conn_die(c);
		}
	for (size_t i = 0; i < g->n_listeners; i++)
		if (g->listener[i].pausing &&
		    g->now_ns >= g->listener[i].again_ns)
			set_pause(g, &g->listener[i], false);
}

/* Time until something may have to be done without an event; -1: never. */
static int timeout_ms(struct gate *g)
{
	uint64_t now = clock_mono_ns(), first = UINT64_MAX;
	struct time_limit t[TIME_LIMITS];

	if (g->fresh.head)
		return 0;
	time_limits(g, t);
	for (size_t i = 0; i < TIME_LIMITS; i++)
		if (t[i].list->head &&
		    t[i].list->head->since_ns + t[i].limit_ns < first)
			first = t[i].list->head->since_ns + t[i].limit_ns;
	for (size_t i = 0; i < g->n_listeners; i++)
		if (g->listener[i].pausing && g->listener[i].again_ns < first)
			first = g->listener[i].again_ns;
	if (first == UINT64_MAX)
		return -1;
	if (first <= now)
		return 1;
	return (int)((first - now) / CLOCK_NS_PER_MS) + 1;
}

/* --- between the threads --- */

static void take_answers(struct gate *g)
{
	struct gate_fifo answered = { .head = NULL };
	struct gate_conn *c;

	pthread_mutex_lock(&g->mutex);
	gate_fifo_move(&answered, &g->answered);
	pthread_mutex_unlock(&g->mutex);
	while ((c = gate_fifo_pop(&answered)))
		gate_conn_answer(c);
}

static void note_rate(struct gate *g, const struct gate_fifo *fresh)
{
	uint64_t passed = g->now_ns - g->rate_since_ns;

	g->rate_messages += fresh->n;
	g->rate_bytes += fresh->bytes;
	if (passed < RATE_MS * CLOCK_NS_PER_MS)
		return;
	g->many_small =
		g->rate_messages * CLOCK_NS_PER_S >= SMALL_RATE * passed &&
		g->rate_bytes < SMALL_BYTES * g->rate_messages;
	g->rate_since_ns = g->now_ns;
	g->rate_messages = g->rate_bytes = 0;
}

/* Queues the messages of this round, or refuses them after gate_stop(). */
static void publish(struct gate *g)
{
	struct gate_fifo fresh = { .head = NULL };
	struct gate_conn *c;

	note_rate(g, &g->fresh);
	if (!g->fresh.head)
		return;
	gate_fifo_move(&fresh, &g->fresh);
	pthread_mutex_lock(&g->mutex);
	g->messages += fresh.n;
	g->bytes += fresh.bytes;
	if (!g->stopped) {
		gate_fifo_move(&g->queued, &fresh);
		if (gate_queue_has_enough(g))
			pthread_cond_signal(&g->arrived);
	}
	pthread_mutex_unlock(&g->mutex);
	while ((c = gate_fifo_pop(&fresh)))
		gate_conn_refuse(c);
}

static void reap_dead(struct gate *g)
{
	struct gate_conn *c;

	while ((c = g->dead.head)) {
		gate_queue_join(c, NULL);
		gate_conn_free(c);
	}
}

static void on_event(struct gate *g, const struct epoll_event *e)
{
	void *what = (void *)(uintptr_t)(e->data.u64 & ~OTHER);
	uint64_t n;

	if (!(e->data.u64 & OTHER))
		gate_conn_event(what, e->events);
	else if (what != g)
		accept_some(g, what);
	else if (read(g->wake, &n, sizeof(n)) > 0)
		take_answers(g);
}

void *gate_loop(void *arg)
{
	struct gate *g = arg;
	struct epoll_event event[EVENTS_MAX];

	while (!atomic_load(&g->closing)) {
		int n;

		if (g->many_small && !g->reading.head)
			nanosleep(&(struct timespec){ .tv_nsec = NAP_MS *
								 1000000 },
				  NULL);
		n = epoll_wait(g->epoll, event, EVENTS_MAX, timeout_ms(g));
		g->now_ns = clock_mono_ns();
		g->rounds++;
		for (int i = 0; i < n; i++)
			on_event(g, &event[i]);
		expire_lists(g);
		gate_queue_grant(g);
		publish(g);
		reap_dead(g);
	}
	return NULL;
}
