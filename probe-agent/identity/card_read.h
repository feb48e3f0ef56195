/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_CARD_READ_H
#define PROBE_AGENT_IDENTITY_CARD_READ_H

#include "common/buf.h"
#include "probe-agent/identity/card.h"

/*
 * Reads one card from the files of docker, containerd, CRI-O, podman and the
 * kubelet. Stateless but for *r, which the caller owns. For card.c.
 */
struct card_reader {
	int root; /* of the node's files, opened with O_PATH */
	const char *docker; /* docker's folder, below root */
	char *const *labels; /* globs of keys to keep */
	size_t n_labels;
	struct buf file; /* reused */

	/* Of the card that is being read. */
	char *text[CARD_FIELDS]; /* malloc'd, or NULL */
	char source[256];
	bool first;
	unsigned refused; /* files */
};

/* Fills text, source and first; the texts become the caller's. */
void card_read(struct card_reader *r, const struct cgroup_place *place);

/* Sets a text that is not set yet, as the first file that tells wins. */
void card_set(struct card_reader *r, enum card_field f, const char *value);
/* A label or annotation: what we use of it, and the chosen ones. */
void card_take_label(struct card_reader *r, const char *key, const char *value);

/*
 * Reads a plain file of at most max bytes into r->file, with all links resolved
 * below root. False: there is none, or it is refused (counted).
 */
bool card_read_file(struct card_reader *r, const char *path, size_t max);

/* What /var/log/containers tells of a pod's container: its names, and first. */
void card_read_logs(struct card_reader *r, const char *id);

#endif /* PROBE_AGENT_IDENTITY_CARD_READ_H */
