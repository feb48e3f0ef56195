/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Questions to the worker: from commands, over a socket in the file system that
 * only its owner may open, and from browsers, at a loopback address. A request
 * is one line and answered at once; only `run` goes on.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "probe-agent/worker/rows.h"
#include "probe-agent/worker/worker_state.h"

#define CLIENTS_MAX 16u
#define LINE_MAX_BYTES 8192u
#define UNSENT_MAX                                                             \
	(4u << 20) /* of a client that does not read: it is closed             \
		    */

struct worker_client {
	struct worker_client *next;
	struct worker *w;
	int fd;
	bool page; /* it asks by HTTP */
	bool runs; /* a program, until it hangs up */
	bool over; /* hang up once all is sent */
	struct buf line, out;
	size_t sent;
	uint64_t skipped; /* rows that there was no room for */
};

/* --- listening --- */

static int listen_at(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char folder[sizeof(sa.sun_path)], *slash;
	int fd;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	strcpy(folder, path);
	slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = '\0';
		mkdir(folder, 0755);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	umask(umask(0077) | 0077);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 8)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* "127.0.0.1:9472"; no other than loopback. */
static int listen_on(const char *address)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	const char *colon = strrchr(address, ':');
	char host[64];
	int fd, on = 1, err = 0;

	if (!colon ||
	    snprintf(host, sizeof(host), "%.*s", (int)(colon - address),
		     address) >= (int)sizeof(host))
		return -EINVAL;
	if (!*host || !strcmp(host, "localhost"))
		strcpy(host, "127.0.0.1");
	if (inet_pton(AF_INET, host, &sa.sin_addr) != 1 ||
	    ntohl(sa.sin_addr.s_addr) >> 24 != 127)
		return -EINVAL;
	sa.sin_port = htons((uint16_t)atoi(colon + 1));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 8))
		err = -errno;
	if (err)
		close(fd);
	return err ? err : fd;
}

int worker_listen(struct worker *w)
{
	if (w->opt->socket) {
		w->listener = listen_at(w->opt->socket);
		if (w->listener < 0)
			log_warn("no socket for commands path=%s error=\"%s\"",
				 w->opt->socket, strerror(-w->listener));
	}
	if (w->opt->debug_address) {
		w->debug = listen_on(w->opt->debug_address);
		if (w->debug < 0)
			log_warn("no debug pages address=%s error=\"%s\"",
				 w->opt->debug_address, strerror(-w->debug));
	}
	return 0;
}

/* Its programs end; what they counted last is shown, too. */
static void end_runs(struct worker_client *c)
{
	struct worker *w = c->w;

	for (size_t i = w->n_programs; i-- > 0;)
		if (w->program[i].client == c) {
			worker_end(w, &w->program[i]);
			worker_remove(w, i);
		}
}

static void free_client(struct worker_client *c)
{
	end_runs(c);
	close(c->fd);
	buf_fini(&c->line);
	buf_fini(&c->out);
	free(c);
}

void worker_unlisten(struct worker *w)
{
	while (w->clients) {
		struct worker_client *next = w->clients->next;

		free_client(w->clients);
		w->clients = next;
	}
	if (w->listener >= 0) {
		unlink(w->opt->socket);
		close(w->listener);
	}
	if (w->debug >= 0)
		close(w->debug);
}

/* --- what is asked --- */

static struct program *find_program(struct worker *w, const char *name)
{
	for (size_t i = 0; i < w->n_programs; i++)
		if (!strcmp(program_name(w->program[i].program), name))
			return w->program[i].program;
	return NULL;
}

static void put_list(struct worker *w, struct buf *out)
{
	buf_putc(out, '[');
	for (size_t i = 0; i < w->n_programs; i++) {
		buf_puts(out, i ? ",\n" : "");
		rows_put_program(out, w->program[i].program);
	}
	buf_puts(out, "]\n");
}

