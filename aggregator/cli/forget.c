/* SPDX-License-Identifier: Apache-2.0 */

/* `redtap-aggregator forget`: for nodes that will not come back. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/cli/report.h"
#include "aggregator/store/checkpoint.h"
#include "common/cli.h"
#include "common/log.h"

int cmd_forget(int argc, char **argv);

#define ANSWER_MAX 4096u

enum {
	KEY_CA = CLI_KEY_COMMAND,
};

struct options {
	const char *node, *where, *ca_file;
};

static const struct argp_option options[] = {
	{ "ca-file", KEY_CA, "FILE", 0,
	  "CA certificates for an https:// URL (the system's)", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case KEY_CA:
		o->ca_file = arg;
		break;
	case ARGP_KEY_ARG:
		if (o->where)
			argp_error(state, "too many arguments: '%s'", arg);
		*(o->node ? &o->where : &o->node) = arg;
		break;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "no node given");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int ask_aggregator(struct report_source *s, const char *node)
{
	struct buf path = { 0 }, answer = { .max = ANSWER_MAX };
	int status;

	buf_puts(&path, "/-/forget?");
	report_put_argument(&path, "node", node);
	status = buf_str(&path)
			 ? client_post(s->client, s->where, path.data, &answer)
			 : -ENOMEM;
	if (status == -EIO)
		log_error("no answer url=%s error=\"%s\"", s->where,
			  client_error(s->client));
	else if (status == 403)
		log_error("the aggregator needs --web.enable-lifecycle url=%s",
			  s->where);
	else if (status != 200 && status != 404)
		log_error(
			"the aggregator refuses url=%s status=%d reason=\"%s\"",
			s->where, status, buf_str(&answer) ? answer.data : "");
	buf_fini(&path);
	buf_fini(&answer);
	return status == 200 ? 0 : status == 404 ? -ENOENT : -EIO;
}

/* The folder of the database. */
static int forget_in_store(const char *path, const char *node)
{
	char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
	struct store *st = NULL;
	int err = dir ? 0 : -ENOMEM, n = 0;

	if (slash)
		slash[slash == dir] = '\0';
	if (!err)
		err = store_open(&st, slash ? dir : ".");
	if (!err)
		n = checkpoint_forget(st, node);
	if (n == -EBUSY)
		log_error("the store's aggregator did not stop orderly: start "
			  "and stop it once store=%s",
			  path);
	store_close(st);
	free(dir);
	if (err < 0 || n < 0)
		return err < 0 ? err : n;
	return n > 0 ? 0 : -ENOENT;
}

int cmd_forget(int argc, char **argv)
{
	struct argp_child children[] = { { &cli_log_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "NODE [URL|STORE]",
		.doc = "Forget a node that will not come back: its agent's "
		       "metrics are not shown any more, the requests that it "
		       "sent still count. From the URL of an aggregator with "
		       "--web.enable-lifecycle (http://127.0.0.1:9470), or in a "
		       "store that is not in use.",
		.children = children,
	};
	struct options o = { .node = NULL };
	struct report_source source;
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
	err = source.client ? ask_aggregator(&source, o.node)
			    : forget_in_store(source.store_path, o.node);
	if (err == -ENOENT)
		log_error("no such node node=%s where=%s", o.node, o.where);
	else if (!err)
		log_info("forgotten node=%s", o.node);
	report_close(&source);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
