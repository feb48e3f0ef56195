/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_COMMANDS_BUILD_H
#define PROBE_AGENT_COMMANDS_BUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "probe-agent/programs/spec.h"

/*
 * Compiles programs with clang, which is needed here alone. The kernel's types
 * come from the running kernel. Errors are printed for people, on standard
 * error. One thread.
 */

struct build_options {
	const char *const *cflags; /* more flags for clang */
	size_t n_cflags;
	bool keep; /* the temporary folder */
};

/* Compiles FILE.c into an object. 0; -EINVAL: printed; other errors. */
int build_source(const char *source, const char *object,
		 const struct build_options *opt);
/*
 * Compiles the bcc code: of each program of a file into the object that the
 * file's program names, or into folder if it is not NULL.
 */
int build_file(const char *yaml, const char *folder,
	       const struct build_options *opt);
/* What it is made into, beside the source: FILE.bpf.o. Malloc'd; NULL. */
char *build_object_name(const char *source);

/* --- build_types.c --- */

/* Writes vmlinux.h of the running kernel. */
int build_write_types(const char *path);

/* --- build_rewrite.c --- */

/*
 * Source whose maps say by an old section what they are (.maps.counter):
 * appends it with sections that libbpf takes, and a note of what they were.
 * Lines keep their numbers. -ENOMEM.
 */
int build_rewrite_sections(struct buf *out, const char *text, size_t len);
/*
 * Makes bcc code ready for clang: without its #include lines, and with the
 * arguments of its tracepoints. -EINVAL: printed, with its line; -ENOMEM.
 */
int build_rewrite_bcc(struct buf *out, const struct spec *s);

/* --- build_tracepoints.c --- */

/* Appends the struct of a tracepoint's fields. -ENOENT: there is none. */
int build_put_tracepoint(struct buf *out, const char *struct_name,
			 const char *category, const char *event);

/* --- build_headers.c --- */

/* Text of a header that is written beside the source. Static. */
const char *build_header_prelude(void);
const char *build_header_count(void);
const char *build_header_solo_types(void);

#endif /* PROBE_AGENT_COMMANDS_BUILD_H */
