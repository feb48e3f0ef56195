/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/keeper.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/worker/frames.h"
#include "probe-agent/worker/keeper_process.h"

/* Of one commit; the worker sends no more than its maps have. */
#define COMMIT_MAX (256u << 20)

struct keeper {
	struct keeper_options opt;
	int control; /* to the keeper's process */
	int data; /* to the worker; -1: none */
	int epoll;
	int process; /* the keeper's; 0: none */
	struct frames_in in;
	/* What belongs to the commit that is coming. */
	struct buf bytes;
	struct piece {
		enum frames_type type;
		size_t at, len;
	} * piece;
	size_t n_pieces, cap_pieces;
	bool done; /* the worker has said so */
	struct keeper_stats stats;
};

int keeper_start(struct keeper **out, const struct keeper_options *opt)
{
	struct keeper *k = calloc(1, sizeof(*k));
	struct epoll_event ev = { .events = EPOLLIN };

	if (!k)
		return -ENOMEM;
	k->opt = *opt;
	k->data = -1;
	k->control = keeper_process_start(opt, &k->process);
	k->epoll = k->control < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
	if (k->epoll < 0 ||
	    epoll_ctl(k->epoll, EPOLL_CTL_ADD, k->control, &ev)) {
		int err = k->control < 0 ? k->control : -errno;

		keeper_free(k);
		return err;
	}
	*out = k;
	return 0;
}

int keeper_fd(const struct keeper *k)
{
	return k->epoll;
}

/* --- commits --- */

static int keep_piece(struct keeper *k, enum frames_type type,
		      const uint8_t *data, size_t len)
{
	if (k->bytes.len + len > COMMIT_MAX)
		return -EMSGSIZE;
	if (k->n_pieces == k->cap_pieces) {
		size_t cap = k->cap_pieces ? 2 * k->cap_pieces : 64;
		void *p = reallocarray(k->piece, cap, sizeof(*k->piece));

		if (!p)
			return -ENOMEM;
		k->piece = p;
		k->cap_pieces = cap;
	}
	k->piece[k->n_pieces++] = (struct piece){ type, k->bytes.len, len };
	return buf_append(&k->bytes, data, len);
}

static int take_base(const struct piece *p, const uint8_t *data,
		     struct keeper_base *out)
{
	struct frames_row row;

	if (p->type == FRAMES_FORGET) {
		if (p->len < 9)
			return -EINVAL;
		*out = (struct keeper_base){
			.what = KEEPER_FORGET,
			.key = data,
			.key_len = p->len - 8,
			.value = data + p->len - 8,
			.value_len = 8,
		};
		return 0;
	}
	if (frames_get_row(data, p->len, &row))
		return -EINVAL;
	*out = (struct keeper_base){
		.what = row.value_len > 0 ? KEEPER_PUT : KEEPER_DELETE,
		.key = row.key,
		.key_len = row.key_len,
		.value = row.value,
		.value_len = row.value_len,
	};
	return 0;
}

static int commit(struct keeper *k)
{
	struct keeper_part *batch = calloc(k->n_pieces + 1, sizeof(*batch));
	struct keeper_base *base = calloc(k->n_pieces + 1, sizeof(*base));
	struct keeper_commit c = { .batch = batch, .base = base };
	int err = batch && base ? 0 : -ENOMEM;

	for (size_t i = 0; i < k->n_pieces && !err; i++) {
		const struct piece *p = &k->piece[i];
		const uint8_t *data = (uint8_t *)k->bytes.data + p->at;

		if (p->type == FRAMES_BATCH)
			batch[c.n_batches++] =
				(struct keeper_part){ data, p->len };
		else
			err = take_base(p, data, &base[c.n_bases++]);
	}
	if (!err && k->n_pieces > 0)
		err = k->opt.commit(k->opt.arg, &c);
	free(batch);
	free(base);
	buf_reset(&k->bytes);
	k->n_pieces = 0;
	return err;
}

static int on_frame(void *arg, enum frames_type type, const uint8_t *data,
		    size_t len)
{
	struct keeper *k = arg;

	switch (type) {
	case FRAMES_BATCH:
	case FRAMES_BASE:
	case FRAMES_FORGET:
		return keep_piece(k, type, data, len);
	case FRAMES_COMMIT:
		return commit(k);
	case FRAMES_DONE:
		k->done = true;
		return 0;
	default:
		return -EPROTO;
	}
}

