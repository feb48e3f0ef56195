/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls_mmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/perf_event.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/tls/perf_ring.h"
#include "probe-agent/tls/tls_scan.h"

#define POSSIBLE "/sys/devices/system/cpu/possible"
#define RING_BYTES (64 * 1024) /* or a page, if that is more */
#define RENEW_NS (60 * CLOCK_NS_PER_S)

struct cpu {
	int fd;
	struct perf_ring *ring; /* NULL: the CPU is offline */
};

struct tls_mmap {
	int from, to; /* the pipe, which carries whole events */
	uint64_t renew_ns;
	uint64_t lost; /* no room in the pipe, or in closed rings */
	uint64_t lost_told; /* what tls_mmap_lost() was when last reported */
	bool look; /* force one full scan */
	int cpus;
	struct cpu cpu[];
};

/* --- CPUs --- */

/* Number of CPUs, from "0-3" or "0,2-5": one more than the last. */
static int possible_cpus(void)
{
	FILE *f = fopen(POSSIBLE, "re");
	char text[256] = "";
	size_t n;

	if (!f)
		return (int)sysconf(_SC_NPROCESSORS_CONF);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	n = strlen(text);
	while (n && text[n - 1] >= '0' && text[n - 1] <= '9')
		n--;
	return atoi(text + n) + 1;
}

static void close_cpu(struct tls_mmap *m, struct cpu *c)
{
	if (!c->ring)
		return;
	m->lost += perf_ring_lost(c->ring);
	perf_ring_close(c->ring);
	close(c->fd);
	c->ring = NULL;
}

static int open_cpu(struct cpu *c, int cpu)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED,
		.mmap = 1, /* of code only, unlike .mmap_data */
		.mmap2 = 1,
		.exclude_kernel = 1,
		.watermark = 1, /* one wake-up per turn: no thread waits */
		.wakeup_watermark = RING_BYTES,
	};
	int err;

	c->fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1,
			     PERF_FLAG_FD_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	err = perf_ring_open(&c->ring, c->fd,
			     page > RING_BYTES ? page : RING_BYTES);
	if (err)
		close(c->fd);
	return err;
}

/*
 * The event of a CPU that went offline stays, but is dead when the CPU comes
 * back: its time stands still.
 */
static bool is_alive(const struct cpu *c)
{
	uint64_t now[2], later[2]; /* value, time */

	return read(c->fd, now, sizeof(now)) == sizeof(now) &&
	       read(c->fd, later, sizeof(later)) == sizeof(later) &&
	       later[1] > now[1];
}

/* Opens the CPUs that are online and not watched. 0, or why one can't be. */
static int open_cpus(struct tls_mmap *m)
{
	int err;

	for (int i = 0; i < m->cpus; i++) {
		struct cpu *c = &m->cpu[i];

		if (c->ring && is_alive(c))
			continue;
		close_cpu(m, c);
		err = open_cpu(c, i);
		if (!err)
			m->look = true;
		else if (err != -ENODEV) /* that is: offline */
			return err;
	}
	return 0;
}

static void renew(struct tls_mmap *m, uint64_t now_ns)
{
	int err = open_cpus(m);

	if (err)
		log_warn("tls: cannot watch library loads on a newly onlined "
			 "CPU error=\"%s\"",
			 strerror(-err));
	m->renew_ns = now_ns + RENEW_NS;
}

/* --- the thread that reads the rings --- */

static bool report_mapping(struct tls_mmap *m, const struct tls_event *e)
{
	return write(m->to, e, sizeof(*e)) == sizeof(*e);
}

/* perf_ring_fn */
static void on_mapping(void *arg, const struct perf_mapping *mapping)
{
	struct tls_mmap *m = arg;
	const struct tls_event e = {
		.tgid = mapping->pid,
		.file = { .device = mapping->device, .inode = mapping->inode },
	};

	/* Not in our PID namespace: the process can't be scanned. */
	if (!tls_scan_is_library(mapping->path) || (int32_t)e.tgid <= 0)
		return;
	if (!report_mapping(m, &e))
		m->lost++;
}

void tls_mmap_poll(struct tls_mmap *m)
{
	const uint64_t now_ns = clock_mono_ns();
	uint64_t lost;

	for (int i = 0; i < m->cpus; i++)
		if (m->cpu[i].ring)
			perf_ring_drain(m->cpu[i].ring, on_mapping, m);
	if (now_ns >= m->renew_ns)
		renew(m, now_ns);
	lost = tls_mmap_lost(m);
	if ((lost != m->lost_told || m->look) &&
	    report_mapping(m, &(struct tls_event){ .tgid = 0 })) {
		m->lost_told = lost;
		m->look = false;
	}
}

uint64_t tls_mmap_lost(const struct tls_mmap *m)
{
	uint64_t lost = m->lost;

	for (int i = 0; i < m->cpus; i++)
		if (m->cpu[i].ring)
			lost += perf_ring_lost(m->cpu[i].ring);
	return lost;
}

/* --- the thread that scans processes --- */

int tls_mmap_fd(const struct tls_mmap *m)
{
	return m->from;
}

int tls_mmap_take(struct tls_mmap *m, struct tls_event *out)
{
	return read(m->from, out, sizeof(*out)) == sizeof(*out) ? 0 : -EAGAIN;
}

/* --- life --- */

int tls_mmap_open(struct tls_mmap **out)
{
	const int cpus = possible_cpus();
	struct tls_mmap *m =
		calloc(1, sizeof(*m) + (size_t)cpus * sizeof(*m->cpu));
	int fds[2], err;

	*out = NULL;
	if (!m)
		return -ENOMEM;
	m->cpus = cpus;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK)) {
		err = -errno;
		free(m);
		return err;
	}
	m->from = fds[0];
	m->to = fds[1];
	err = open_cpus(m);
	m->look = false; /* the caller scans all processes anyway */
	m->renew_ns = clock_mono_ns() + RENEW_NS;
	if (err) {
		tls_mmap_close(m);
		return err;
	}
	*out = m;
	return 0;
}

void tls_mmap_close(struct tls_mmap *m)
{
	if (!m)
		return;
	for (int i = 0; i < m->cpus; i++)
		close_cpu(m, &m->cpu[i]);
	close(m->from);
	close(m->to);
	free(m);
}
