/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/commands/run_local.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/version.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/outbox/outbox.h"
#include "probe-agent/outbox/uplink.h"
#include "probe-agent/worker/bpf_log.h"
#include "probe-agent/worker/program.h"
#include "probe-agent/worker/rows.h"

#define READ_MS 1000
#define DRAIN_MS 5000
#define POLLS_MAX 256

struct local {
	const struct run_local_options *opt;
	FILE *out;
	struct decode *decode;
	struct map_reader *reader;
	struct program **program;
	size_t n;
	struct buf line;
	/* Where samples go: the packer's, or nowhere. */
	struct samples_table *samples, *own;
	struct packer *packer;
	struct outbox *outbox;
	struct uplink *uplink;
	uint64_t epoch;
};

static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static void on_row(void *arg, const struct table_row *row)
{
	struct local *l = arg;

	buf_reset(&l->line);
	rows_put_json(&l->line, row);
	fwrite(l->line.data, 1, l->line.len, l->out);
}

/* --- pushing --- */

static int open_uplink(struct local *l)
{
	const struct outbox_options oo = { .path = NULL };
	const struct uplink_options uo = { .url = l->opt->to };
	const struct batch_info info = { .version = version_string(),
					 .capture = "program",
					 .kernel = "" };
	uint64_t sequence;
	int err = samples_table_new(&l->own);

	l->samples = l->own;
	if (err || !l->opt->to)
		return err;
	err = outbox_open(&l->outbox, &oo);
	if (err)
		return err;
	outbox_epoch(l->outbox, &l->epoch, &sequence);
	err = packer_new(&l->packer, l->opt->node, l->epoch);
	if (err)
		return err;
	l->samples = packer_samples(l->packer);
	err = packer_set_info(l->packer, &info);
	return err ? err : uplink_start(&l->uplink, &uo, l->outbox);
}

static int push(struct local *l)
{
	const struct batch_losses none = { 0 };
	uint64_t sequence;
	size_t len;
	void *data;
	int err = 0;

	if (!l->packer) {
		samples_table_reset(l->samples);
		return 0;
	}
	do {
		err = packer_take(l->packer, &none, &data, &len, &sequence);
		if (!err)
			err = outbox_push(l->outbox, &data, len, l->epoch,
					  sequence, 0);
	} while (!err && samples_table_pending(l->samples));
	return err;
}

/* --- programs --- */

static int start_one(struct local *l, struct spec *s)
{
	const struct program_options opt = {
		.decode = l->decode,
		.reader = l->reader,
		.xdp = l->opt->xdp,
	};
	struct program *p;
	struct table *t;
	int err;

	s->pin = false;
	err = program_new(&p, s, &opt);
	if (err)
		return err;
	l->program[l->n++] = p;
	program_show_prints(p);
	err = program_load(p);
	for (size_t i = 0; !err && (t = program_table(p, i)); i++)
		table_watch(t, on_row, l);
	if (!err)
		err = program_attach(p);
	if (err)
		fprintf(l->out, "error %s: %s\n", program_name(p),
			program_reason(p));
	else if (*program_reason(p))
		fprintf(stderr, "%s: %s\n", program_name(p), program_reason(p));
	return err;
}

static int start_all(struct local *l)
{
	const struct decode_options opt = { 0 };
	int err = decode_new(&l->decode, &opt);

	if (!err)
		err = map_reader_new(&l->reader);
	l->program = calloc(l->opt->n + 1, sizeof(struct program *));
	if (!l->program)
		err = -ENOMEM;
	if (!err)
		err = open_uplink(l);
	for (size_t i = 0; i < l->opt->n && !err; i++)
		err = start_one(l, &l->opt->spec[i]);
	if (!err)
		fputs("ok\n", l->out);
	fflush(l->out);
	return err;
}

static int tell_all(struct local *l)
{
	int err = 0;

	samples_table_begin_programs(l->samples);
	for (size_t i = 0; i < l->n && !err; i++)
		err = program_tell(l->program[i], l->samples);
	return err;
}

static int read_all(struct local *l)
{
	int err = 0;

	for (size_t i = 0; i < l->n && !err; i++)
		err = program_read(l->program[i], l->samples, clock_real_us());
	if (!err)
		err = tell_all(l);
	if (!err)
		err = push(l);
	for (size_t i = 0; i < l->n && !err; i++)
		err = program_next_frame(l->program[i]);
	fflush(l->out);
	return err;
}

/* --- the process --- */

struct polls {
	struct pollfd p[POLLS_MAX];
	size_t n;
};

static void add_poll(void *arg, int fd)
{
	struct polls *polls = arg;

	if (polls->n < POLLS_MAX)
		polls->p[polls->n++] =
			(struct pollfd){ .fd = fd, .events = POLLIN };
}

static int serve(struct local *l)
{
	uint64_t read_ns = clock_mono_ns();
	struct polls polls = { .n = 0 };
	int err = 0;

	for (size_t i = 0; i < l->n; i++)
		program_each_fd(l->program[i], add_poll, &polls);
	while (!err && !ended && !ferror(l->out)) {
		uint64_t now_ns = clock_mono_ns();
		uint64_t due_ns = read_ns + READ_MS * CLOCK_NS_PER_MS;

		if (now_ns < due_ns)
			poll(polls.p, polls.n,
			     (int)((due_ns - now_ns) / CLOCK_NS_PER_MS) + 1);
		for (size_t i = 0; i < l->n && !err; i++)
			err = program_drain(l->program[i], l->samples);
		if (!err && clock_mono_ns() >= due_ns) {
			err = read_all(l);
			read_ns = clock_mono_ns();
		}
		fflush(l->out);
	}
	for (size_t i = 0; i < l->n; i++)
		program_detach(l->program[i]);
	if (!err)
		err = read_all(l);
	uplink_stop(l->uplink, DRAIN_MS);
	return err;
}

static void be_local(const struct run_local_options *opt, int fd)
{
	static struct local l;
	int err;

	l = (struct local){ .opt = opt, .out = fdopen(fd, "w") };
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGTERM, on_signal);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	bpf_log_install();
	err = l.out ? start_all(&l) : -ENOMEM;
	if (!err)
		err = serve(&l);
	for (size_t i = 0; i < l.n; i++)
		program_free(l.program[i]);
	if (l.out)
		fclose(l.out);
	_exit(err ? 1 : 0);
}

int run_local_start(const struct run_local_options *opt, int *fd, pid_t *pid)
{
	int ends[2];

	if (pipe(ends))
		return -errno;
	*pid = fork();
	if (*pid == 0) {
		close(ends[0]);
		be_local(opt, ends[1]);
	}
	close(ends[1]);
	if (*pid < 0) {
		int err = -errno;

		close(ends[0]);
		return err;
	}
	*fd = ends[0];
	return 0;
}