static void put_all_maps(struct worker *w, struct buf *out, bool raw)
{
	for (size_t i = 0; i < w->n_programs; i++)
		rows_put_maps(out, w->program[i].program, raw);
}

static void on_row(void *arg, const struct table_row *row)
{
	struct worker_client *c = arg;

	if (c->out.len - c->sent > UNSENT_MAX)
		c->skipped++;
	else
		rows_put_json(&c->out, row);
}

static void watch_tables(struct worker_client *c, struct program *p)
{
	struct table *t;

	for (size_t i = 0; (t = program_table(p, i)); i++)
		table_watch(t, on_row, c);
}

static int add_run(struct worker_client *c, struct spec *s)
{
	static const uint8_t none[SHA256_BYTES];
	struct worker *w = c->w;
	struct worker_program *wp;
	int err;

	if (find_program(w, s->name)) {
		buf_printf(&c->out, "error a program %s runs already\n",
			   s->name);
		return -EEXIST;
	}
	s->limits.interval_ms = 1000;
	s->pin = false;
	err = worker_add(w, s, none, &wp);
	if (err)
		return err;
	wp->client = c;
	program_show_prints(wp->program);
	err = worker_begin(w, wp);
	if (program_state(wp->program) == SAMPLES_FAILED ||
	    program_state(wp->program) == SAMPLES_QUARANTINED) {
		buf_printf(&c->out, "error %s\n", program_reason(wp->program));
		return -EINVAL;
	}
	buf_printf(&c->out, "ok %s\n", program_reason(wp->program));
	watch_tables(c, wp->program);
	return err;
}

/* "PATH", or "PATH\tk:MAP,MEMBER\tb:MAP,1,2,4" */
static int take_hints(struct spec *s, const char *hint)
{
	int err = 0;

	for (; hint && !err; hint = strchr(hint, '\t')) {
		char one[1024];

		hint++;
		snprintf(one, sizeof(one), "%.*s", (int)strcspn(hint, "\t"),
			 hint);
		if (!strncmp(one, "k:", 2))
			err = spec_hint_value(s, one + 2);
		else if (!strncmp(one, "b:", 2))
			err = spec_hint_bounds(s, one + 2);
	}
	return err;
}

static void run_file(struct worker_client *c, char *path)
{
	const struct spec_options opt = { .prefix = c->w->opt->prefix,
					  .limits = &c->w->opt->limits };
	struct spec_error e = { 0 };
	struct spec *list = NULL;
	char *hint = strchr(path, '\t'), none[1] = "";
	size_t n = 0, len = strcspn(path, "\t");
	int err;

	*(hint ? hint : none) = '\0';
	if (len > 2 && !strcmp(path + len - 2, ".o")) {
		list = calloc(1, sizeof(*list));
		n = 1;
		err = list ? spec_for_object(list, path, &opt) : -ENOMEM;
	} else {
		err = spec_load(&list, &n, path, &opt, &e);
	}
	if (err)
		buf_printf(&c->out, "error %s:%u: %s\n", path, e.line,
			   e.what[0] ? e.what : strerror(-err));
	if (hint)
		*hint = '\t';
	for (size_t i = 0; i < n && !err; i++) {
		err = take_hints(&list[i], hint);
		if (!err)
			err = add_run(c, &list[i]);
	}
	spec_free(list, n);
	c->runs = !err;
	c->over = err;
}

static void answer(struct worker_client *c, char *line)
{
	char *word = strtok(line, " "), *what = strtok(NULL, " ");
	bool raw = what && strtok(NULL, " ");
	struct program *p;

	c->over = true;
	if (!word)
		return;
	if (!strcmp(word, "list")) {
		put_list(c->w, &c->out);
	} else if (!strcmp(word, "maps") && !what) {
		put_all_maps(c->w, &c->out, false);
	} else if (!strcmp(word, "maps")) {
		p = find_program(c->w, what);
		if (p)
			rows_put_maps(&c->out, p, raw);
		else
			buf_printf(&c->out, "error there is no program %s\n",
				   what);
	} else if (!strcmp(word, "reload")) {
		if (worker_scan(c->w) == -ENOMEM)
			c->w->err = -ENOMEM;
		buf_puts(&c->out, "ok\n");
	} else {
		buf_puts(&c->out, "error unknown command\n");
	}
}

