/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_FILES_H
#define PROBE_AGENT_TLS_TLS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "bpf/tls.h"
#include "probe-agent/tls/tls.h"

/*
 * The files with TLS calls, and the uprobes on them: one set a file, whoever
 * uses it. Those that have none are remembered, too. At most 128 with calls are
 * watched; a line in the log tells of more. The thread of tls.c owns it, but
 * for tls_files_probes().
 */
struct tls_files;
struct bpf_object;

/*
 * obj: the programs, loaded; borrowed. many: see bpf_attach_many(). Released by
 * tls_files_free(). -ENOMEM
 */
int tls_files_new(struct tls_files **out, struct bpf_object *obj, bool many,
		  uint64_t linger_ns);
/* Detaches all, and waits for that. NULL is fine. */
void tls_files_free(struct tls_files *t);

/*
 * The number of that open file; its probes are attached when it is seen first.
 * device: the kernel's name for st->st_dev, if that is known, or 0. -ENOEXEC:
 * it has no TLS calls; -ENOSPC: too many have.
 */
int tls_files_of(struct tls_files *t, int fd, const struct stat *st,
		 const char *path, uint64_t device);
/* Is that one attached? */
bool tls_files_has(const struct tls_files *t, const struct tls_file *file);

/* A process more uses it, or less. */
void tls_files_use(struct tls_files *t, int file);
void tls_files_leave(struct tls_files *t, int file);

/* The host has it: it is not let go. Until all are let go of again. */
void tls_files_stand(struct tls_files *t, int file);
void tls_files_unstand(struct tls_files *t);

/* Is there one that nobody has used for linger_ns? Not while one detaches. */
bool tls_files_idle(struct tls_files *t, uint64_t now_ns);
/* Lets go of these; a thread detaches them meanwhile. */
void tls_files_detach_idle(struct tls_files *t, uint64_t now_ns);

/* See tls_probes(). Any thread. */
size_t tls_files_probes(struct tls_files *t, struct tls_probe *out, size_t cap,
			uint64_t *generation);

#endif /* PROBE_AGENT_TLS_TLS_FILES_H */
