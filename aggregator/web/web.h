/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_H
#define AGGREGATOR_WEB_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aggregator/snapshot/snapshot.h"

/*
 * The HTTP server: /metrics, /, health, lifecycle and the API. Only web*.c see
 * libmicrohttpd.
 *
 * Threads: one event loop per listen address, which never renders, reads SQLite
 * or computes a password hash, and a few workers, which do. All requests that
 * were waiting when a snapshot was taken share its rendering, so a hundred
 * scrapers cost as much as one, and no client gets data older than its request.
 * Renderings that slow clients still read are bounded in bytes: beyond the
 * bound the oldest is cut off, which its client sees as a broken transfer.
 */
struct web;

/* Retention, as /api/v1/status reports it. */
struct web_limits {
	uint64_t log_age_s, log_bytes, windows_age_s, windows_bytes;
};

struct web_options {
	/* "host:port", "[::1]:9470", ":9470" (every address, both families);
	 * port 0 lets the kernel choose. Copied. */
	const char *const *listen;
	size_t n_listen;
	const char *telemetry_path; /* NULL: "/metrics". Copied. */
	const char *config_file; /* --web.config.file; NULL: none. Copied. */
	bool enable_lifecycle; /* allow /-/reload and /-/quit */
	bool page_off, tail_off; /* web.page, web.tail */
	struct web_limits limits; /* at the start */
	bool gzip_loopback; /* compress for peers on this host, too */
	const char *store_path; /* for the API; NULL: no API. Copied. */

	/* Like snapshot_open() and snapshot_rele(). take(arg) may wait for the
	 * engine, but not for long. Called by workers. */
	const struct snapshot *(*take_agents)(void *arg); /* NULL: take */
	const struct snapshot *(*take)(void *arg);
	void (*rele)(const struct snapshot *s);
	/* Returns 0, or a negative errno and the reason in why[]. Called by
	 * workers. NULL: cannot reload. */
	int (*reload)(void *arg, char *why, size_t why_size);
	/* Forgets an agent: -ENOENT, or another negative errno. Called by
	 * workers. NULL: cannot. */
	int (*forget)(void *arg, const char *agent);
	void (*quit)(void *arg); /* asks the program to end; returns at once */
	/* Returns whether commits work; if not, why[] says why. Must be cheap.
	 * Any thread. NULL: a snapshot tells. */
	bool (*ready)(void *arg, char *why, size_t why_size);
	void *arg;
};

/*
 * Listens and starts the threads. Sets *out, released by web_stop(). Logs what
 * is wrong. -EINVAL: an address or the web configuration. -EADDRINUSE, -EACCES
 * and so on: cannot listen. -ENOMEM.
 */
int web_start(struct web **out, const struct web_options *options);

/* Closes the sockets, waits for the threads, frees. NULL is fine. */
void web_stop(struct web *w);

/*
 * Sets the values of redtap_config_last_reload_*. Call it after a reload by a
 * signal; the web server does so itself after /-/reload.
 */
void web_set_reload_status(struct web *w, bool successful, int64_t time_us);

/* After a reload. */
void web_set_limits(struct web *w, const struct web_limits *limits);

/* Returns the port of listen address i; 0 if there is no such address. */
uint16_t web_port(const struct web *w, size_t i);

/*
 * Checks a web configuration file without using it. -EINVAL: why[] has file,
 * line, column and reason. Else the error of reading the file.
 */
int web_config_check(const char *path, char *why, size_t why_size);

#endif /* AGGREGATOR_WEB_WEB_H */