/* --- workers come and go --- */

/* What a dead worker sent and did not finish counts for nothing. */
static void forget_worker(struct keeper *k)
{
	if (k->data < 0)
		return;
	close(k->data); /* takes it out of the epoll, too */
	k->data = -1;
	frames_fini(&k->in);
	k->in = (struct frames_in){ .at = 0 };
	buf_reset(&k->bytes);
	k->n_pieces = 0;
}

static int read_worker(struct keeper *k)
{
	int err = k->data < 0 ? 0 : frames_read(&k->in, k->data, on_frame, k);

	if (err != -EPIPE && err != -EMSGSIZE && err != -EPROTO &&
	    err != -EINVAL)
		return err;
	if (err != -EPIPE)
		log_error("the worker of programs makes no sense error=\"%s\"",
			  strerror(-err));
	forget_worker(k);
	return 0;
}

static int send_known(void *arg, const void *key, size_t key_len,
		      const void *value, size_t value_len)
{
	struct keeper *k = arg;
	uint32_t n = (uint32_t)key_len;
	struct buf row = { 0 };
	int err;

	buf_append(&row, &n, sizeof(n));
	buf_append(&row, key, key_len);
	err = buf_append(&row, value, value_len);
	if (!err)
		err = frames_send(k->data, FRAMES_KNOWN, row.data, row.len);
	buf_fini(&row);
	return err;
}

static int begin_worker(struct keeper *k, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int err = 0;

	forget_worker(k);
	k->data = fd;
	k->done = false;
	k->stats.starts++;
	if (epoll_ctl(k->epoll, EPOLL_CTL_ADD, fd, &ev))
		return -errno;
	if (k->opt.bases)
		err = k->opt.bases(k->opt.arg, send_known, k);
	if (!err)
		err = frames_send(fd, FRAMES_START, NULL, 0);
	if (err) {
		log_warn("a worker of programs was lost error=\"%s\"",
			 strerror(-err));
		forget_worker(k);
	}
	return 0;
}

static int read_keeper(struct keeper *k)
{
	struct keeper_process_news news;
	int fd, err;

	while ((err = keeper_process_receive(k->control, &news, &fd)) == 0) {
		/* All that the last one sent comes before the next one. */
		err = read_worker(k);
		if (err)
			return err;
		k->stats.quarantined = news.quarantined;
		err = begin_worker(k, fd);
		if (err)
			return err;
	}
	if (err == -EPIPE) {
		log_error("the keeper of workers is gone: no programs");
		epoll_ctl(k->epoll, EPOLL_CTL_DEL, k->control, NULL);
		close(k->control);
		k->control = -1;
	}
	return err == -EAGAIN || err == -EPIPE ? 0 : err;
}

int keeper_turn(struct keeper *k)
{
	int err = read_worker(k);

	return err || k->control < 0 ? err : read_keeper(k);
}

void keeper_reload(struct keeper *k)
{
	k->done = false;
	if (k->data >= 0)
		frames_send(k->data, FRAMES_RELOAD, NULL, 0);
}

void keeper_stop(struct keeper *k, unsigned wait_ms)
{
	uint64_t end_ns = clock_mono_ns() + wait_ms * CLOCK_NS_PER_MS;

	/* No other worker follows on this one. */
	if (k->control >= 0)
		keeper_process_stop(k->control);
	if (k->data < 0 || frames_send(k->data, FRAMES_STOP, NULL, 0))
		return;
	k->done = false;
	while (k->data >= 0 && !k->done && clock_mono_ns() < end_ns) {
		struct pollfd p = { .fd = k->data, .events = POLLIN };

		poll(&p, 1, 100);
		if (read_worker(k))
			return;
	}
	if (!k->done)
		log_warn("programs were not read a last time in time");
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	forget_worker(k);
	if (k->control >= 0)
		close(k->control);
	if (k->epoll >= 0)
		close(k->epoll);
	if (k->process > 0)
		waitpid(k->process, NULL, 0); /* its socket told it to end */
	buf_fini(&k->bytes);
	free(k->piece);
	free(k);
}

void keeper_stats(const struct keeper *k, struct keeper_stats *out)
{
	*out = k->stats;
}
