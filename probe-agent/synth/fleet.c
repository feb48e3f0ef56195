/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/synth/fleet.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/outbox/reply_policy.h"
#include "proto/batch.h"
#include "proto/limits.h"

#define FILES_BESIDES 256u
#define RUBBISH_BYTES 100u
/* Redial intervals grow with the fleet: about one dial per ms in total. */
#define RECONNECT_MIN_MS 20u
#define RECONNECT_MAX_MS 500u

enum step {
	STEP_PAUSE,
	STEP_SEND,
	STEP_RECEIVE,
};

/* Content of the outstanding message. */
enum content {
	CONTENT_BATCH,
	CONTENT_AGAIN,
	CONTENT_RUBBISH,
};

/* One agent. It has one operation at a time, whose callback owns it. */
struct member {
	struct fleet *fleet;
	nng_socket socket;
	nng_aio *aio;
	bool open;
	unsigned index;
	enum step step;
	enum content content;
	uint64_t k; /* batches taken */
	uint64_t sequence, packed, read;
	struct fleet_batch batch;
	int64_t base_us;
	uint64_t due_ns;
	char id[LIMIT_AGENT_BYTES + 1];
};

struct fleet {
	struct fleet_options opt;
	struct member *members;
	uint64_t start_ns;
	atomic_bool stop;
	atomic_uint active, outstanding;
	atomic_uint_fast64_t batches, events, bytes, resent, refused, busy,
		conflicts, duplicates, late, rubbish;
};

static void begin_next(struct member *m);

static void pause_for(struct member *m, nng_duration ms)
{
	m->step = STEP_PAUSE;
	nng_aio_set_timeout(m->aio, NNG_DURATION_INFINITE);
	nng_sleep_aio(ms, m->aio);
}

static void finish_member(struct member *m)
{
	atomic_fetch_sub(&m->fleet->active, 1);
}

/* --- messages --- */

/*
 * Concatenated protobuf messages merge, so body and head make one batch. The
 * head is last: of numbers in submessages, protobuf-c takes the last message's.
 */
static nng_msg *batch_message(struct member *m)
{
	struct batch head = {
		.agent = m->id,
		.epoch = m->fleet->opt.epoch,
		.sequence = m->sequence,
		.base_us = m->base_us,
		.losses = { .captured = m->packed, .packed = m->packed },
		.samples = { .read = m->read },
	};
	struct push push = { .protocol = batch_protocol(m->batch.body,
							m->batch.len),
			     .sent_us = clock_real_us() };
	uint8_t envelope[PUSH_HEAD_MAX], *p;
	nng_msg *msg = NULL;
	void *data;
	size_t len, n;

	if (m->sequence <= 2)
		head.info = (struct batch_info){ "synth", "",	"synth",
						 0,	  NULL, NULL };
	if (batch_encode(&head, &data, &len) != 0)
		return NULL;
	push.batch_len = len + m->batch.len;
	n = push_head(&push, envelope);
	if (nng_msg_alloc(&msg, n + push.batch_len) == 0) {
		p = nng_msg_body(msg);
		memcpy(p, envelope, n);
		memcpy(p + n, m->batch.body, m->batch.len);
		memcpy(p + n + m->batch.len, data, len);
	}
	free(data);
	return msg;
}

static nng_msg *rubbish_message(const struct member *m)
{
	uint8_t bytes[RUBBISH_BYTES];
	uint64_t x = m->k * 0x9e3779b97f4a7c15u + m->index + 1;
	struct push push = { .protocol = PROTOCOL_VERSION,
			     .sent_us = clock_real_us(),
			     .batch = bytes,
			     .batch_len = sizeof(bytes) };
	nng_msg *msg = NULL;
	void *data;
	size_t len;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = (uint8_t)x;
	}
	/* Every second message lacks the envelope, too. */
	if (push_encode(&push, &data, &len) != 0)
		return NULL;
	if (nng_msg_alloc(&msg, 0) == 0)
		nng_msg_append(msg, m->k % 2 ? data : bytes,
			       m->k % 2 ? len : sizeof(bytes));
	free(data);
	return msg;
}

static void send_it(struct member *m)
{
	nng_msg *msg = m->content == CONTENT_RUBBISH ? rubbish_message(m)
						     : batch_message(m);

	if (!msg) {
		pause_for(m, REPLY_POLICY_RETRY_MS);
		return;
	}
	m->step = STEP_SEND;
	nng_aio_set_timeout(m->aio,
			    (nng_duration)m->fleet->opt.reply_timeout_ms);
	nng_aio_set_msg(m->aio, msg);
	nng_send_aio(m->socket, m->aio);
}

