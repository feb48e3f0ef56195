/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_TAP_H
#define PROBE_AGENT_TAP_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tap.h"

/*
 * The kernel side, as seen from user space: load, attach, drain, query, ignore.
 * Which files may use libbpf and the BPF skeletons: see tests/lint.sh. Not
 * locked: the agent's loop thread owns it.
 */
struct tap;
struct tap_bpf_maps;

struct tap_options {
	const char *mode; /* "auto", or the name of a front-end */
	uint32_t ring_bytes; /* a power of two, at least one page */
	uint32_t max_connections;
	bool watch_self; /* follow this process's own connections too */
	bool tls; /* record which socket calls TLS makes, for tls.c */
};

/* One attach point. Static for the life of the tap. */
struct tap_probe {
	const char *name; /* "syscall/sys_exit_read" */
	bool attached;
	int err; /* negative errno if not */
};

/*
 * Creates the maps that the programs share. Sets *out, released by tap_close().
 * Errors are logged. -EPERM: needs CAP_BPF and CAP_PERFMON; …
 */
int tap_open(struct tap **out, const struct tap_options *opt);
void tap_close(struct tap *t); /* NULL is fine */

/*
 * Loads and attaches a front-end. A program that can't be attached is left out
 * and reported, if the front-end can do without it. Errors are logged.
 * -ENOTSUP: this kernel can't do the mode; … Call it before anything else but
 * tap_bpf_maps().
 */
int tap_attach(struct tap *t, const struct tap_options *opt);

/*
 * The record is lent until the callback returns. The return value is ignored.
 */
typedef int (*tap_record_fn)(void *arg, const void *record, size_t len);
/*
 * Calls fn for every record that is in the ring now. The kernel never wakes the
 * agent for a record, so call this by a timer, as often as pace.h says. Returns
 * the number of bytes of the ring that the records took.
 */
uint64_t tap_drain(struct tap *t, tap_record_fn fn, void *arg);

/*
 * What a source of records does for the engine: see struct conn_source, whose
 * arg is the tap. What the kernel knows of a connection now. 0, or -ENOENT.
 */
int tap_progress(void *tap, uint64_t sock, uint64_t born_ns,
		 struct tap_rec_progress *out, struct tap_rec_place *answers);
/*
 * Asks for no more records of this connection; or, not for good, for few. One
 * that is gone is fine.
 */
void tap_ignore(void *tap, uint64_t sock, uint64_t born_ns, bool for_good);
/* For no more but how it ends, and how far it is then. */
void tap_pass(void *tap, uint64_t sock, uint64_t born_ns);

/* Sums over CPUs, by enum tap_counter. 0 or negative errno. */
int tap_counters(struct tap *t, uint64_t out[TAP_C_MAX]);

size_t tap_probes(const struct tap *t, const struct tap_probe **out);
/* The maps that tls.c shares with the tap, if opt->tls was set. Borrowed. */
const struct tap_bpf_maps *tap_bpf_maps(const struct tap *t);
/* Name of the front-end in use: "syscall". Static. */
const char *tap_capture(const struct tap *t);

/* Whether a front-end works here, for people. */
struct tap_trial {
	const char *front; /* static */
	int err; /* 0: it works */
	char why[256]; /* if it does not */
};

/*
 * Tries each front-end, the cheapest first, and stops it at once. Returns the
 * number of entries in out.
 */
size_t tap_try(const struct tap_options *opt, struct tap_trial *out,
	       size_t cap);

#endif /* PROBE_AGENT_TAP_TAP_H */
