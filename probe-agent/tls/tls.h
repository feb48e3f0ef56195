/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_H
#define PROBE_AGENT_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Captures the plain text inside TLS: finds the OpenSSL and GnuTLS code that
 * processes use, in libraries or in executables, and attaches uprobes to it,
 * one set per file for all its users; detaches some time after the last user
 * has ended. Records go into the ring of the tap, which must stay open longer.
 *
 * The libraries of the host are attached before any process uses them, and stay
 * attached: else a program that is their only user could end before they are.
 * Where that happens with other libraries, such as a container's, it is
 * counted.
 *
 * Has a thread of its own: reading symbol tables and attaching take
 * milliseconds, and a process that has just started does not wait for it.
 */
struct tls;
struct tap_bpf_maps;

struct tls_options {
	const struct tap_bpf_maps *maps; /* the tap's: borrowed */
	bool watch_self; /* this process's own sessions too */
	uint64_t linger_ns; /* from the last user to detaching; 0: 10 s */
};

/*
 * The state of one thing that is or should be attached: what reports program
 * starts, what reports library loads, or the files of one name.
 */
struct tls_probe {
	char name[64]; /* "tls/exec", "tls/mmap", "tls/libssl.so.3" */
	bool attached; /* to all files of that name that are in use */
};

/*
 * Starts a thread that loads the programs, so that the tap's can be loaded at
 * the same time: the verifier takes long for both. Sets *out, released by
 * tls_stop(). -ENOMEM, -EAGAIN.
 */
int tls_load(struct tls **out, const struct tls_options *opt);
/* Waits until that thread has ended. 0, or the error of loading. */
int tls_loaded(struct tls *t);

/*
 * Attaches. Scans all processes before it returns, and new ones from then on.
 * 0, or negative errno, that of loading included: then only tls_stop() may be
 * called.
 */
int tls_start(struct tls *t);
void tls_stop(struct tls *t); /* waits; NULL is fine */

/*
 * Reads which processes have mapped libraries, and passes them to the TLS
 * thread. Call it at least every 20 ms, always from the same thread, which is
 * also the only one that may call tls_loads_lost().
 */
void tls_poll(struct tls *t);
/* Mappings of code whose records were lost. */
uint64_t tls_loads_lost(const struct tls *t);

struct tls_stats {
	uint64_t missed; /* processes that ended before their library was
			    attached */
	uint64_t refused; /* files whose symbols are broken, or too costly */
	uint64_t crowded; /* times that a file with TLS calls had no place */
	uint64_t skipped; /* inspections not made: the owner had its share */
};
/* Any thread. */
void tls_stats(const struct tls *t, struct tls_stats *out);

/*
 * Fills out with at most cap probes and returns their number. *generation
 * changes whenever they do. Any thread.
 */
size_t tls_probes(struct tls *t, struct tls_probe *out, size_t cap,
		  uint64_t *generation);

#endif /* PROBE_AGENT_TLS_TLS_H */
