/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `redtap-agent run`: captures from the kernel. One loop thread owns everything
 * but the uplink and the finding of TLS libraries, which have threads of their
 * own.
 */

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/notify.h"
#include "common/version.h"
#include "probe-agent/config/config.h"
#include "probe-agent/feed.h"
#include "probe-agent/gaps/gaps_watch.h"
#include "probe-agent/outbox/last_words.h"
#include "probe-agent/outbox/uplink.h"
#include "probe-agent/pipeline.h"
#include "probe-agent/privileges.h"
#include "probe-agent/reload.h"
#include "probe-agent/tap/pace.h"
#include "probe-agent/tap/recording.h"
#include "probe-agent/tap/tap.h"
#include "probe-agent/tls/tls.h"
#include "proto/limits.h"
#include "proto/trace.h"

int cmd_run(int argc, char **argv);

/* Interval at which the kernel is asked about unfinished responses. */
#define TICK_MS 200
/* Time for the last batches to be acknowledged at the end. */
#define STOP_MS 3000
/* Time for programs to be read a last time, and for that to be acknowledged. */
#define STOP_PROGRAMS_MS 10000
#define EXIT_GAVE_UP 3 /* stopped well, but with requests not acknowledged */

struct agent {
	struct agent_config *cfg; /* as of the start */
	struct reload reload; /* the uplink, and what a reload changes */
	struct outbox *outbox;
	struct tap *tap;
	struct tls *tls; /* NULL: not captured */
	struct gaps_watch *gaps; /* NULL: not looked for */
	uint64_t tls_generation; /* of the probes last reported */
	struct pipeline *pipeline;
	struct keeper *keeper; /* of user programs; NULL: there are none */
	struct feed *feed; /* what they count */
	struct last_words *last_words;
	struct recording_writer *recording; /* NULL: none */
	struct trace_writer *trace; /* likewise */
	FILE *trace_file;
	int epoll, signals;
	uint64_t drained_ns, ticked_ns, flushed_ns;
	uint64_t pause_ns; /* from the last drain to the next */
	bool stopping;
	int status; /* of the process */
};

static int on_record(void *arg, const void *record, size_t len)
{
	struct agent *a = arg;

	if (a->recording)
		recording_write(a->recording, record, len);
	return pipeline_feed(a->pipeline, record, len);
}

/* If the recording fails, it ends, and counting goes on. */
static void on_batch(void *arg, const void *data, size_t len)
{
	struct agent *a = arg;
	int err;

	if (!a->trace)
		return;
	err = trace_write(a->trace, data, len);
	if (!err)
		err = trace_flush(a->trace);
	if (!err && fflush(a->trace_file))
		err = -errno;
	if (!err)
		return;
	log_error("recording ended file=%s error=\"%s\"", a->cfg->record,
		  strerror(-err));
	trace_writer_free(a->trace);
	a->trace = NULL;
}

static int open_trace(struct agent *a)
{
	char by[64];
	struct trace_origin origin = { .created_by = by,
				       .source = a->cfg->node,
				       .from_us = clock_real_us() };

	snprintf(by, sizeof(by), "redtap-agent %s", version_string());
	/* Has paths and ids: only the owner may read it. Never overwrites. */
	umask(umask(0077) | 0077);
	a->trace_file = fopen(a->cfg->record, "wxe");
	if (!a->trace_file)
		return -errno;
	return trace_writer_new(&a->trace, &origin, trace_to_file,
				a->trace_file);
}

static void close_trace(struct agent *a)
{
	if (a->trace && trace_end(a->trace))
		log_error("recording lacks its end file=%s", a->cfg->record);
	trace_writer_free(a->trace);
	if (a->trace_file && fclose(a->trace_file))
		log_error("cannot close the recording file=%s error=\"%m\"",
			  a->cfg->record);
}

/* Files with TLS calls that are reported; any more are only logged. */
#define TLS_PROBES 64

