/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/gaps/gaps.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe-agent/gaps/gaps_sockets.h"
#include "probe-agent/gaps/gaps_tls.h"
#include "probe-agent/tls/tls_scan.h"

#define NAMESPACES 64 /* of the network, kept; the oldest is read anew */

struct net {
	ino_t ino; /* of /proc/PID/ns/net; 0: free */
	struct gaps_sockets sockets;
};

struct gaps {
	struct gaps_options opt;
	struct gaps_tls *tls;
	struct net net[NAMESPACES];
	size_t next_net;
	struct gaps_row *row;
	size_t n, cap;
	struct gaps_left_out left_out;
	int err;
};

/* One port of a process. */
struct end {
	enum role role;
	uint16_t port;
	bool udp;
};

struct seen {
	struct end end[GAPS_ENDS_MAX];
	size_t n;
	bool uring;
};

/* --- sockets of a process --- */

/* NULL: the namespace can't be read; g->err is set without memory. */
static const struct gaps_sockets *sockets_of(struct gaps *g, uint32_t pid)
{
	char path[64];
	struct net *net;
	struct stat st;
	int err;

	snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
	if (stat(path, &st))
		return NULL;
	for (size_t i = 0; i < NAMESPACES; i++)
		if (g->net[i].ino == st.st_ino)
			return &g->net[i].sockets;
	net = &g->net[g->next_net];
	g->next_net = (g->next_net + 1) % NAMESPACES;
	gaps_sockets_fini(&net->sockets);
	err = gaps_sockets_read(&net->sockets, "/proc", pid);
	g->left_out.sockets += net->sockets.left_out;
	net->ino = err ? 0 : st.st_ino;
	if (err == -ENOMEM)
		g->err = err;
	return err ? NULL : &net->sockets;
}

static void add_end(struct gaps *g, struct seen *s, const struct end *end)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->end[i].role == end->role &&
		    s->end[i].port == end->port && s->end[i].udp == end->udp)
			return;
	if (s->n == GAPS_ENDS_MAX)
		g->left_out.sockets++;
	else
		s->end[s->n++] = *end;
}

static void inspect_link(struct gaps *g, const struct gaps_sockets *sockets,
			 const char *link, struct seen *s)
{
	const struct gaps_socket *socket;
	unsigned long long inode;
	struct end end;

	if (!strcmp(link, "anon_inode:[io_uring]"))
		s->uring = true;
	if (sscanf(link, "socket:[%llu]", &inode) != 1)
		return;
	socket = gaps_sockets_find(sockets, inode);
	if (!socket)
		return;
	end.udp = socket->udp;
	end.role = gaps_sockets_role(sockets, socket, &end.port);
	add_end(g, s, &end);
}

/* Returns 0, or negative errno: its descriptors can't be read. */
static int find_ends(struct gaps *g, uint32_t pid, struct seen *s)
{
	const struct gaps_sockets *sockets;
	struct dirent *entry;
	char path[64], link[64];
	ssize_t n;
	DIR *dir;

	s->n = 0;
	s->uring = false;
	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	sockets = sockets_of(g, pid);
	while (sockets && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, link,
			       sizeof(link) - 1);
		if (n <= 0)
			continue;
		link[n] = '\0';
		inspect_link(g, sockets, link, s);
	}
	closedir(dir);
	return sockets ? 0 : -EACCES;
}

/* --- reasons --- */

static void add_row(struct gaps *g, const struct gaps_row *row)
{
	if (g->err)
		return;
	for (size_t i = 0; i < g->n; i++) {
		const struct gaps_row *r = &g->row[i];

		if (r->reason == row->reason && r->port == row->port &&
		    r->role == row->role && !strcmp(r->service, row->service))
			return;
	}
	if (g->n == GAPS_ROWS_MAX) {
		g->left_out.rows++;
		return;
	}
	if (g->n == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 64;
		void *p = realloc(g->row, cap * sizeof(*g->row));

		if (!p) {
			g->err = -ENOMEM;
			return;
		}
		g->row = p;
		g->cap = cap;
	}
	g->row[g->n] = *row;
	g->row[g->n].service = strdup(row->service);
	if (!g->row[g->n].service)
		g->err = -ENOMEM;
	else
		g->n++;
}

static bool is_32_bit(uint32_t pid)
{
	unsigned char ident[EI_NIDENT] = { 0 };
	char path[64];
	bool is = false;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, ident, sizeof(ident)) == (ssize_t)sizeof(ident))
		is = !memcmp(ident, ELFMAG, SELFMAG) &&
		     ident[EI_CLASS] == ELFCLASS32;
	close(fd);
	return is;
}

