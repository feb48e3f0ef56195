/* SPDX-License-Identifier: Apache-2.0 */

/* `redtap-aggregator query`: asks an aggregator or a store one question. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/cli/report.h"
#include "common/cli.h"
#include "common/log.h"

int cmd_query(int argc, char **argv);

enum {
	KEY_FROM = CLI_KEY_COMMAND,
	KEY_TO,
	KEY_BY,
	KEY_STEP,
	KEY_JSON,
	KEY_CA,
};

struct options {
	const char *where, *ca_file;
	struct report_question question;
	bool json;
};

static const struct argp_option options[] = {
	{ "from", KEY_FROM, "TIME", 0,
	  "Start: RFC 3339, seconds since 1970, or a duration like 1h before "
	  "now (5 minutes before the end)",
	  0 },
	{ "to", KEY_TO, "TIME", 0, "End, in the same format (now)", 0 },
	{ "by", KEY_BY, "LABEL,…", 0,
	  "Group by any of service, route, method, status, role, rpc, rpc_status "
	  "(service,role)",
	  0 },
	{ "step", KEY_STEP, "DURATION", 0,
	  "One row per this time, a multiple of 10s, or all (all)", 0 },
	{ "json", KEY_JSON, NULL, 0, "Print the JSON answer of the API", 0 },
	{ "ca-file", KEY_CA, "FILE", 0,
	  "CA certificates for an https:// URL (the system's)", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case KEY_FROM:
		o->question.from = arg;
		break;
	case KEY_TO:
		o->question.to = arg;
		break;
	case KEY_BY:
		o->question.by = arg;
		break;
	case KEY_STEP:
		o->question.step = arg;
		break;
	case KEY_JSON:
		o->json = true;
		break;
	case KEY_CA:
		o->ca_file = arg;
		break;
	case ARGP_KEY_ARG:
		if (o->where)
			argp_error(state, "more than one URL or store");
		o->where = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int cmd_query(int argc, char **argv)
{
	struct argp_child children[] = { { &cli_log_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[URL|STORE]",
		.doc = "Print rates, errors and durations, from the URL of an "
		       "aggregator (http://127.0.0.1:9470) or from a store "
		       "file or folder.",
		.children = children,
	};
	struct options o = { .question = { .by = "service,role",
					   .step = "all" } };
	struct report_layout layout = { 0 };
	struct report_source source;
	struct buf json = { 0 };
	int err;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (!o.where)
		o.where = "http://127.0.0.1:9470";
	err = report_open(&source, o.where, o.ca_file);
	if (err) {
		log_error("cannot open source=%s error=\"%s\"", o.where,
			  strerror(-err));
		return EXIT_FAILURE;
	}
	layout.times = strcmp(o.question.step, "all") != 0;
	err = report_ask(&source, &o.question, &json);
	if (!err && o.json)
		fwrite(json.data, 1, json.len, stdout);
	else if (!err)
		err = report_print(stdout, &json, &layout);
	if (err == -EPROTO)
		log_error("not an answer of an aggregator source=%s", o.where);
	buf_fini(&json);
	report_close(&source);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
