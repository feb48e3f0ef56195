/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that ask the running agent: list, describe, top, maps. */
#include <argp.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "probe-agent/commands/verbs.h"

enum {
	KEY_SOCKET = 0x300,
	KEY_JSON,
	KEY_RAW,
	KEY_ONCE,
};

struct talk_args {
	const char *socket, *name;
	bool json, raw, once;
};

static const struct argp_option options[] = {
	{ "socket", KEY_SOCKET, "PATH", 0, "Of the agent (" VERBS_SOCKET ")",
	  0 },
	{ "json", KEY_JSON, NULL, 0, "Print what the agent says, as it is", 0 },
	{ "raw", KEY_RAW, NULL, 0, "maps: keys as they are in the kernel", 0 },
	{ "once", KEY_ONCE, NULL, 0, "top: once, not every second", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct talk_args *a = state->input;

	switch (key) {
	case KEY_SOCKET:
		a->socket = arg;
		return 0;
	case KEY_JSON:
		a->json = true;
		return 0;
	case KEY_RAW:
		a->raw = true;
		return 0;
	case KEY_ONCE:
		a->once = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->name)
			argp_usage(state);
		a->name = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void parse_args(struct talk_args *a, const char *doc, int argc,
		       char **argv)
{
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[NAME]",
		.doc = doc,
	};

	*a = (struct talk_args){ .socket = VERBS_SOCKET };
	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, a);
}

/* --- the socket --- */