/* Sets the reasons that hold for all TCP sockets of a process. */
static void find_reasons(struct gaps *g, uint32_t pid, bool uring,
			 bool reason[UNSEEN_REASONS])
{
	int tls = gaps_tls_of(g->tls, pid);

	memset(reason, 0, UNSEEN_REASONS * sizeof(*reason));
	if (tls == -EACCES || tls == -EPERM)
		g->left_out.processes++;
	if (tls < 0)
		tls = 0;
	reason[UNSEEN_TLS_PROGRAM] = tls & GAPS_TLS_PROGRAM;
	reason[UNSEEN_TLS_GO] = tls & GAPS_TLS_GO;
	reason[UNSEEN_TLS_JAVA] = tls & GAPS_TLS_JAVA;
	reason[UNSEEN_TLS_LIBRARY] = tls & GAPS_TLS_LIBRARY;
	reason[UNSEEN_TLS_OFF] = g->opt.tls_off && (tls & GAPS_TLS_KNOWN);
	reason[UNSEEN_URING] = uring;
	reason[UNSEEN_BITS32] = is_32_bit(pid);
	for (size_t i = 0; i < UNSEEN_REASONS; i++)
		reason[i] &= unseen_with(&unseen_table[i], g->opt.front);
}

static void add_rows(struct gaps *g, uint32_t pid, const struct end *end,
		     const bool reason[UNSEEN_REASONS])
{
	struct endpoint e = { .tgid = pid };
	const struct identity *id;
	struct gaps_row row = { .pid = pid,
				.role = end->role,
				.port = end->port };

	if (end->role == ROLE_SERVER)
		e.local_port = end->port;
	else
		e.remote_port = end->port;
	id = identity_lookup(g->opt.identity, &e);
	if (id->self || id->gone)
		return;
	row.service = (char *)(uintptr_t)id->service;
	if (!filter_follows(g->opt.filter, &e, id)) {
		row.reason = UNSEEN_EXCLUDED;
		add_row(g, &row);
	} else if (end->udp) {
		row.reason = UNSEEN_HTTP3;
		add_row(g, &row);
	} else {
		for (size_t i = 0; i < UNSEEN_REASONS; i++) {
			row.reason = (enum unseen_reason)i;
			if (reason[i])
				add_row(g, &row);
		}
	}
}

static bool inspect_process(void *arg, uint32_t pid)
{
	bool reason[UNSEEN_REASONS];
	struct gaps *g = arg;
	struct seen seen;
	int err = find_ends(g, pid, &seen);

	if (err == -EACCES || err == -EPERM)
		g->left_out.processes++;
	if (err || !seen.n)
		return !g->err;
	find_reasons(g, pid, seen.uring, reason);
	for (size_t i = 0; i < seen.n; i++)
		add_rows(g, pid, &seen.end[i], reason);
	return !g->err;
}

/* --- the whole node --- */

static int compare_gaps(const void *pa, const void *pb)
{
	const struct gaps_row *a = pa, *b = pb;
	int order;

	if (a->reason != b->reason)
		return a->reason < b->reason ? -1 : 1;
	order = strcmp(a->service, b->service);
	if (order)
		return order;
	if (a->role != b->role)
		return a->role < b->role ? -1 : 1;
	return a->port < b->port ? -1 : a->port > b->port;
}

int gaps_find(struct gaps **out, const struct gaps_options *opt)
{
	struct gaps *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	g->opt = *opt;
	err = gaps_tls_new(&g->tls);
	if (!err && opt->pid)
		inspect_process(g, opt->pid);
	else if (!err)
		err = tls_scan_processes(inspect_process, g);
	if (!err)
		err = g->err;
	if (err) {
		gaps_free(g);
		return err;
	}
	if (g->n)
		qsort(g->row, g->n, sizeof(*g->row), compare_gaps);
	g->left_out.files = gaps_tls_left_out(g->tls);
	*out = g;
	return 0;
}

void gaps_free(struct gaps *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < NAMESPACES; i++)
		gaps_sockets_fini(&g->net[i].sockets);
	for (size_t i = 0; i < g->n; i++)
		free(g->row[i].service);
	free(g->row);
	gaps_tls_free(g->tls);
	free(g);
}

size_t gaps_rows(const struct gaps *g, const struct gaps_row **out)
{
	*out = g->row;
	return g->n;
}

void gaps_left_out(const struct gaps *g, struct gaps_left_out *out)
{
	*out = g->left_out;
}

uint64_t gaps_services(const struct gaps *g, enum unseen_reason reason)
{
	const char *last = NULL;
	uint64_t n = 0;

	for (size_t i = 0; i < g->n; i++) {
		if (g->row[i].reason != reason)
			continue;
		n += !last || strcmp(last, g->row[i].service) != 0;
		last = g->row[i].service;
	}
	return n;
}