/* --- what comes next --- */

/* The sequence number of batch k: 1 2 3 4, or reordered 2 1 4 3. */
static uint64_t sequence_of(const struct fleet *f, uint64_t k)
{
	if (f->opt.fault == FLEET_FAULT_REORDER)
		return (k ^ 1) + 1;
	return k + 1;
}

static void take_batch(struct member *m)
{
	struct fleet *f = m->fleet;

	if (atomic_load(&f->stop) ||
	    !f->opt.next(f->opt.arg, m->index, m->k, &m->batch)) {
		m->batch.body = NULL;
		finish_member(m);
		return;
	}
	atomic_fetch_add(&f->outstanding, 1);
	m->sequence = sequence_of(f, m->k++);
	m->packed += m->batch.events;
	m->read += m->batch.increments;
	m->base_us = clock_real_us() - m->batch.span_us;
	m->content = f->opt.fault == FLEET_FAULT_RUBBISH ? CONTENT_RUBBISH
							 : CONTENT_BATCH;
	send_it(m);
}

/* Waits for the next batch. The agents are spread evenly over the interval. */
static void begin_next(struct member *m)
{
	const struct fleet_options *opt = &m->fleet->opt;
	uint64_t now_ns = clock_mono_ns();

	if (m->batch.body)
		atomic_fetch_sub(&m->fleet->outstanding, 1);
	m->batch.body = NULL;
	if (opt->interval_us > 0)
		m->due_ns = m->fleet->start_ns +
			    (m->k * opt->interval_us +
			     m->index * opt->interval_us / opt->agents) *
				    CLOCK_NS_PER_US;
	if (m->due_ns > now_ns + CLOCK_NS_PER_MS)
		pause_for(m, (nng_duration)((m->due_ns - now_ns) /
					    CLOCK_NS_PER_MS));
	else
		take_batch(m);
}

static void accepted(struct member *m)
{
	struct fleet *f = m->fleet;

	if (m->content == CONTENT_AGAIN) {
		atomic_fetch_add(&f->duplicates, 1);
	} else if (f->opt.fault == FLEET_FAULT_REORDER && m->sequence % 2) {
		atomic_fetch_add(&f->late, 1);
	} else {
		atomic_fetch_add(&f->batches, 1);
		atomic_fetch_add(&f->events, m->batch.events);
		atomic_fetch_add(&f->bytes, m->batch.len);
		f->opt.counted(f->opt.arg, &m->batch);
		if (f->opt.fault == FLEET_FAULT_DUP) {
			m->content = CONTENT_AGAIN;
			send_it(m);
			return;
		}
	}
	begin_next(m);
}

/* Counts why a batch must be sent again. */
static void on_refusal(struct member *m, const struct reply *r)
{
	if (r->status == REPLY_BUSY)
		atomic_fetch_add(&m->fleet->busy, 1);
	else if (r->status == REPLY_CONFLICT)
		atomic_fetch_add(&m->fleet->conflicts, 1);
	else
		log_warn("batch not accepted id=%s status=%d reason=\"%s\"",
			 m->id, (int)r->status, r->reason);
}

static void on_reply(struct member *m, const struct reply *r)
{
	struct fleet *f = m->fleet;
	uint32_t wait_ms;

	if (m->content == CONTENT_RUBBISH && r->status == REPLY_REFUSED) {
		atomic_fetch_add(&f->rubbish, 1);
		m->content = CONTENT_BATCH;
		send_it(m);
		return;
	}
	switch (reply_policy(r, f->opt.epoch, m->sequence, &wait_ms)) {
	case REPLY_POLICY_COUNTED:
		accepted(m);
		return;
	case REPLY_POLICY_REFUSED:
		log_warn("batch refused id=%s sequence=%llu reason=\"%s\"",
			 m->id, (unsigned long long)m->sequence, r->reason);
		atomic_fetch_add(&f->refused, 1);
		begin_next(m);
		return;
	case REPLY_POLICY_AGAIN:
	case REPLY_POLICY_STRANGE:
		on_refusal(m, r);
		pause_for(m, (nng_duration)wait_ms);
		return;
	}
}

static void received(struct member *m)
{
	nng_msg *msg = nng_aio_get_msg(m->aio);
	struct reply reply;
	int err;

	/*
	 * When a reply comes just as the timeout expires, nng 1.5.2 may report
	 * success without a message. That counts as no reply.
	 */
	if (!msg) {
		atomic_fetch_add(&m->fleet->resent, 1);
		send_it(m);
		return;
	}
	err = reply_decode(nng_msg_body(msg), nng_msg_len(msg), &reply);
	nng_msg_free(msg);
	if (err) {
		pause_for(m, REPLY_POLICY_RETRY_MS);
		return;
	}
	on_reply(m, &reply);
}

