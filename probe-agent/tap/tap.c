/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tap/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/log.h"
#include "probe-agent/tap/tap_bpf_maps.h"
#include "probe-agent/tap/tap_front.h"
#include "probe-agent/tap/tap_ring.h"

#define TRACEFS "/sys/kernel/tracing"

struct tap {
	struct tap_bpf_maps maps;
	struct tap_front_state front;
	struct tap_ring *ring;
	int cpus;
	uint64_t *per_cpu; /* one value per CPU */
};

static int print_libbpf(enum libbpf_print_level level, const char *fmt,
			va_list args) __attribute__((format(printf, 2, 0)));

static int print_libbpf(enum libbpf_print_level level, const char *fmt,
			va_list args)
{
	char line[512];
	size_t n;

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, args);
	n = strlen(line);
	if (n && line[n - 1] == '\n')
		line[n - 1] = '\0';
	log_debug("%s", line);
	return 0;
}

/*
 * Mounts tracefs if it is not mounted: tracepoints are looked up there. If that
 * fails, the front-ends that need it say so.
 */
static void mount_tracefs(void)
{
	struct statfs fs;

	if (!statfs(TRACEFS, &fs) && fs.f_type == TRACEFS_MAGIC)
		return;
	if (!faccessat(AT_FDCWD, "/sys/kernel/debug/tracing/events", F_OK,
		       AT_EACCESS))
		return;
	if (mount("nodev", TRACEFS, "tracefs", 0, NULL))
		log_warn("cannot mount tracefs; run as root, or mount it first "
			 "path=" TRACEFS " error=\"%s\"",
			 strerror(errno));
	else
		log_info("mounted tracefs path=" TRACEFS);
}

/* Starts the first front-end that can be used. -ENOTSUP: unknown mode. */
static int start_front(struct tap *t, const struct tap_options *opt)
{
	const bool any = !strcmp(opt->mode, "auto");
	int err = -ENOTSUP;
	bool known = false;
	char why[256];

	for (size_t i = 0; i < tap_front_count; i++) {
		const struct tap_frontend *front = tap_front_list[i];

		if (!any && strcmp(opt->mode, front->name))
			continue;
		known = true;
		err = tap_front_start(&t->front, front, &t->maps, opt, why,
				      sizeof(why));
		if (!err)
			break;
		if (any)
			log_info("capture mode not usable capture=%s "
				 "error=\"%s\"",
				 front->name, why);
		else
			log_error("capture mode not usable; "
				  "--log.level=debug shows more capture=%s "
				  "error=\"%s\"",
				  front->name, why);
	}
	if (!known)
		log_error("unknown capture mode capture=\"%s\"", opt->mode);
	else if (err && any)
		log_error("no capture mode is usable; see the lines above");
	else if (!err && any)
		log_info("using the cheapest usable capture mode capture=%s",
			 t->front.front->name);
	return err;
}

static int set_up(struct tap *t, const struct tap_options *opt)
{
	int err = tap_bpf_maps_open(&t->maps, opt);

	if (err) {
		log_error("cannot create BPF maps error=\"%s%s\"",
			  strerror(-err), err == -EPERM ? TAP_PRIVILEGES : "");
		return err;
	}
	t->cpus = libbpf_num_possible_cpus();
	if (t->cpus < 0)
		return t->cpus;
	t->per_cpu = calloc((size_t)t->cpus, sizeof(*t->per_cpu));
	if (!t->per_cpu)
		return -ENOMEM;
	return tap_ring_open(&t->ring, t->maps.ring, opt->ring_bytes);
}

int tap_open(struct tap **out, const struct tap_options *opt)
{
	struct tap *t;
	int err;

	*out = NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->maps = TAP_MAPS_NONE;
	libbpf_set_print(print_libbpf);
	err = set_up(t, opt);
	if (err) {
		tap_close(t);
		return err;
	}
	*out = t;
	return 0;
}

int tap_attach(struct tap *t, const struct tap_options *opt)
{
	mount_tracefs();
	return start_front(t, opt);
}

void tap_close(struct tap *t)
{
	if (!t)
		return;
	tap_front_stop(&t->front);
	tap_ring_close(t->ring);
	tap_bpf_maps_close(&t->maps);
	free(t->per_cpu);
	free(t);
}

