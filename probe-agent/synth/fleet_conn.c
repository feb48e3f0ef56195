/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "probe-agent/synth/fleet_state.h"

#define CONNECT_MS 10000u
/* As an uplink's: a random part of a time that doubles up to the greatest. */
#define BACKOFF_MIN_MS 20u
#define BACKOFF_MAX_MS 2000u
#define LENGTH_BYTES 8u
#define ID_BYTES 4u

static const uint8_t our_hello[] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };
static const uint8_t their_hello[] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };

/* --- up and down --- */

void fleet_conn_close(struct fleet_member *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	if (m->link == FLEET_UP)
		atomic_fetch_sub(&m->fleet->connected, 1);
	m->link = FLEET_DOWN;
	m->asking = false;
	m->in_len = 0;
}

/* And dials again later. */
static void lose(struct fleet_member *m)
{
	bool was_up = m->link == FLEET_UP;
	uint32_t most;

	fleet_conn_close(m);
	if (was_up)
		m->backoff_ms = BACKOFF_MIN_MS;
	most = m->backoff_ms ? m->backoff_ms : BACKOFF_MIN_MS;
	m->backoff_ms = 2 * most < BACKOFF_MAX_MS ? 2 * most : BACKOFF_MAX_MS;
	fleet_wake_in(m, fleet_random(m->fleet, most));
	fleet_member_down(m);
}

static int open_socket(struct fleet_member *m)
{
	struct fleet *f = m->fleet;
	struct epoll_event e = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = m,
	};
	int on = 1;

	m->fd = socket(f->to.ss_family,
		       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (m->fd < 0)
		return -errno;
	setsockopt(m->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, m->fd, &e))
		return -errno;
	if (connect(m->fd, (const struct sockaddr *)&f->to, f->to_len) &&
	    errno != EINPROGRESS)
		return -errno;
	return 0;
}

void fleet_conn_dial(struct fleet_member *m)
{
	atomic_fetch_add(&m->fleet->dials, 1);
	m->link = FLEET_CONNECTING;
	fleet_wake_in(m, CONNECT_MS);
	if (open_socket(m))
		lose(m);
}

static int say_hello(struct fleet_member *m)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &err, &len) || err)
		return -EIO;
	if (send(m->fd, our_hello, sizeof(our_hello), MSG_NOSIGNAL) !=
	    sizeof(our_hello))
		return errno == ENOTCONN || errno == EAGAIN ? -EAGAIN : -EIO;
	m->link = FLEET_HELLO;
	return 0;
}

/* --- messages --- */

/* Returns 0 once all is sent; -EAGAIN; -EIO. */
static int send_rest(struct fleet_member *m)
{
	size_t all = m->head_len + m->body_len;

	while (m->sent < all) {
		size_t head = m->sent < m->head_len ? m->head_len - m->sent : 0;
		size_t body = head > 0 ? 0 : m->sent - m->head_len;
		struct iovec iov[2] = {
			{ m->head + m->sent, head },
			{ (uint8_t *)(uintptr_t)m->body + body,
			  m->body_len - body },
		};
		struct msghdr msg = {
			.msg_iov = head > 0 ? iov : iov + 1,
			.msg_iovlen = head > 0 ? 2 : 1,
		};
		ssize_t n = sendmsg(m->fd, &msg, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN ? -EAGAIN : -EIO;
		m->sent += (size_t)n;
	}
	return 0;
}

static void put_big(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

static uint64_t get_big(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

void fleet_conn_ask(struct fleet_member *m, size_t len)
{
	m->request = (m->request + 1) | 0x80000000u;
	put_big(m->head, ID_BYTES + len + m->body_len, LENGTH_BYTES);
	put_big(m->head + LENGTH_BYTES, m->request, ID_BYTES);
	m->head_len = FLEET_MESSAGE_HEAD + len;
	m->sent = 0;
	m->asking = true;
	fleet_wake_in(m, m->fleet->opt.reply_timeout_ms);
	if (send_rest(m) == -EIO)
		lose(m);
}

/* Takes what is complete from the bytes received. -EPROTO. */
static int take_input(struct fleet_member *m)
{
	if (m->link == FLEET_HELLO) {
		if (m->in_len < sizeof(their_hello))
			return 0;
		if (memcmp(m->in, their_hello, sizeof(their_hello)) != 0)
			return -EPROTO;
		m->in_len -= sizeof(their_hello);
		memmove(m->in, m->in + sizeof(their_hello), m->in_len);
		m->link = FLEET_UP;
		m->backoff_ms = 0;
		atomic_fetch_add(&m->fleet->connected, 1);
		fleet_member_up(m);
	}
	while (m->link == FLEET_UP && m->in_len >= FLEET_MESSAGE_HEAD) {
		uint64_t len = get_big(m->in, LENGTH_BYTES);
		uint8_t reply[FLEET_IN_MAX];
		size_t n, whole;
		uint32_t id;

		if (len < ID_BYTES || len > FLEET_IN_MAX - LENGTH_BYTES)
			return -EPROTO;
		whole = LENGTH_BYTES + (size_t)len;
		if (m->in_len < whole)
			break;
		id = (uint32_t)get_big(m->in + LENGTH_BYTES, ID_BYTES);
		n = (size_t)len - ID_BYTES;
		memcpy(reply, m->in + FLEET_MESSAGE_HEAD, n);
		m->in_len -= whole;
		memmove(m->in, m->in + whole, m->in_len);
		/* Another id: a late reply to an earlier message. */
		if (m->asking && id == m->request) {
			m->asking = false;
			fleet_member_reply(m, reply, n);
		}
	}
	return 0;
}

static int receive(struct fleet_member *m)
{
	while (m->link == FLEET_HELLO || m->link == FLEET_UP) {
		size_t room = FLEET_IN_MAX - m->in_len;
		ssize_t n = recv(m->fd, m->in + m->in_len, room, 0);
		int err;

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -EIO;
		m->in_len += (size_t)n;
		err = take_input(m);
		if (err)
			return err;
		if ((size_t)n < room)
			return 0;
	}
	return 0;
}

void fleet_conn_event(struct fleet_member *m, uint32_t events)
{
	int err = 0;

	if (m->link == FLEET_DOWN)
		return;
	if (m->link == FLEET_CONNECTING)
		err = events & EPOLLOUT ? say_hello(m) : 0;
	if (!err && m->asking && m->sent < m->head_len + m->body_len)
		err = send_rest(m);
	if (!err || err == -EAGAIN)
		err = events & EPOLLIN ? receive(m) : 0;
	if (!err && events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
		err = -EIO;
	if (err && err != -EAGAIN && m->link != FLEET_DOWN)
		lose(m);
}