/* The callback of every operation: starts the next one. */
static void stepped(void *arg)
{
	struct member *m = arg;
	int code = nng_aio_result(m->aio);

	if (code == NNG_ECLOSED || code == NNG_ECANCELED) {
		if (m->step == STEP_SEND)
			nng_msg_free(nng_aio_get_msg(m->aio));
		finish_member(m);
		return;
	}
	switch (m->step) {
	case STEP_PAUSE:
		/* The pause was before a new batch or before a retry. */
		if (!m->batch.body)
			take_batch(m);
		else
			send_it(m);
		return;
	case STEP_SEND:
		if (code == 0) {
			m->step = STEP_RECEIVE;
			nng_recv_aio(m->socket, m->aio);
			return;
		}
		nng_msg_free(nng_aio_get_msg(m->aio));
		break;
	case STEP_RECEIVE:
		if (code == 0) {
			received(m);
			return;
		}
		break;
	}
	atomic_fetch_add(&m->fleet->resent, 1);
	if (code == NNG_ETIMEDOUT)
		send_it(m);
	else
		pause_for(m, REPLY_POLICY_RETRY_MS);
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
		lim.rlim_max = want; /* works for root only */
	if (setrlimit(RLIMIT_NOFILE, &lim) == 0)
		return 0;
	getrlimit(RLIMIT_NOFILE, &lim);
	log_error("too many agents for the limit of open files (ulimit -Hn) "
		  "agents=%u needed=%llu limit=%llu",
		  agents, (unsigned long long)want,
		  (unsigned long long)lim.rlim_max);
	return -EMFILE;
}

static int open_member(struct fleet *f, struct member *m, unsigned index)
{
	unsigned at_least_ms = f->opt.agents;
	nng_dialer dialer;
	int code;

	m->fleet = f;
	m->index = index;
	snprintf(m->id, sizeof(m->id), "%s-%05u", f->opt.id_prefix, index + 1);
	code = nng_req0_open(&m->socket);
	if (code != 0)
		return code;
	m->open = true;
	nng_socket_set_ms(m->socket, NNG_OPT_REQ_RESENDTIME,
			  NNG_DURATION_INFINITE);
	nng_socket_set_ms(m->socket, NNG_OPT_RECONNMINT,
			  (nng_duration)(RECONNECT_MIN_MS + at_least_ms / 10));
	nng_socket_set_ms(m->socket, NNG_OPT_RECONNMAXT,
			  (nng_duration)(RECONNECT_MAX_MS + at_least_ms));
	nng_socket_set_size(m->socket, NNG_OPT_RECVMAXSZ, LIMIT_REPLY_BYTES);
	code = nng_dial(m->socket, f->opt.url, &dialer, NNG_FLAG_NONBLOCK);
	return code != 0 ? code : nng_aio_alloc(&m->aio, stepped, m);
}

int fleet_start(struct fleet **out, const struct fleet_options *opt)
{
	struct fleet *f;
	int err = raise_files(opt->agents);
	int code = 0;

	if (err)
		return err;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->opt = *opt;
	f->members = calloc(opt->agents, sizeof(*f->members));
	if (!f->members) {
		free(f);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < opt->agents && code == 0; i++)
		code = open_member(f, &f->members[i], i);
	if (code != 0) {
		log_error("cannot start fleet url=%s error=\"%s\"", opt->url,
			  nng_strerror(code));
		fleet_free(f);
		return code == NNG_ENOMEM ? -ENOMEM : -EINVAL;
	}
	f->start_ns = clock_mono_ns();
	atomic_store(&f->active, opt->agents);
	for (unsigned i = 0; i < opt->agents; i++)
		pause_for(&f->members[i], 0); /* start in a callback */
	*out = f;
	return 0;
}

void fleet_stop(struct fleet *f)
{
	atomic_store(&f->stop, true);
}

void fleet_stats(struct fleet *f, struct fleet_stats *out)
{
	*out = (struct fleet_stats){
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
		.active = atomic_load(&f->active),
		.outstanding = atomic_load(&f->outstanding),
	};
}

void fleet_free(struct fleet *f)
{
	if (!f)
		return;
	atomic_store(&f->stop, true);
	for (unsigned i = 0; i < f->opt.agents; i++) {
		struct member *m = &f->members[i];

		/* Stops the operation and waits for its callback. */
		if (m->aio)
			nng_aio_stop(m->aio);
		if (m->open)
			nng_close(m->socket);
		nng_aio_free(m->aio);
	}
	free(f->members);
	free(f);
}
