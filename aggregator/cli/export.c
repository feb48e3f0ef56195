/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `redtap-aggregator export`: writes stored batches to a trace file. Works also
 * while an aggregator runs on the store.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aggregator/web/api.h"
#include "aggregator/web/trace_export.h"
#include "common/cli.h"
#include "common/clock.h"
#include "common/log.h"

int cmd_export(int argc, char **argv);

enum {
	KEY_STORE = CLI_KEY_COMMAND,
	KEY_FROM,
	KEY_TO,
	KEY_SERVICE,
};

struct options {
	const char *dir, *output;
	struct trace_export e;
};

static const struct argp_option options[] = {
	{ "store.dir", KEY_STORE, "DIR", 0, "State folder (/var/lib/redtap)",
	  0 },
	{ "from", KEY_FROM, "TIME", 0,
	  "Export batches received since this time: RFC 3339, seconds since "
	  "1970, or a duration like 1h before now (the oldest batch)",
	  0 },
	{ "to", KEY_TO, "TIME", 0,
	  "Export batches received before this time (now)", 0 },
	{ "service", KEY_SERVICE, "NAME", 0,
	  "Export only requests of this service: name or namespace/name", 0 },
	{ "output", 'o', "FILE", 0,
	  "New file to write; - is standard output (required)", 0 },
	{ 0 },
};

/* Parses a time; a duration is counted back from now. */
static int parse_when(const char *text, int64_t *out_us)
{
	int64_t s;

	if (api_time_parse(text, clock_real_us() / 1000000, &s) != 0)
		return -EINVAL;
	*out_us = s * 1000000;
	return 0;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	int err = 0;

	switch (key) {
	case KEY_STORE:
		o->dir = arg;
		break;
	case KEY_FROM:
		err = parse_when(arg, &o->e.from_us);
		break;
	case KEY_TO:
		err = parse_when(arg, &o->e.to_us);
		break;
	case KEY_SERVICE:
		o->e.service = arg;
		break;
	case 'o':
		o->output = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	if (err)
		argp_error(state, "not a time: '%s'", arg);
	return 0;
}

static int write_file(struct options *o)
{
	bool standard = strcmp(o->output, "-") == 0;
	FILE *f = standard ? stdout : fopen(o->output, "wxe");
	int err;

	if (!f)
		return -errno;
	err = trace_export_write(&o->e, trace_to_file, f);
	if (!err && fflush(f) != 0)
		err = -errno;
	if (!standard) {
		if (fclose(f) != 0 && !err)
			err = -errno;
		if (err < 0)
			unlink(o->output);
	}
	return err;
}

int cmd_export(int argc, char **argv)
{
	struct argp_child children[] = { { &cli_log_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = {
		.options = options,
		.parser = parse_option,
		.doc = "Write stored batches to a trace file, which "
		       "`redtap-agent replay` can send again.",
		.children = children,
	};
	struct options o = { .dir = "/var/lib/redtap" };
	char *path;
	int err;

	o.e.to_us = clock_real_us() + 1;
	argp_parse(&argp, argc, argv, ARGP_NO_ARGS, NULL, &o);
	if (!o.output) {
		log_error("no output file: give -o FILE");
		return 2;
	}
	if (asprintf(&path, "%s/redtap.db", o.dir) < 0)
		return EXIT_FAILURE;
	o.e.store_path = path;
	err = write_file(&o);
	if (err < 0)
		log_error("cannot export store=%s file=%s error=\"%s\"", path,
			  o.output, strerror(-err));
	else
		log_info("exported batches=%" PRIu64 " requests=%" PRIu64
			 " file=%s",
			 o.e.batches, o.e.requests, o.output);
	free(path);
	return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