static void answer_page(struct worker_client *c, const char *line)
{
	struct buf body = { 0 };
	bool maps = !strncmp(line, "GET /maps ", 10);
	bool tables = !strncmp(line, "GET /tables ", 12);

	c->over = true;
	if (maps || tables)
		put_all_maps(c->w, &body, maps);
	else
		buf_puts(&body, "there are /maps and /tables\n");
	buf_printf(&c->out,
		   "HTTP/1.0 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
		   "Content-Length: %zu\r\n\r\n",
		   maps || tables ? "200 OK" : "404 Not Found", body.len);
	buf_append(&c->out, body.data, body.len);
	buf_fini(&body);
}

/* --- clients --- */

static void accept_client(struct worker *w, int listener, bool page)
{
	struct worker_client *c;
	size_t n = 0;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (c = w->clients; c; c = c->next)
		n++;
	c = n < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->w = w;
	c->fd = fd;
	c->page = page;
	c->line.max = LINE_MAX_BYTES;
	c->next = w->clients;
	w->clients = c;
}

/* Its line, or its end. */
static void read_client(struct worker_client *c)
{
	char *to = buf_reserve(&c->line, 1024), *end;
	ssize_t n = to ? recv(c->fd, to, 1024, MSG_DONTWAIT) : 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end_runs(c);
		c->over = true;
		return;
	}
	if (c->runs || c->over)
		return; /* nothing more is asked */
	c->line.len += (size_t)n;
	end = memchr(c->line.data, '\n', c->line.len);
	if (!end)
		return;
	*end = '\0';
	if (end > c->line.data && end[-1] == '\r')
		end[-1] = '\0';
	if (c->page)
		answer_page(c, c->line.data);
	else if (!strncmp(c->line.data, "run ", 4))
		run_file(c, c->line.data + 4);
	else
		answer(c, c->line.data);
}

static void write_client(struct worker_client *c)
{
	while (c->sent < c->out.len) {
		ssize_t n =
			send(c->fd, c->out.data + c->sent, c->out.len - c->sent,
			     MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			c->over = true;
			break;
		}
		c->sent += (size_t)n;
	}
	buf_reset(&c->out);
	c->sent = 0;
}

size_t worker_control_poll(struct worker *w, struct pollfd *p, size_t max)
{
	size_t n = 0;

	if (w->listener >= 0)
		p[n++] = (struct pollfd){ .fd = w->listener, .events = POLLIN };
	if (w->debug >= 0)
		p[n++] = (struct pollfd){ .fd = w->debug, .events = POLLIN };
	for (struct worker_client *c = w->clients; c && n < max; c = c->next)
		p[n++] = (struct pollfd){
			.fd = c->fd,
			.events = (short)(POLLIN |
					  (c->out.len > c->sent ? POLLOUT : 0)),
		};
	return n;
}

static short events_of(const struct pollfd *p, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].fd == fd)
			return p[i].revents;
	return 0;
}

void worker_control_turn(struct worker *w, const struct pollfd *p, size_t n)
{
	struct worker_client **at = &w->clients;

	while (*at) {
		struct worker_client *c = *at;

		if (events_of(p, n, c->fd) & (POLLIN | POLLHUP | POLLERR))
			read_client(c);
		write_client(c);
		if (c->over && c->sent == c->out.len) {
			*at = c->next;
			free_client(c);
		} else {
			at = &c->next;
		}
	}
	if (w->listener >= 0 && events_of(p, n, w->listener))
		accept_client(w, w->listener, false);
	if (w->debug >= 0 && events_of(p, n, w->debug))
		accept_client(w, w->debug, true);
}