static int set_info(struct agent *a)
{
	const struct tap_probe *probe;
	struct tls_probe tls[TLS_PROBES];
	size_t i, k, n = tap_probes(a->tap, &probe);
	const char *names[LIMIT_PROBES];
	uint32_t attached[LIMIT_PROBES];
	struct utsname un;
	struct batch_info info = {
		.version = version_string(),
		.capture = tap_capture(a->tap),
		.probes = names,
		.probe_attached = attached,
	};

	if (n > LIMIT_PROBES)
		n = LIMIT_PROBES;
	for (i = 0; i < n; i++) {
		names[i] = probe[i].name;
		attached[i] = probe[i].attached;
	}
	k = a->tls ? tls_probes(a->tls, tls, TLS_PROBES, &a->tls_generation)
		   : 0;
	for (i = 0; i < k && n < LIMIT_PROBES; i++, n++) {
		names[n] = tls[i].name;
		attached[n] = tls[i].attached;
	}
	info.n_probes = n;
	info.kernel = uname(&un) ? "" : un.release;
	return pipeline_set_info(a->pipeline, &info);
}

static int watch(int epoll, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int open_loop(struct agent *a)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	/* Before any thread starts, so that all of them inherit it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	a->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	a->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (a->signals < 0 || a->epoll < 0)
		return -errno;
	return watch(a->epoll, a->signals);
}

/* Goes on without the requests inside TLS. */
static void no_tls(struct agent *a, int err)
{
	log_warn("requests inside TLS are not captured error=\"%s\"",
		 strerror(-err));
	tls_stop(a->tls);
	a->tls = NULL;
}

static void load_tls(struct agent *a)
{
	const struct tls_options opt = {
		.maps = tap_bpf_maps(a->tap),
		.watch_self = a->cfg->select.report_self,
	};
	int err = tls_load(&a->tls, &opt);

	if (err)
		no_tls(a, err);
}

/*
 * Loads the programs of the tap and for TLS at the same time: the verifier
 * takes most of it, on one CPU each.
 */
static int start_capture(struct agent *a, const struct tap_options *opt)
{
	int err = tap_open(&a->tap, opt);

	if (err)
		return err;
	if (opt->tls)
		load_tls(a);
	err = tap_attach(a->tap, opt);
	if (a->tls)
		tls_loaded(a->tls);
	if (!err)
		err = privileges_drop(opt->tls); /* no other thread runs now */
	if (err || !a->tls)
		return err;
	err = tls_start(a->tls);
	if (err)
		no_tls(a, err);
	return 0;
}

/* Reports probes that came or went. */
static void check_tls(struct agent *a)
{
	struct tls_probe none;
	uint64_t generation;

	if (!a->tls)
		return;
	tls_probes(a->tls, &none, 0, &generation);
	if (generation != a->tls_generation && set_info(a))
		log_warn("cannot report probes error=\"out of memory\"");
}

/* Goes on without it. */
static void start_gaps(struct agent *a)
{
	const struct agent_config *cfg = a->cfg;
	const struct identity_options io = agent_config_identity(cfg);
	const struct gaps_watch_options opt = {
		.front = tap_capture(a->tap),
		.tls_off = !a->tls,
		.select = &cfg->select,
		.identity = &io,
	};
	int err = gaps_watch_start(&a->gaps, &opt);

	if (err)
		log_warn("services that can't be read are not counted "
			 "error=\"%s\"",
			 strerror(-err));
}

static int on_commit(void *arg, const struct keeper_commit *c)
{
	return feed_commit(((struct agent *)arg)->feed, c);
}

static int each_base(void *arg, keeper_row_fn fn, void *fn_arg)
{
	return outbox_each_base(((struct agent *)arg)->outbox, fn, fn_arg);
}

/* Goes on without programs if their keeper cannot be started. */
static void start_programs(struct agent *a)
{
	struct agent_config *cfg = a->cfg;
	struct keeper_options opt = {
		.worker = {
			.dir = cfg->programs.dir,
			.prefix = cfg->programs.prefix,
			.xdp = cfg->programs.allow_count > 0,
			.pin_root = cfg->outbox.path ? cfg->programs.pin_dir
						     : NULL,
			.socket = cfg->programs.socket,
			.debug_address = cfg->programs.debug_address,
			.process = feed_name_process,
			.process_arg = cfg,
		},
		.drop = privileges_keep_for_programs,
		.commit = on_commit,
		.bases = each_base,
		.arg = a,
	};
	int err;

	if (!cfg->programs.dir)
		return;
	agent_config_limits(cfg, &opt.worker.limits);
	err = keeper_start(&a->keeper, &opt);
	if (err)
		log_error("no programs error=\"%s\"", strerror(-err));
}

static int start(struct agent *a)
{
	const struct agent_config *cfg = a->cfg;
	struct outbox_options oo = { .cap_bytes = cfg->outbox.cap_bytes,
				     .path = cfg->outbox.path };
	struct tap_options to = {
		.mode = cfg->capture.mode,
		.ring_bytes = cfg->capture.ring_bytes,
		.max_connections = cfg->capture.max_connections,
		.watch_self = cfg->select.report_self,
	};
	struct pipeline_options po = {
		.cfg = cfg,
		.source = { tap_ignore, tap_progress, NULL, tap_pass },
		.batch = on_batch,
		.arg = a,
	};
	int err;

	to.tls = strcmp(cfg->capture.tls, "off");
	/* First: it forks, and what is open now would be open there, too. */
	start_programs(a);
	err = open_loop(a);
	if (!err)
		err = outbox_open(&a->outbox, &oo);
	if (!err && cfg->outbox.given_up)
		err = last_words_open(&a->last_words, cfg->outbox.given_up);
	if (err)
		return err;
	if (cfg->record)
		err = open_trace(a);
	if (!err && cfg->record_tap)
		err = recording_create(&a->recording, cfg->record_tap);
	if (!err)
		err = start_capture(a, &to);
	po.outbox = a->outbox;
	po.source.arg = a->tap;
	if (!err)
		err = pipeline_new(&a->pipeline, &po);
	if (!err)
		err = set_info(a);
	if (!err)
		start_gaps(a);
	if (!err)
		err = feed_new(&a->feed, a->pipeline, a->outbox);
	if (!err && a->keeper)
		err = watch(a->epoll, keeper_fd(a->keeper));
	if (!err)
		err = reload_start(&a->reload, a->outbox, a->last_words);
	return err;
}

static void flush_batch(struct agent *a, uint64_t now_ns)
{
	struct pipeline_tap tap = { 0 };

	if (!tap_counters(a->tap, tap.kernel)) {
		if (a->tls) {
			tls_stats(a->tls, &tap.tls);
			tap.kernel[TAP_C_TLS_EVENTS_LOST] +=
				tls_loads_lost(a->tls);
		}
		if (a->gaps)
			gaps_watch_read(a->gaps, tap.gaps);
		pipeline_flush(a->pipeline, &tap);
	}
	a->flushed_ns = now_ns;
}

static void drain(struct agent *a, uint64_t now_ns)
{
	const uint64_t bytes = tap_drain(a->tap, on_record, a);

	a->pause_ns = pace_ns(bytes, now_ns - a->drained_ns,
			      a->cfg->capture.ring_bytes);
	a->drained_ns = now_ns;
}

static uint64_t flush_ns(const struct agent *a)
{
	uint32_t ms = uplink_gather_ms(a->reload.uplink);

	if (ms < a->reload.cfg->flush_ms)
		ms = a->reload.cfg->flush_ms;
	return a->flushed_ns + ms * CLOCK_NS_PER_MS;
}

static void agent_turn(struct agent *a)
{
	uint64_t now_ns;

	drain(a, clock_mono_ns());
	if (a->tls)
		tls_poll(a->tls);
	now_ns = clock_mono_ns();
	if (now_ns - a->ticked_ns >= TICK_MS * CLOCK_NS_PER_MS) {
		pipeline_tick(a->pipeline, now_ns, clock_steady_us());
		check_tls(a);
		reload_check(&a->reload, now_ns);
		a->ticked_ns = now_ns;
	}
	/* What new containers are called: read before their requests end. */
	pipeline_idle(a->pipeline);
	if ((now_ns >= flush_ns(a) && pipeline_pending(a->pipeline)) ||
	    now_ns - a->flushed_ns >= HEARTBEAT_MS * CLOCK_NS_PER_MS)
		flush_batch(a, now_ns);
}

/* Time until the ring must be drained, or a batch be sent. */
static int wait_ms(const struct agent *a)
{
	const uint64_t now_ns = clock_mono_ns();
	uint64_t next_ns = a->drained_ns + a->pause_ns;

	if (pipeline_pending(a->pipeline) && flush_ns(a) < next_ns)
		next_ns = flush_ns(a);
	if (next_ns <= now_ns)
		return 0;
	return (int)((next_ns - now_ns + CLOCK_NS_PER_MS - 1) /
		     CLOCK_NS_PER_MS);
}

static void on_signal(struct agent *a)
{
	struct signalfd_siginfo si;

	if (read(a->signals, &si, sizeof(si)) <= 0)
		return;
	if (si.ssi_signo == SIGHUP) {
		reload_now(&a->reload);
		if (a->keeper)
			keeper_reload(a->keeper);
		return;
	}
	log_info("stopping signal=%s", strsignal((int)si.ssi_signo));
	a->stopping = true;
}

static void hear_programs(struct agent *a)
{
	int err = keeper_turn(a->keeper);

	if (!err)
		return;
	/* Only memory lacks then; what its worker counts next is not lost. */
	log_error("samples of programs are lost error=\"%s\"", strerror(-err));
}

static void loop(struct agent *a)
{
	struct epoll_event ev;

	while (!a->stopping) {
		if (epoll_wait(a->epoll, &ev, 1, wait_ms(a)) > 0) {
			if (ev.data.fd == a->signals)
				on_signal(a);
			else
				hear_programs(a);
		}
		agent_turn(a);
	}
	notify_send("STOPPING=1");
	if (a->keeper)
		keeper_stop(a->keeper, STOP_PROGRAMS_MS);
	flush_batch(a, clock_mono_ns());
}

static void stop(struct agent *a)
{
	reload_stop(&a->reload, a->keeper ? STOP_PROGRAMS_MS : STOP_MS);
	keeper_free(a->keeper);
	if (a->outbox && last_words_leave(a->outbox, a->cfg->outbox.path,
					  a->cfg->outbox.given_up))
		a->status = EXIT_GAVE_UP;
	last_words_close(a->last_words);
	gaps_watch_stop(a->gaps);
	tls_stop(a->tls);
	tap_close(a->tap);
	recording_close(a->recording);
	close_trace(a);
	feed_free(a->feed);
	pipeline_free(a->pipeline);
	outbox_close(a->outbox);
	if (a->epoll >= 0)
		close(a->epoll);
	if (a->signals >= 0)
		close(a->signals);
	reload_fini(&a->reload);
	agent_config_free(a->cfg);
}

static void say_ready(const struct agent *a)
{
	const struct tap_probe *probe;
	size_t i, up = 0, n = tap_probes(a->tap, &probe);

	for (i = 0; i < n; i++)
		up += probe[i].attached;
	log_info("ready node=%s capture=%s probes=%zu/%zu to=%s", a->cfg->node,
		 tap_capture(a->tap), up, n, a->cfg->to);
	notify_send("READY=1");
}

int cmd_run(int argc, char **argv)
{
	struct agent a = { .epoll = -1, .signals = -1 };
	struct cli_settings flags = { 0 };
	int err;

	/* Outboxes and recordings have requests of others in them. */
	umask(umask(0077) | 0027);
	err = agent_config_main(&a.cfg, &flags,
				"Watch this host's HTTP and report "
				"one event per request.",
				argc, argv);
	if (err) {
		if (err > 0) /* --config.check */
			err = reload_try(a.cfg);
		agent_config_free(a.cfg);
		return err < 0;
	}
	reload_init(&a.reload, a.cfg, &flags);
	err = start(&a);
	if (err) {
		log_error("cannot start error=\"%s\"", strerror(-err));
		stop(&a);
		return 1;
	}
	/* Loading parsed the kernel's types: 12 MB that are free again. */
	malloc_trim(0);
	a.drained_ns = a.flushed_ns = a.ticked_ns = clock_mono_ns();
	pipeline_tick(a.pipeline, a.ticked_ns, clock_steady_us());
	flush_batch(&a, a.ticked_ns); /* announces the agent */
	say_ready(&a);
	loop(&a);
	stop(&a);
	log_info("stopped");
	return a.status;
}
