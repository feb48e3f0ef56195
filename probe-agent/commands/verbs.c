/* SPDX-License-Identifier: Apache-2.0 */

/* `redtap-agent program VERB`: everything about users' programs. */

#include "probe-agent/commands/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe-agent/commands/build.h"
#include "probe-agent/programs/spec_reader.h"

int cmd_program(int argc, char **argv);

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arguments, *help;
} verbs[] = {
	{ "init", verbs_init, "[FILE]", "Write a program to start from" },
	{ "build", verbs_build, "FILE.c|FILE.yaml [OBJECT]",
	  "Compile a program, or the code in a file" },
	{ "check", verbs_check, "WHAT",
	  "Load a program, attach nothing, and say what it would do" },
	{ "run", verbs_run, "WHAT", "Run a program as long as this command" },
	{ "add", verbs_add, "FILE…", "Have the agent run a program" },
	{ "remove", verbs_remove, "NAME", "End a program of the agent" },
	{ "list", verbs_list, "", "Programs of the agent" },
	{ "describe", verbs_describe, "NAME", "All that is known of one" },
	{ "top", verbs_top, "", "What programs cost" },
	{ "maps", verbs_maps, "[NAME]", "What is in programs' maps" },
};
#define VERBS (sizeof(verbs) / sizeof(*verbs))

static void print_help(FILE *f)
{
	fputs("Usage: redtap-agent program VERB [OPTION...] [ARG...]\n"
	      "Programs of your own: BPF whose maps become metrics.\n\n",
	      f);
	for (size_t i = 0; i < VERBS; i++)
		fprintf(f, "  %-9s %-26s %s\n", verbs[i].name,
			verbs[i].arguments, verbs[i].help);
	fputs("\nWHAT is an object (.o), a file of programs (.yaml), or a "
	      "source (.c).\n`redtap-agent program VERB --help` tells its "
	      "flags.\n",
	      f);
}

int cmd_program(int argc, char **argv)
{
	static char name[64];
	const char *names[VERBS + 1] = { NULL }, *near;

	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?") ||
	    !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return 0;
	}
	for (size_t i = 0; i < VERBS; i++) {
		names[i] = verbs[i].name;
		if (strcmp(argv[1], verbs[i].name) != 0)
			continue;
		snprintf(name, sizeof(name), "redtap-agent program %s",
			 verbs[i].name);
		argv[1] = name;
		return verbs[i].run(argc - 1, argv + 1);
	}
	near = spec_nearest(argv[1], names);
	fprintf(stderr, "redtap-agent program: there is no verb '%s'%s%s%s\n",
		argv[1], near ? "; did you mean '" : "", near ? near : "",
		near ? "'?" : "");
	return 2;
}

/* --- what a person names --- */

static bool ends_with(const char *name, const char *with)
{
	size_t n = strlen(name), k = strlen(with);

	return n > k && !strcmp(name + n - k, with);
}

static void on_warning(void *arg, const char *file, unsigned line,
		       const char *what)
{
	(void)arg;
	fprintf(stderr, "%s:%u: warning: %s\n", file, line, what);
}

/* Compiled ones end with the process. */
static char built[64];

static void remove_built(void)
{
	unlink(built);
}

/* A source becomes an object in the temporary folder, under its own name. */
static int build_for_now(const char *source, const char **object)
{
	const struct build_options opt = { 0 };
	int fd, err;

	snprintf(built, sizeof(built), "/tmp/redtap-XXXXXX.bpf.o");
	fd = mkstemps(built, 6);
	if (fd < 0)
		return -errno;
	close(fd);
	atexit(remove_built);
	err = build_source(source, built, &opt);
	*object = built;
	return err;
}

static int one_object(const char *path, struct spec **out, size_t *n)
{
	const struct spec_options opt = { .warn = on_warning };
	struct spec *list = calloc(1, sizeof(*list));
	int err = list ? spec_for_object(list, path, &opt) : -ENOMEM;

	if (err) {
		free(list);
		return err;
	}
	*out = list;
	*n = 1;
	return 0;
}

/* The name that the object would have had. */
static int take_name(struct spec *s, const char *source)
{
	char *object = build_object_name(source), *slash, *dot;

	if (!object)
		return -ENOMEM;
	slash = strrchr(object, '/');
	free(s->name);
	s->name = strdup(slash ? slash + 1 : object);
	free(object);
	dot = s->name ? strstr(s->name, ".bpf.o") : NULL;
	if (dot)
		*dot = '\0';
	return s->name ? 0 : -ENOMEM;
}

static int complain_of(const char *what, const struct spec_error *e, int err)
{
	if (e->line)
		fprintf(stderr, "%s:%u: %s\n", what, e->line, e->what);
	else
		fprintf(stderr, "%s: %s\n", what,
			e->what[0] ? e->what : strerror(-err));
	return 1;
}

int verbs_specs(const char *what, struct spec **out, size_t *n)
{
	const struct spec_options opt = { .warn = on_warning };
	struct spec_error e = { 0 };
	const char *object = what;
	int err;

	if (access(what, R_OK)) {
		fprintf(stderr, "%s: %s\n", what, strerror(errno));
		return 1;
	}
	if (ends_with(what, ".yaml") || ends_with(what, ".yml")) {
		err = spec_load(out, n, what, &opt, &e);
		return err ? complain_of(what, &e, err) : 0;
	}
	if (ends_with(what, ".c")) {
		err = build_for_now(what, &object);
		if (err)
			return 1; /* clang has said why */
	}
	err = one_object(object, out, n);
	if (!err && object != what)
		err = take_name(*out, what);
	return err ? complain_of(what, &e, err) : 0;
}
