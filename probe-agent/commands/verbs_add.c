/* SPDX-License-Identifier: Apache-2.0 */
/* `program add` and `program remove`: the agent's folder of programs. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe-agent/commands/build.h"
#include "probe-agent/commands/verbs.h"

#define FILES_MAX 64

enum {
	KEY_SOCKET = 0x300,
	KEY_DIR,
};

struct add_args {
	const char *socket, *dir;
	const char *what[FILES_MAX];
	size_t n;
};

static const struct argp_option options[] = {
	{ "socket", KEY_SOCKET, "PATH", 0, "Of the agent (" VERBS_SOCKET ")",
	  0 },
	{ "dir", KEY_DIR, "DIR", 0,
	  "Its --programs.dir (/etc/redtap/programs.d)", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct add_args *a = state->input;

	switch (key) {
	case KEY_SOCKET:
		a->socket = arg;
		return 0;
	case KEY_DIR:
		a->dir = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (a->n == FILES_MAX)
			argp_usage(state);
		a->what[a->n++] = arg;
		return 0;
	case ARGP_KEY_END:
		if (a->n == 0)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void parse_args(struct add_args *a, const char *args_doc,
		       const char *doc, int argc, char **argv)
{
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = args_doc,
		.doc = doc,
	};

	*a = (struct add_args){ .socket = VERBS_SOCKET,
				.dir = "/etc/redtap/programs.d" };
	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, a);
}

/* --- files --- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool ends_with(const char *name, const char *with)
{
	size_t n = strlen(name), k = strlen(with);

	return n > k && !strcmp(name + n - k, with);
}

/* Whole or not at all: the agent may read the folder meanwhile. */
static int copy_file(const char *from, const char *dir)
{
	char to[4096], tmp[4200], bytes[65536];
	FILE *in, *out;
	size_t n;
	int err = 0;

	snprintf(to, sizeof(to), "%s/%s", dir, base_name(from));
	snprintf(tmp, sizeof(tmp), "%s/.%s.tmp", dir, base_name(from));
	in = fopen(from, "re");
	out = in ? fopen(tmp, "we") : NULL;
	if (!out) {
		err = -errno;
		if (in)
			fclose(in);
		fprintf(stderr, "%s: %s\n", in ? tmp : from, strerror(-err));
		return err;
	}
	while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0)
		if (fwrite(bytes, 1, n, out) != n)
			err = -EIO;
	fclose(in);
	if (fclose(out) || err || rename(tmp, to)) {
		err = err ? err : -errno;
		unlink(tmp);
		fprintf(stderr, "%s: %s\n", to, strerror(-err));
	}
	return err;
}

static int make_dir(const char *dir)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s", dir);
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
	if (mkdir(path, 0755) && errno != EEXIST) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -errno;
	}
	return 0;
}

/* The object that a source becomes, straight in the folder. */
static int add_source(const char *source, const char *dir)
{
	const struct build_options opt = { 0 };
	char *name = build_object_name(base_name(source)), path[4200];
	int err;

	if (!name)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	free(name);
	err = build_source(source, path, &opt);
	return err;
}

static int add_one(const struct add_args *a, const char *what)
{
	const struct build_options opt = { 0 };
	struct spec *list;
	bool code = false;
	size_t n;
	int err;

	if (ends_with(what, ".c"))
		return add_source(what, a->dir);
	if (ends_with(what, ".o"))
		return copy_file(what, a->dir);
	if (verbs_specs(what, &list, &n))
		return -EINVAL;
	err = 0;
	for (size_t i = 0; i < n && !err; i++) {
		code |= list[i].code != NULL;
		if (!list[i].code)
			err = copy_file(list[i].object, a->dir);
	}
	spec_free(list, n);
	if (!err && code)
		err = build_file(what, a->dir, &opt);
	return err ? err : copy_file(what, a->dir);
}

/* --- the agent --- */

static int reload(const struct add_args *a)
{
	struct buf answer = { 0 };
	int err = verbs_ask(a->socket, "reload", &answer);

	buf_fini(&answer);
	if (err) {
		fprintf(stderr,
			"no agent answers at %s: the folder is read when it "
			"starts\n",
			a->socket);
		return 0;
	}
	return 0;
}

int verbs_add(int argc, char **argv)
{
	struct add_args a;

	parse_args(&a, "WHAT…",
		   "Puts programs into the agent's folder, and has it run "
		   "them.",
		   argc, argv);
	if (make_dir(a.dir))
		return 1;
	for (size_t i = 0; i < a.n; i++)
		if (add_one(&a, a.what[i]))
			return 1;
	return reload(&a) ? 1 : 0;
}

/* All files of a program's name. */
static size_t remove_files(const struct add_args *a, const char *name)
{
	static const char *const endings[] = { ".yaml", ".yml", ".bpf.o",
					       ".o" };
	size_t n = 0;

	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		char path[4200];

		snprintf(path, sizeof(path), "%s/%s%s", a->dir, name,
			 endings[i]);
		n += unlink(path) == 0;
	}
	return n;
}

int verbs_remove(int argc, char **argv)
{
	struct add_args a;
	int status = 0;

	parse_args(&a, "NAME…",
		   "Takes programs' files (NAME.yaml, NAME.bpf.o) out of the "
		   "agent's folder, and has it end them.",
		   argc, argv);
	for (size_t i = 0; i < a.n; i++)
		if (strchr(a.what[i], '/') ||
		    remove_files(&a, a.what[i]) == 0) {
			fprintf(stderr, "%s has no program %s\n", a.dir,
				a.what[i]);
			status = 1;
		}
	return reload(&a) ? 1 : status;
}
