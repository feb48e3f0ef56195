/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `program run`: a program that lives as long as the command. The running agent
 * loads it, so that its metrics go the usual way; where none runs, a process of
 * this command does.
 */

#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/clock.h"
#include "probe-agent/commands/run_local.h"
#include "probe-agent/commands/run_view.h"
#include "probe-agent/commands/verbs.h"

#define HINTS_MAX 16
#define DRAW_NS CLOCK_NS_PER_S

enum {
	KEY_FOR = 0x300,
	KEY_NO_TTY,
	KEY_TO,
	KEY_NODE,
	KEY_SOCKET,
	KEY_ALLOW,
};

struct run_args {
	const char *what, *to, *node, *socket;
	uint64_t for_ms;
	bool no_tty, xdp;
	const char *filter[HINTS_MAX], *bounds[HINTS_MAX], *value[HINTS_MAX];
	size_t n_filters, n_bounds, n_values;
};

static const struct argp_option options[] = {
	{ "for", KEY_FOR, "DURATION", 0, "End after this time", 0 },
	{ "filter", 'f', "MAP,LABEL,REGEX", 0,
	  "Show only keys of the map whose label matches", 0 },
	{ "hist-buckets", 'b', "MAP,[1,2,4…]", 0,
	  "Bounds of the histogram that events of the map become", 0 },
	{ "hist-value-key", 'k', "MAP,MEMBER", 0,
	  "The member of its events that the histogram is of", 0 },
	{ "no-tty", KEY_NO_TTY, NULL, 0,
	  "Print a line of JSON for each key that changes, and each event", 0 },
	{ "to", KEY_TO, "URL", 0,
	  "Push its metrics to this aggregator, where no agent runs", 0 },
	{ "node", KEY_NODE, "NAME", 0,
	  "Name of this node then (the host's name, with /run behind it)", 0 },
	{ "socket", KEY_SOCKET, "PATH", 0, "Of the agent (" VERBS_SOCKET ")",
	  0 },
	{ "allow", KEY_ALLOW, "xdp", 0, "Programs of this type are allowed",
	  0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct run_args *a = state->input;

	switch (key) {
	case KEY_FOR:
		if (cli_parse_duration_ms(arg, &a->for_ms))
			argp_error(state, "--for: '%s' is no duration", arg);
		return 0;
	case 'f':
		if (a->n_filters < HINTS_MAX)
			a->filter[a->n_filters++] = arg;
		return 0;
	case 'b':
		if (a->n_bounds < HINTS_MAX)
			a->bounds[a->n_bounds++] = arg;
		return 0;
	case 'k':
		if (a->n_values < HINTS_MAX)
			a->value[a->n_values++] = arg;
		return 0;
	case KEY_NO_TTY:
		a->no_tty = true;
		return 0;
	case KEY_TO:
		a->to = arg;
		return 0;
	case KEY_NODE:
		a->node = arg;
		return 0;
	case KEY_SOCKET:
		a->socket = arg;
		return 0;
	case KEY_ALLOW:
		a->xdp = !strcmp(arg, "xdp");
		return a->xdp ? 0 : EINVAL;
	case ARGP_KEY_ARG:
		if (a->what)
			argp_usage(state);
		a->what = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->what)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- where lines come from --- */

struct source {
	int fd;
	pid_t pid; /* of a process of ours; 0: the agent has it */
};

static int take_hints(const struct run_args *a, struct spec *s)
{
	int err = 0;

	for (size_t i = 0; i < a->n_bounds && !err; i++)
		err = spec_hint_bounds(s, a->bounds[i]);
	for (size_t i = 0; i < a->n_values && !err; i++)
		err = spec_hint_value(s, a->value[i]);
	if (err == -EINVAL)
		fputs("-b must be MAP,1,2,4 …, -k MAP,MEMBER\n", stderr);
	return err;
}

/* What the agent reads: a file, or the object that was made of a source. */
static int ask_agent(const struct run_args *a, const struct spec *list,
		     struct source *out)
{
	const char *path = list[0].file && strcmp(list[0].file, a->what) != 0
				   ? list[0].object
				   : a->what;
	char *whole = realpath(path, NULL);
	struct buf line = { 0 };
	int fd = verbs_connect(a->socket), err = 0;

	if (fd < 0 || !whole) {
		free(whole);
		return fd < 0 ? fd : -errno;
	}
	buf_printf(&line, "run %s", whole);
	for (size_t i = 0; i < a->n_bounds; i++)
		buf_printf(&line, "\tb:%s", a->bounds[i]);
	for (size_t i = 0; i < a->n_values; i++)
		buf_printf(&line, "\tk:%s", a->value[i]);
	buf_putc(&line, '\n');
	if (line.err || send(fd, line.data, line.len, MSG_NOSIGNAL) < 0)
		err = -EIO;
	buf_fini(&line);
	free(whole);
	*out = (struct source){ .fd = fd };
	return err;
}

static int start_own(const struct run_args *a, struct spec *list, size_t n,
		     struct source *out)
{
	char node[300], host[256] = "localhost";
	struct run_local_options opt = {
		.spec = list,
		.n = n,
		.to = a->to,
		.node = a->node,
		.xdp = a->xdp,
	};

	gethostname(host, sizeof(host) - 1);
	snprintf(node, sizeof(node), "%s/run", host);
	if (!opt.node)
		opt.node = node;
	if (geteuid() != 0)
		fputs("not root: loading will be refused\n", stderr);
	return run_local_start(&opt, &out->fd, &out->pid);
}

/* --- showing them --- */

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

struct lines {
	struct run_view *view;
	struct buf buf;
	bool begun; /* the first line was "ok" */
	int status;
};

static void take_line(struct lines *l, const char *line)
{
	if (l->begun) {
		run_view_line(l->view, line);
		return;
	}
	if (!strncmp(line, "ok", 2)) {
		l->begun = true;
		if (line[2] && line[3])
			fprintf(stderr, "%s\n", line + 3);
		return;
	}
	fprintf(stderr, "%s\n", !strncmp(line, "error ", 6) ? line + 6 : line);
	l->status = 1;
}

/* False: there are no more. */
static bool read_lines(struct lines *l, int fd)
{
	char *to = buf_reserve(&l->buf, 65536), *end;
	ssize_t n = to ? read(fd, to, 65536) : 0;
	size_t at = 0;

	if (n < 0)
		return errno == EINTR;
	if (n == 0)
		return false;
	l->buf.len += (size_t)n;
	while ((end = memchr(l->buf.data + at, '\n', l->buf.len - at))) {
		*end = '\0';
		take_line(l, l->buf.data + at);
		at = (size_t)(end + 1 - l->buf.data);
	}
	memmove(l->buf.data, l->buf.data + at, l->buf.len - at);
	l->buf.len -= at;
	return true;
}

/* Has it end: a last read, whose lines still come. */
static void end_source(const struct source *s)
{
	if (s->pid > 0)
		kill(s->pid, SIGTERM);
	else
		shutdown(s->fd, SHUT_WR);
}

static int show(const struct run_args *a, const struct source *s,
		struct run_view *view)
{
	uint64_t start_ns = clock_mono_ns(), drawn_ns = start_ns;
	struct lines l = { .view = view };
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	bool ending = false, more = true;

	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	while (more) {
		uint64_t now_ns;

		if (poll(&p, 1, 100) > 0)
			more = read_lines(&l, s->fd);
		now_ns = clock_mono_ns();
		if (!ending &&
		    (interrupted ||
		     (a->for_ms > 0 &&
		      now_ns - start_ns >= a->for_ms * CLOCK_NS_PER_MS))) {
			ending = true;
			end_source(s);
		}
		if (l.begun && now_ns - drawn_ns >= DRAW_NS) {
			run_view_draw(view);
			drawn_ns = now_ns;
		}
		fflush(stdout);
	}
	if (l.begun)
		run_view_draw(view);
	buf_fini(&l.buf);
	return l.begun ? l.status : 1;
}

static int run_it(const struct run_args *a, struct spec *list, size_t n)
{
	const struct run_view_options vo = {
		.out = stdout,
		.table = !a->no_tty && isatty(STDOUT_FILENO),
		.filter = a->filter,
		.n_filters = a->n_filters,
	};
	struct run_view *view;
	struct source s = { 0 };
	int err = run_view_new(&view, &vo), status = 0;

	if (err) {
		fputs("-f must be MAP,LABEL,REGEX\n", stderr);
		return 2;
	}
	for (size_t i = 0; i < n && !err; i++)
		err = take_hints(a, &list[i]);
	if (err) {
		run_view_free(view);
		return 2;
	}
	err = a->to ? -ENOENT : ask_agent(a, list, &s);
	if (err == -ENOENT || err == -ECONNREFUSED || err == -EACCES)
		err = start_own(a, list, n, &s);
	if (!err)
		err = show(a, &s, view);
	else
		fprintf(stderr, "cannot run it: %s\n", strerror(-err));
	if (s.pid > 0)
		waitpid(s.pid, &status, 0);
	run_view_free(view);
	return err || status ? 1 : 0;
}

int verbs_run(int argc, char **argv)
{
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "WHAT",
		.doc = "Runs a program as long as this command. With an agent, "
		       "that loads it, and its metrics are counted like all "
		       "others.",
	};
	struct run_args a = { .socket = VERBS_SOCKET };
	struct spec *list;
	size_t n;
	int status;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &a);
	status = verbs_specs(a.what, &list, &n);
	if (status)
		return status;
	status = run_it(&a, list, n);
	spec_free(list, n);
	return status;
}
