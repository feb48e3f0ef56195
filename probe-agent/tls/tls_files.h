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
 * The files with TLS calls, and the uprobes on them: one set per file, for all
 * its users. Files that have no TLS calls are remembered, too. At most 128
 * files are attached; a log line says if there are more. The thread of tls.c
 * owns it, except for tls_files_probes().
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
 * Returns the index of that open file; attaches its probes when it is first
 * seen. device: the kernel's number for st->st_dev, or 0 if not known.
 * -ENOEXEC: it has no TLS calls; -ENOSPC: too many files have.
 */
int tls_files_of(struct tls_files *t, int fd, const struct stat *st,
		 const char *path, uint64_t device);
/* Is that file attached? */
bool tls_files_has(const struct tls_files *t, const struct tls_file *file);

/* Adds or drops one process that uses the file. */
void tls_files_use(struct tls_files *t, int file);
void tls_files_leave(struct tls_files *t, int file);

/*
 * Pins a library of the host: it stays attached without users. _unstand unpins
 * all.
 */
void tls_files_stand(struct tls_files *t, int file);
void tls_files_unstand(struct tls_files *t);

/*
 * Has any file been without users for linger_ns? False while others are
 * detached.
 */
bool tls_files_idle(struct tls_files *t, uint64_t now_ns);
/* Gives such files up; a thread of its own detaches them. */
void tls_files_detach_idle(struct tls_files *t, uint64_t now_ns);

/* See tls_probes(). Any thread. */
size_t tls_files_probes(struct tls_files *t, struct tls_probe *out, size_t cap,
			uint64_t *generation);

#endif /* PROBE_AGENT_TLS_TLS_FILES_H */
