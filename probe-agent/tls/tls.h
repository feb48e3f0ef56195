/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_H
#define PROBE_AGENT_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The plain text inside TLS: finds the OpenSSL and GnuTLS that processes use,
 * as libraries or in executables, and attaches uprobes to them, one set a file,
 * whoever uses it; detaches some time after the last user has ended. Records
 * come out of the same ring as those of the tap, which must stay open longer.
 *
 * The libraries of the host are attached before anybody uses them, and stay:
 * else a program that is their only user could be over before they are. Where
 * that happens with others, such as a container's, it is counted.
 *
 * It has a thread of its own: reading symbol tables and attaching take
 * milliseconds, and a process that has just started doesn't wait.
 */
struct tls;
struct tap_bpf_maps;

struct tls_options {
	const struct tap_bpf_maps *maps; /* the tap's: borrowed */
	bool watch_self; /* this process's own sessions too */
	uint64_t linger_ns; /* from the last user to detaching; 0: 10 s */
};

/*
 * The state of what is or should be attached: what tells of programs that start
 * and of libraries that are loaded, and files by name.
 */
struct tls_probe {
	char name[64]; /* "tls/exec", "tls/mmap", "tls/libssl.so.3" */
	bool attached; /* to all files of that name that are in use */
};

/*
 * Loads the programs, in a thread of its own, so that those of the tap can be
 * loaded at the same time: the verifier takes its time for both. Sets *out,
 * released by tls_stop(). -ENOMEM, -EAGAIN.
 */
int tls_load(struct tls **out, const struct tls_options *opt);
/* Waits for that: 0, or why not. No thread runs then. */
int tls_loaded(struct tls *t);

/*
 * Attaches. Looks at all processes before it returns, and at new ones from then
 * on. -ENOTSUP: no uprobes here; or the error of loading. Then only tls_stop()
 * is left to do.
 */
int tls_start(struct tls *t);
void tls_stop(struct tls *t); /* waits; NULL is fine */

/*
 * Reads who has mapped libraries, for the thread of its own to look at. Call it
 * every 20 ms at least, from one thread; tls_loads_lost() is its as well.
 */
void tls_poll(struct tls *t);
/* Mappings of code that could not be read. */
uint64_t tls_loads_lost(const struct tls *t);

/* Processes that ended before their library was attached. Any thread. */
uint64_t tls_missed(const struct tls *t);

/*
 * Fills out with at most cap; their number. *generation changes whenever they
 * do. Any thread.
 */
size_t tls_probes(struct tls *t, struct tls_probe *out, size_t cap,
		  uint64_t *generation);

#endif /* PROBE_AGENT_TLS_TLS_H */
