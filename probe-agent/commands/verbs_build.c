/* SPDX-License-Identifier: Apache-2.0 */
/* `program build`: from source to an object. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/commands/build.h"
#include "probe-agent/commands/verbs.h"

#define FLAGS_MAX 64

enum {
	KEY_CFLAGS = 0x300,
	KEY_BINARY_ONLY,
	KEY_KEEP,
};

struct build_args {
	const char *source, *target;
	char *flags; /* words, cut apart */
	const char *cflag[FLAGS_MAX];
	size_t n;
	bool keep;
};

static const struct argp_option options[] = {
	{ "cflags", KEY_CFLAGS, "FLAGS", 0, "More flags for clang", 0 },
	{ "binary-only", KEY_BINARY_ONLY, NULL, 0,
	  "Make only the object, which is all there is so far", 0 },
	{ "keep", KEY_KEEP, NULL, 0,
	  "Keep the temporary folder with vmlinux.h and the changed source",
	  0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct build_args *a = state->input;

	switch (key) {
	case KEY_CFLAGS:
		for (char *word = strtok(arg, " "); word;
		     word = strtok(NULL, " "))
			if (a->n < FLAGS_MAX)
				a->cflag[a->n++] = word;
		return 0;
	case KEY_BINARY_ONLY:
		return 0;
	case KEY_KEEP:
		a->keep = true;
		return 0;
	case ARGP_KEY_ARG:
		if (!a->source)
			a->source = arg;
		else if (!a->target)
			a->target = arg;
		else
			argp_usage(state);
		return 0;
	case ARGP_KEY_END:
		if (!a->source)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int verbs_build(int argc, char **argv)
{
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "FILE.c|FILE.yaml [OBJECT|FOLDER]",
		.doc = "Compiles a program with clang, against the types of "
		       "the running kernel. FILE.c becomes FILE.bpf.o; of a "
		       "file with `code:`, each program becomes the object "
		       "that it names. What finds no room in a ring buffer or "
		       "a map is counted in what is built here.",
	};
	struct build_args a = { 0 };
	struct build_options opt;
	size_t len;
	char *name;
	int err;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &a);
	opt = (struct build_options){ a.cflag, a.n, a.keep };
	len = strlen(a.source);
	if (len < 2 || strcmp(a.source + len - 2, ".c") != 0)
		return build_file(a.source, a.target, &opt) ? 1 : 0;
	name = a.target ? strdup(a.target) : build_object_name(a.source);
	err = name ? build_source(a.source, name, &opt) : -ENOMEM;
	if (!err)
		printf("%s\n", name);
	free(name);
	return err ? 1 : 0;
}