int verbs_connect(const char *socket_path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(socket_path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

int verbs_ask(const char *socket_path, const char *line, struct buf *out)
{
	int fd = verbs_connect(socket_path), err = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (dprintf(fd, "%s\n", line) < 0)
		err = -EIO;
	do {
		char *to = buf_reserve(out, 65536);

		n = to ? read(fd, to, 65536) : -1;
		if (n > 0)
			out->len += (size_t)n;
		else if (n < 0)
			err = out->err ? out->err : -errno;
	} while (n > 0);
	close(fd);
	return err;
}

static int complain_of_agent(const char *socket_path, int err)
{
	fprintf(stderr,
		"no agent with programs answers at %s: %s\n"
		"Is it running, with --programs.dir, and are you root?\n",
		socket_path, strerror(-err));
	return 1;
}

/* What the agent says, as JSON. NULL: printed. */
static json_t *ask_list(const struct talk_args *a)
{
	struct buf text = { 0 };
	int err = verbs_ask(a->socket, "list", &text);
	json_error_t e;
	json_t *list = NULL;

	if (err)
		complain_of_agent(a->socket, err);
	else if (a->json)
		fwrite(text.data, 1, text.len, stdout);
	if (!err)
		list = json_loadb(text.data, text.len, 0, &e);
	if (!err && !list)
		fprintf(stderr, "the agent's answer makes no sense: %s\n",
			e.text);
	buf_fini(&text);
	return list;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* --- list, describe --- */

int verbs_list(int argc, char **argv)
{
	struct talk_args a;
	json_t *list, *p;
	size_t i;

	parse_args(&a, "Lists the programs of the running agent.", argc, argv);
	list = ask_list(&a);
	if (!list)
		return 1;
	if (!a.json)
		printf("%-24s %-12s %-16s %-12s %s\n", "NAME", "STATE",
		       "FORMAT", "DIGEST", "FILE");
	json_array_foreach(list, i, p) if (!a.json)
		printf("%-24s %-12s %-16s %-12.12s %s\n", text_of(p, "name"),
		       text_of(p, "state"), text_of(p, "format"),
		       text_of(p, "digest"), text_of(p, "file"));
	json_decref(list);
	return 0;
}

static void describe_one(const json_t *p)
{
	json_t *m;
	size_t i;

	printf("name      %s\nfile      %s\nformat    %s\nstate     %s\n",
	       text_of(p, "name"), text_of(p, "file"), text_of(p, "format"),
	       text_of(p, "state"));
	if (*text_of(p, "reason"))
		printf("reason    %s\n", text_of(p, "reason"));
	printf("digest    sha256:%s\npinned    %s\nruns      %lld\n"
	       "cpu       %.3f %%\n",
	       text_of(p, "digest"),
	       json_is_true(json_object_get(p, "pinned")) ? "yes" : "no",
	       number_of(p, "runs"),
	       json_real_value(json_object_get(p, "cpu")) * 100);
	json_array_foreach(json_object_get(p, "maps"), i, m)
	{
		printf("map       %s: %s, %lld of %lld entries, %lld KiB",
		       text_of(m, "name"), text_of(m, "guarantee"),
		       number_of(m, "entries"), number_of(m, "max_entries"),
		       number_of(m, "memory") / 1024);
		if (*text_of(m, "complaint"))
			printf(", not decoded: %s", text_of(m, "complaint"));
		putchar('\n');
	}
}

int verbs_describe(int argc, char **argv)
{
	struct talk_args a;
	json_t *list, *p;
	bool found = false;
	size_t i;

	parse_args(&a, "Prints all that is known of a program of the agent.",
		   argc, argv);
	if (!a.name) {
		fprintf(stderr, "%s: which program? See `program list`.\n",
			argv[0]);
		return 2;
	}
	list = ask_list(&a);
	if (!list)
		return 1;
	json_array_foreach(list, i, p) if (!strcmp(text_of(p, "name"), a.name))
	{
		found = true;
		if (!a.json)
			describe_one(p);
	}
	json_decref(list);
	if (!found)
		fprintf(stderr, "the agent has no program %s\n", a.name);
	return found ? 0 : 1;
}

/* --- top --- */

static void print_top(const json_t *list)
{
	json_t *p;
	size_t i;

	printf("%-24s %-12s %12s %8s %8s %10s %8s %8s\n", "NAME", "STATE",
	       "RUNS", "NS/RUN", "CPU %", "ENTRIES", "SERIES", "LOST");
	json_array_foreach(list, i, p)
	{
		long long runs = number_of(p, "runs");
		long long ns = number_of(p, "run_ns") + number_of(p, "trap_ns");

		printf("%-24s %-12s %12lld %8lld %8.3f %10lld %8lld %8lld\n",
		       text_of(p, "name"), text_of(p, "state"), runs,
		       runs > 0 ? ns / runs : 0,
		       json_real_value(json_object_get(p, "cpu")) * 100,
		       number_of(p, "entries"), number_of(p, "series"),
		       number_of(p, "lost"));
	}
}

int verbs_top(int argc, char **argv)
{
	struct talk_args a;
	json_t *list;

	parse_args(&a,
		   "Shows what programs cost: runs and their time, traps "
		   "included.",
		   argc, argv);
	for (;;) {
		list = ask_list(&a);
		if (!list)
			return 1;
		if (!a.once && isatty(STDOUT_FILENO))
			fputs("\033[H\033[J", stdout);
		if (!a.json)
			print_top(list);
		json_decref(list);
		fflush(stdout);
		if (a.once || a.json)
			return 0;
		sleep(1);
	}
}

/* --- maps --- */

int verbs_maps(int argc, char **argv)
{
	struct buf text = { 0 };
	struct talk_args a;
	char line[512];
	int err;

	parse_args(&a,
		   "Prints what was in programs' maps at the last read: key, "
		   "labels, value.",
		   argc, argv);
	snprintf(line, sizeof(line), "maps%s%s%s", a.name ? " " : "",
		 a.name ? a.name : "", a.raw ? " raw" : "");
	err = verbs_ask(a.socket, line, &text);
	if (err) {
		complain_of_agent(a.socket, err);
	} else if (text.len > 6 && !strncmp(text.data, "error ", 6)) {
		fprintf(stderr, "%.*s", (int)text.len - 6, text.data + 6);
		err = -EINVAL;
	} else {
		fwrite(text.data, 1, text.len, stdout);
	}
	buf_fini(&text);
	return err ? 1 : 0;
}