uint64_t tap_drain(struct tap *t, tap_record_fn fn, void *arg)
{
	return tap_ring_drain(t->ring, fn, arg);
}

/* Reads the connection. -ENOENT: it is gone, or of another generation. */
static int find_conn(struct tap *t, uint64_t sock, uint64_t born_ns,
		     struct tap_conn *conn)
{
	int err = bpf_map_lookup_elem(t->maps.conns, &sock, conn);

	if (err)
		return err == -ENOENT ? err : -ENOENT;
	return conn->born_ns == born_ns ? 0 : -ENOENT;
}

int tap_progress(void *tap, uint64_t sock, uint64_t born_ns,
		 struct tap_rec_progress *out, struct tap_rec_place *answers)
{
	struct tap *t = tap;
	struct tap_conn conn;
	int err = find_conn(t, sock, born_ns, &conn), dir;

	if (err)
		return err;
	*out = conn.done;
	dir = conn.role == TAP_RX + 1 ? TAP_TX : TAP_RX;
	*answers = (struct tap_rec_place){
		.due = conn.due[dir],
		.place = conn.place[dir],
	};
	return 0;
}

/* Few more calls of the connection are inspected, or none. */
static void set_verdict(struct tap *t, uint64_t sock, uint64_t born_ns,
			enum tap_verdict verdict)
{
	struct tap_conn conn;

	/*
	 * Not during a late write: the kernel needs that flag. Records then go
	 * on coming, and the engine drops them.
	 */
	if (find_conn(t, sock, born_ns, &conn) || conn.flags & CONN_LATE)
		return;
	/*
	 * Overwrites what the kernel wrote into the entry meanwhile, which does
	 * not matter where no message is under way. BPF_EXIST, so that a
	 * connection that closed in between does not come back.
	 */
	conn.verdict = (uint8_t)verdict;
	conn.recheck = TAP_RECHECK;
	conn.flags &= CONN_OPENED | CONN_ENDED_RX | CONN_ENDED_TX;
	conn.place[TAP_RX] = conn.place[TAP_TX] = PLACE_UNKNOWN;
	conn.role = conn.strikes = 0;
	bpf_map_update_elem(t->maps.conns, &sock, &conn, BPF_EXIST);
}

void tap_ignore(void *tap, uint64_t sock, uint64_t born_ns, bool for_good)
{
	set_verdict(tap, sock, born_ns,
		    for_good ? VERDICT_IGNORED : VERDICT_OTHER);
}

void tap_pass(void *tap, uint64_t sock, uint64_t born_ns)
{
	set_verdict(tap, sock, born_ns, VERDICT_TUNNEL);
}

int tap_counters(struct tap *t, uint64_t out[TAP_C_MAX])
{
	int err;

	for (uint32_t key = 0; key < TAP_C_MAX; key++) {
		err = bpf_map_lookup_elem(t->maps.counters, &key, t->per_cpu);
		if (err)
			return err;
		out[key] = 0;
		for (int cpu = 0; cpu < t->cpus; cpu++)
			out[key] += t->per_cpu[cpu];
	}
	return 0;
}

size_t tap_probes(const struct tap *t, const struct tap_probe **out)
{
	*out = t->front.probe;
	return t->front.probes;
}

const struct tap_bpf_maps *tap_bpf_maps(const struct tap *t)
{
	return &t->maps;
}

const char *tap_capture(const struct tap *t)
{
	return t->front.front->name;
}

size_t tap_try(const struct tap_options *opt, struct tap_trial *out, size_t cap)
{
	struct tap_front_state s;
	struct tap *t;
	size_t i;

	if (tap_open(&t, opt))
		return 0;
	mount_tracefs();
	for (i = 0; i < tap_front_count && i < cap; i++) {
		out[i].front = tap_front_list[i]->name;
		out[i].err =
			tap_front_start(&s, tap_front_list[i], &t->maps, opt,
					out[i].why, sizeof(out[i].why));
		if (!out[i].err)
			tap_front_stop(&s);
	}
	tap_close(t);
	return i;
}
