/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `redtap-aggregator verify` and `backup`: for an operator, on a store that may
 * be in use.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "aggregator/store/store_verify.h"
#include "common/cli.h"
#include "common/log.h"

int cmd_verify(int argc, char **argv);
int cmd_backup(int argc, char **argv);

enum {
	KEY_STORE = CLI_KEY_COMMAND,
};

struct options {
	const char *store; /* folder, or the file itself */
	const char *output;
	unsigned n;
};

#define STORE_OPTION                                                           \
	{                                                                      \
		"store.dir", KEY_STORE, "DIR", 0,                              \
			"State folder (/var/lib/redtap), or a backup", 0       \
	}

static const struct argp_option verify_options[] = { STORE_OPTION, { 0 } };

static const struct argp_option backup_options[] = {
	STORE_OPTION,
	{ "output", 'o', "FILE", 0, "New file to write (required)", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case KEY_STORE:
		o->store = arg;
		break;
	case 'o':
		o->output = arg;
		break;
	case ARGP_KEY_ARG:
		if (o->n++ > 0)
			argp_error(state, "more than one store: '%s'", arg);
		o->store = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* The database's path, malloc'd. NULL: no memory. */
static char *path_of(const char *store)
{
	struct stat st;
	char *path;

	if (stat(store, &st) == 0 && !S_ISDIR(st.st_mode))
		return strdup(store);
	return asprintf(&path, "%s/redtap.db", store) < 0 ? NULL : path;
}

static char *parse(int argc, char **argv, struct options *o,
		   const struct argp_option *options, const char *doc)
{
	struct argp_child children[] = { { &cli_log_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[STORE]",
		.doc = doc,
		.children = children,
	};

	*o = (struct options){ .store = "/var/lib/redtap" };
	argp_parse(&argp, argc, argv, 0, NULL, o);
	return path_of(o->store);
}

int cmd_verify(int argc, char **argv)
{
	struct options o;
	struct store_verdict v;
	char *path = parse(argc, argv, &o, verify_options,
			   "Read all of a store: the database's structure, the "
			   "checksum of each row, each batch of the log, and "
			   "whether something is missing. Exits with 1 if "
			   "anything is wrong. Works also while an aggregator "
			   "runs on the store, and on a backup.");
	int err = path ? store_verify(path, stdout, &v) : -ENOMEM;

	if (err < 0)
		log_error("cannot verify store=%s error=\"%s\"",
			  path ? path : o.store, strerror(-err));
	else
		printf("store=%s rows=%" PRIu64 " batches=%" PRIu64
		       " requests=%" PRIu64 " unchecked=%" PRIu64
		       " damage=%" PRIu64 "\n",
		       path, v.rows, v.batches, v.requests, v.unchecked,
		       v.damage);
	free(path);
	return err < 0 || v.damage > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int cmd_backup(int argc, char **argv)
{
	struct options o;
	struct store_verdict v;
	char *path = parse(argc, argv, &o, backup_options,
			   "Copy a store to a single file, as it is at one "
			   "moment, and verify the copy. Works also while an "
			   "aggregator runs on the store. To restore, put the "
			   "file into an empty state folder as redtap.db.");
	int err;

	if (!o.output) {
		log_error("no output file: give -o FILE");
		free(path);
		return 2;
	}
	err = path ? store_backup(path, o.output, stderr, &v) : -ENOMEM;
	if (err < 0)
		log_error("cannot back up store=%s file=%s error=\"%s\"",
			  path ? path : o.store, o.output, strerror(-err));
	else
		log_info("backed up and verified file=%s rows=%" PRIu64
			 " batches=%" PRIu64 " requests=%" PRIu64,
			 o.output, v.rows, v.batches, v.requests);
	free(path);
	return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
