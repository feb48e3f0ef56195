/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_STATE_H
#define PROBE_AGENT_TLS_TLS_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/tls.h"
#include "probe-agent/tls/tls.h"
#include "probe-agent/tls/tls_files.h"
#include "probe-agent/tls/tls_mmap.h"

/*
 * The inside of a capture of TLS, for tls.c (its life) and tls_thread.c (what
 * its thread does). The thread owns what is below `files`, once it runs.
 */

struct tls_bpf;
struct ring_buffer;
struct bpf_link;

#define TLS_PROCESSES_MAX 4096
#define TLS_PROCESS_FILES 12
#define TLS_LOOKS_MAX 256

/* A process that uses files with TLS calls. */
struct tls_process {
	uint32_t pid;
	int pidfd; /* readable when it has ended */
	uint32_t n;
	uint16_t file[TLS_PROCESS_FILES];
};

/* A process whose mapped libraries must be scanned, perhaps more than once. */
struct tls_look {
	uint32_t pid;
	uint32_t tries; /* made */
	uint64_t due_ns;
	struct tls_file file; /* the mapped library; inode 0: not known */
};

struct tls {
	struct tls_options opt;
	struct tls_bpf *skel;
	bool many; /* see bpf_attach_many() */
	struct ring_buffer *events;
	struct bpf_link *exec;
	struct tls_mmap *maps; /* NULL: mappings can't be watched */
	int epoll, stop;
	bool stopping; /* set by tls_stop() */
	pthread_t thread;
	enum {
		TLS_IDLE,
		TLS_LOADING,
		TLS_RUNNING
	} state; /* what the thread is for */
	int load_err; /* of the loading thread */
	struct tls_files *files;
	struct tls_process process[TLS_PROCESSES_MAX];
	uint32_t processes;
	struct tls_look look[TLS_LOOKS_MAX];
	size_t looks;
	uint64_t scan_ns; /* when all processes will be scanned next */
	uint64_t scanned_ns; /* when they were scanned last */
	bool found_no_tls; /* the executable scanned last has no TLS calls */
	struct tls_file wanted; /* file looked for; inode 0: none, or found */
	uint64_t missed, skipped; /* see struct tls_stats */
	/* Of the process that is scanned. */
	uint64_t owner;
};

/* --- tls_thread.c --- */

/* Scans all processes, and the host's libraries. */
void tls_thread_scan_all(struct tls *t, uint64_t now_ns);
/* The thread's main; arg: the struct tls. */
void *tls_thread_main(void *arg);
/* ring_buffer_sample_fn: a process has started another program. */
int tls_thread_on_exec(void *arg, void *data, size_t len);
/* Forgets all processes. */
void tls_thread_forget(struct tls *t);

#endif /* PROBE_AGENT_TLS_TLS_STATE_H */
