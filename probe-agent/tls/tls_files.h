/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_FILES_H
#define PROBE_AGENT_TLS_TLS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "bpf/tls.h"
#include "probe-agent/tls/tls.h"
#include "probe-agent/tls/tls_share.h"

/*
 * The files with TLS calls, and the uprobes on them: one set per file, for all
 * its users. Files that have no TLS calls are remembered, too. At most 512
 * files are attached, 64 of them for one owner (see tls_owner.h), while 64 are
 * kept for the host's own. The thread of tls.c owns it, except for
 * tls_files_probes() and tls_files_stats().
 */
struct tls_files;
struct bpf_object;

struct tls_files_options {
	bool many; /* see bpf_attach_many() */
	uint64_t linger_ns; /* from the last user to detaching */
	const bool *stop; /* once true, no file is read any further */
};

/*
 * obj: the programs, loaded; borrowed. Released by tls_files_free(). -ENOMEM
 */
int tls_files_new(struct tls_files **out, struct bpf_object *obj,
		  const struct tls_files_options *opt);
/* Detaches all, and waits for that. NULL is fine. */
void tls_files_free(struct tls_files *t);

/*
 * Returns the index of that open file; attaches its probes when it is first
 * seen. device: the kernel's number for st->st_dev, or 0 if not known.
 * -ENOEXEC: it has no TLS calls, or was refused; -ENOSPC: no place for one more
 * of this owner; -ECANCELED: stop.
 */
int tls_files_of(struct tls_files *t, int fd, const struct stat *st,
		 const char *path, uint64_t device, uint64_t owner);
/* Is that file attached? */
bool tls_files_has(const struct tls_files *t, const struct tls_file *file);

/* Adds or drops one process that uses the file. */
void tls_files_use(struct tls_files *t, int file);
void tls_files_leave(struct tls_files *t, int file);

/*
 * A process uses the file that can't be followed to its end: keeps the file
 * until then.
 */
void tls_files_see(struct tls_files *t, int file, uint64_t until_ns);

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

struct tls_share *tls_files_share(struct tls_files *t); /* borrowed */

struct tls_files_stats {
	uint64_t refused; /* files: broken, or over the limits of elfsym.h */
	uint64_t crowded; /* times that a file with TLS calls had no place */
};
/* Any thread. */
void tls_files_stats(const struct tls_files *t, struct tls_files_stats *out);

/* See tls_probes(). Any thread. */
size_t tls_files_probes(struct tls_files *t, struct tls_probe *out, size_t cap,
			uint64_t *generation);

#endif /* PROBE_AGENT_TLS_TLS_FILES_H */
