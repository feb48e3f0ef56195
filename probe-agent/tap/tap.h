/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TAP_TAP_H
#define PROBE_AGENT_TAP_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tap.h"

/*
 * The kernel side, from here: load, attach, drain, ask and tell. With
 * tap_front*.c and tls.c the only files that see the BPF skeletons and libbpf.
 * Not locked: the agent's loop thread owns it.
 */
struct tap;
struct tap_bpf_maps;

struct tap_options {
	const char *mode; /* "auto", or a front-end: "socket" */
	uint32_t ring_bytes; /* a power of two, of pages */
	uint32_t max_connections;
	bool watch_self; /* follow this process's own connections too */
	bool tls; /* tell tls.c which socket calls are made for TLS */
};

/* One attach point. Static for the life of the tap. */
struct tap_probe {
	const char *name; /* "syscall/sys_exit_read" */
	bool attached;
	int err; /* negative errno if not */
};

/*
 * Makes what the programs share. Fails with the reason logged: -EPERM (needs
 * CAP_BPF and CAP_PERFMON), … Sets *out, released by tap_close().
 */
int tap_open(struct tap **out, const struct tap_options *opt);
void tap_close(struct tap *t); /* NULL is fine */

/*
 * Loads and attaches. What can't be attached alone is left out and reported;
 * only if nothing is left does it fail, with the reason logged: -ENOTSUP (mode
 * not for this kernel), … Before anything else but tap_bpf_maps().
 */
int tap_attach(struct tap *t, const struct tap_options *opt);

/* The record is lent. What it returns does not matter. */
typedef int (*tap_record_fn)(void *arg, const void *record, size_t len);
/*
 * The kernel never announces a record: call this by a timer, as often as
 * pace.h says. Lends every record that is in the ring now to fn until that
 * returns. How many bytes of the ring they took.
 */
uint64_t tap_drain(struct tap *t, tap_record_fn fn, void *arg);

/* What the kernel knows of a connection now, see conn.h. 0, or -ENOENT. */
int tap_progress(struct tap *t, uint64_t sock, uint64_t born_ns,
		 struct tap_rec_progress *out, uint64_t *last_bytes);
/* No more records of this connection, please. Gone already is fine. */
void tap_ignore(struct tap *t, uint64_t sock, uint64_t born_ns);

/* Sums over CPUs, by enum tap_counter. 0 or negative errno. */
int tap_counters(struct tap *t, uint64_t out[TAP_C_MAX]);

size_t tap_probes(const struct tap *t, const struct tap_probe **out);
/* What tls.c shares with the tap, if opt->tls was set. Borrowed. */
const struct tap_bpf_maps *tap_bpf_maps(const struct tap *t);
/* The front-ends in use: "syscall". Static. */
const char *tap_capture(const struct tap *t);

/* What a front-end would do here; for people. */
struct tap_trial {
	const char *front; /* static */
	int err; /* 0: it works */
	char why[256]; /* not */
};

/*
 * Tries each front-end, the cheapest first, and takes it back at once. How many
 * are in out.
 */
size_t tap_try(const struct tap_options *opt, struct tap_trial *out,
	       size_t cap);

#endif /* PROBE_AGENT_TAP_TAP_H */
