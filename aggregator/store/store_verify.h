/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_VERIFY_H
#define AGGREGATOR_STORE_STORE_VERIFY_H

#include <stdint.h>
#include <stdio.h>

/*
 * Reads a whole store and says what is wrong with it. For the command line;
 * works beside a running aggregator, and on a copy.
 */
struct store_verdict {
	uint64_t rows, batches, requests;
	uint64_t damage; /* findings */
	uint64_t unchecked; /* rows without a checksum, of older versions */
};

/*
 * path: the database. Findings go to f, a line each, unless f is NULL. Returns
 * 0, whatever was found; -ENOENT; -EUCLEAN: it is no database of ours; -EPROTO:
 * of a newer version; -EIO, -EACCES, -ENOMEM; with the reason on f.
 */
int store_verify(const char *path, FILE *f, struct store_verdict *out);

/*
 * Copies the database, as it is at one moment, to a new file, and verifies the
 * copy. -EEXIST; -EUCLEAN: the copy is damaged, and deleted again; errors of
 * store_verify() and of files. *out is that of the copy.
 */
int store_backup(const char *path, const char *to, FILE *f,
		 struct store_verdict *out);

#endif /* AGGREGATOR_STORE_STORE_VERIFY_H */
