/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"

#define CAP_DEFAULT 4096
#define ENVIRON_MAX_BYTES (256u << 10)
#define CGROUP_MAX_BYTES (16u << 10)
#define CONTAINER_ID_LEN 64
#define INSTANCE_ID_LEN 12
#define NO_RULE UINT_MAX

/*
 * The entries of one bucket are a list; all entries are also in a list by last
 * use, whose tail goes when the table is full.
 */
struct entry {
	struct entry *next; /* in the bucket */
	struct entry *newer, *older;
	uint32_t tgid;
	uint64_t start_ns;
	char comm[16]; /* part of the key: exec() keeps PID and start time */
	char *service, *namespace_, *instance, *container, *path;
	char *executable;
	unsigned rule; /* first rule without a port that matches */
	bool self, gone;
};

struct identity_table {
	struct identity_options opt;
	char *node, *proc;
	struct entry **bucket;
	size_t mask; /* buckets - 1 */
	struct entry *newest, *oldest;
	uint64_t resolved, evicted, gone, entries;
	struct identity answer;
};

/* Used when there is no memory for anything better. */
static const struct identity unknown = {
	.service = "unknown",
	.namespace_ = "",
	.instance = "",
	.container = "",
	.executable = "",
	.path = "",
	.gone = true,
};

/* ---- reading /proc */

/* Whole file into *out, up to max bytes. 0, -ENOENT, -EACCES … */
static int read_file(struct buf *out, int dir, const char *name, size_t max)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	while (out->len < max) {
		void *to = buf_reserve(out, 4096);
		ssize_t n = to ? read(fd, to, 4096) : -1;

		if (!to)
			err = out->err;
		else if (n < 0)
			err = -errno;
		if (err || n == 0)
			break;
		out->len += (size_t)n;
	}
	close(fd);
	return err;
}

/*
 * Start time of the process in clock ticks: field 22 of stat, counted behind
 * the last ')' because the comm in field 2 may contain anything.
 */
static int read_start_ticks(int dir, uint64_t *out)
{
	struct buf b = { 0 };
	const char *p = NULL;
	int err = read_file(&b, dir, "stat", 4096);

	if (!err && buf_str(&b))
		p = strrchr(b.data, ')');
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p + 1, ' ');
	}
	if (!err && (!p || sscanf(p, " %lu", out) != 1))
		err = -EPROTO;
	buf_fini(&b);
	return err;
}

/*
 * The tap's start time is exact, /proc's is in ticks (1/100 s, rounded down).
 * One more tick is left for the kernel's own rounding.
 */
static bool same_start(uint64_t start_ns, uint64_t ticks)
{
	long hz = sysconf(_SC_CLK_TCK);
	uint64_t tick_ns = UINT64_C(1000000000) / (uint64_t)(hz > 0 ? hz : 100);
	uint64_t ours = start_ns / tick_ns;

	/* A tap that could not read the start says 0. */
	return start_ns == 0 || (ours <= ticks + 1 && ticks <= ours + 1);
}

static bool hex_id(const char *s, size_t len)
{
	if (len != CONTAINER_ID_LEN)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isxdigit((unsigned char)s[i]))
			return false;
	return true;
}

/*
 * A path component of a cgroup that names a container, the id alone or dressed:
 * docker-ID.scope, cri-containerd-ID.scope, crio-ID.scope, libpod-ID.scope,
 * kubepods…:cri-containerd:ID. Sets *id to its 64 hex digits.
 */
static bool find_container(const char *part, size_t len, const char **id)
{
	const char *end = part + len;

	if (len > 6 && !memcmp(end - 6, ".scope", 6))
		end -= 6;
	if ((size_t)(end - part) < CONTAINER_ID_LEN)
		return false;
	*id = end - CONTAINER_ID_LEN;
	if (!hex_id(*id, CONTAINER_ID_LEN))
		return false;
	return *id == part || (*id)[-1] == '-' || (*id)[-1] == ':';
}

/* "nginx.service", "getty@tty1.service" → the unit; user managers are none. */
static bool find_unit(const char *part, size_t len)
{
	static const char suffix[] = ".service";
	size_t n = sizeof(suffix) - 1;

	return len > n && !memcmp(part + len - n, suffix, n) &&
	       strncmp(part, "user@", 5) != 0;
}

struct cgroup {
	char container[CONTAINER_ID_LEN + 1]; /* "" if none */
	char unit[256]; /* without .service, "" if none */
};

/*
 * The last container of the path is the process's own; a unit counts only
 * inside of it, since what comes before runs the container.
 */
static void parse_cgroup_path(const char *path, size_t len, struct cgroup *out)
{
	const char *p = path, *end = path + len, *id;

	while (p < end) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		size_t n = (size_t)((slash ? slash : end) - p);

		if (find_container(p, n, &id)) {
			memcpy(out->container, id, CONTAINER_ID_LEN);
			out->container[CONTAINER_ID_LEN] = '\0';
			out->unit[0] = '\0';
		} else if (find_unit(p, n)) {
			snprintf(out->unit, sizeof(out->unit), "%.*s",
				 (int)(n - 8), p);
		}
		p += n + 1;
	}
}

/*
 * "hierarchy:controllers:path" lines. v2 is "0::path"; with v1, every line has
 * the container, and "name=systemd" the unit.
 */
static void read_cgroup(int dir, struct cgroup *out)
{
	struct buf b = { 0 };
	const char *line, *next;

	*out = (struct cgroup){ .container = "" };
	if (read_file(&b, dir, "cgroup", CGROUP_MAX_BYTES) || !buf_str(&b))
		goto cleanup;
	for (line = b.data; *line; line = next) {
		size_t len = strcspn(line, "\n");
		const char *path = memchr(line, ':', len);

		next = line + len + (line[len] == '\n');
		path = path ? memchr(path + 1, ':',
				     len - (size_t)(path + 1 - line))
			    : NULL;
		if (path && (!out->container[0] || !out->unit[0])) {
			struct cgroup one = { .container = "" };

			parse_cgroup_path(path + 1,
					  len - (size_t)(path + 1 - line),
					  &one);
			if (!out->container[0])
				memcpy(out->container, one.container,
				       sizeof(one.container));
			if (!out->unit[0])
				memcpy(out->unit, one.unit, sizeof(one.unit));
		}
	}
cleanup:
	buf_fini(&b);
}

/* Decodes %XX in place, as OTEL_RESOURCE_ATTRIBUTES is percent-encoded. */
static void decode_percent(char *s)
{
	char *to = s;
	unsigned v;

	for (; *s; s++) {
		if (*s == '%' && isxdigit((unsigned char)s[1]) &&
		    isxdigit((unsigned char)s[2]) &&
		    sscanf(s + 1, "%2x", &v) == 1 && v) {
			*to++ = (char)v;
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The value of key in "k=v,k2=v2", malloc'd, or NULL. */
static char *find_attribute(const char *list, const char *key)
{
	size_t n = strlen(key);

	while (*list) {
		size_t len = strcspn(list, ",");
		size_t blank = strspn(list, " \t");

		if (blank < len && len - blank > n + 1 &&
		    !strncmp(list + blank, key, n) && list[blank + n] == '=') {
			char *value = strndup(list + blank + n + 1,
					      len - blank - n - 1);

			if (value)
				decode_percent(value);
			return value;
		}
		list += len + (list[len] == ',');
	}
	return NULL;
}

struct otel {
	char *service, *namespace_; /* malloc'd or NULL */
};

static void read_environ(int dir, struct otel *out)
{
	static const char name[] = "OTEL_SERVICE_NAME=";
	static const char attributes[] = "OTEL_RESOURCE_ATTRIBUTES=";
	struct buf b = { 0 };
	const char *p, *end;

	*out = (struct otel){ .service = NULL };
	if (read_file(&b, dir, "environ", ENVIRON_MAX_BYTES) || !buf_str(&b))
		goto cleanup;
	for (p = b.data, end = b.data + b.len; p < end; p += strlen(p) + 1) {
		if (!strncmp(p, name, sizeof(name) - 1) &&
		    p[sizeof(name) - 1]) {
			free(out->service);
			out->service = strdup(p + sizeof(name) - 1);
		} else if (!strncmp(p, attributes, sizeof(attributes) - 1)) {
			const char *list = p + sizeof(attributes) - 1;

			/* OTEL_SERVICE_NAME wins, wherever it stands. */
			if (!out->service)
				out->service =
					find_attribute(list, "service.name");
			if (!out->namespace_)
				out->namespace_ = find_attribute(
					list, "service.namespace");
		}
	}
cleanup:
	buf_fini(&b);
}

/* The path of the executable, malloc'd, "" if it cannot be told. */
static char *read_exe(int dir)
{
	static const char deleted[] = " (deleted)";
	char path[PATH_MAX];
	ssize_t n = readlinkat(dir, "exe", path, sizeof(path) - 1);
	size_t len = n > 0 ? (size_t)n : 0, cut = sizeof(deleted) - 1;

	path[len] = '\0';
	/* Replaced while it runs: still the same program. */
	if (len > cut && !strcmp(path + len - cut, deleted))
		path[len - cut] = '\0';
	return strdup(path);
}

/* ---- the table */

static size_t hash(uint32_t tgid, uint64_t start_ns)
{
	uint64_t h = start_ns ^ (uint64_t)tgid * UINT64_C(0x9e3779b97f4a7c15);

	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	return (size_t)(h ^ h >> 32);
}

static void free_entry(struct entry *e)
{
	if (!e)
		return;
	free(e->service);
	free(e->namespace_);
	free(e->instance);
	free(e->container);
	free(e->path);
	free(e->executable);
	free(e);
}

int identity_new(struct identity_table **out,
		 const struct identity_options *opt)
{
	size_t buckets = 64;
	struct identity_table *t;

	if (!opt->node || opt->cap > (1u << 24))
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->opt = *opt;
	if (!t->opt.cap)
		t->opt.cap = CAP_DEFAULT;
	while (buckets < t->opt.cap)
		buckets *= 2;
	t->mask = buckets - 1;
	t->node = strdup(opt->node);
	t->proc = strdup(opt->proc ? opt->proc : "/proc");
	t->bucket = calloc(buckets, sizeof(struct entry *));
	if (!t->node || !t->proc || !t->bucket) {
		identity_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void identity_free(struct identity_table *t)
{
	if (!t)
		return;
	while (t->oldest) {
		struct entry *e = t->oldest;

		t->oldest = e->newer;
		free_entry(e);
	}
	free(t->bucket);
	free(t->node);
	free(t->proc);
	free(t);
}

static void unlink_used(struct identity_table *t, struct entry *e)
{
	if (e->newer)
		e->newer->older = e->older;
	else
		t->newest = e->older;
	if (e->older)
		e->older->newer = e->newer;
	else
		t->oldest = e->newer;
}

static void link_newest(struct identity_table *t, struct entry *e)
{
	e->newer = NULL;
	e->older = t->newest;
	if (t->newest)
		t->newest->newer = e;
	else
		t->oldest = e;
	t->newest = e;
}

static void evict_oldest(struct identity_table *t)
{
	struct entry *e = t->oldest, **at;

	at = &t->bucket[hash(e->tgid, e->start_ns) & t->mask];
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	unlink_used(t, e);
	free_entry(e);
	t->entries--;
	t->evicted++;
}

/* ---- resolving */

static bool glob(const char *pattern, const char *executable, const char *path)
{
	return !fnmatch(pattern, strchr(pattern, '/') ? path : executable, 0);
}

static bool rule_matches(const struct agent_service_rule *r,
			 const struct entry *e)
{
	if (r->executable && !glob(r->executable, e->executable, e->path))
		return false;
	if (r->container &&
	    (!*e->container || fnmatch(r->container, e->container, 0)))
		return false;
	return true;
}

static char *name_instance(const struct identity_table *t,
			   const char *container)
{
	char *text = NULL;

	if (*container) {
		if (asprintf(&text, "%s/%.*s", t->node, INSTANCE_ID_LEN,
			     container) < 0)
			return NULL;
		return text;
	}
	return strdup(t->node);
}

static char *name_executable(const struct entry *e, const char *comm)
{
	const char *base = e->path ? strrchr(e->path, '/') : NULL;

	if (base && base[1])
		return strdup(base + 1);
	return strdup(*comm ? comm : "unknown");
}

static bool is_self(const char *executable)
{
	return !strcmp(executable, "redtap-agent") ||
	       !strcmp(executable, "redtap-aggregator");
}

/*
 * The folder of the process, held open: it stays that process's even if the PID
 * is used again meanwhile. -ENOENT if it is gone or another one by now.
 */
static int open_process(const struct identity_table *t,
			const struct endpoint *end, int *out)
{
	char path[PATH_MAX];
	uint64_t ticks;
	int fd, err;

	snprintf(path, sizeof(path), "%s/%u", t->proc, end->tgid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -ENOENT;
	err = read_start_ticks(fd, &ticks);
	if (err || !same_start(end->start_ns, ticks)) {
		close(fd);
		return -ENOENT;
	}
	*out = fd;
	return 0;
}

/* Fills e's names. -ENOMEM. */
static int resolve(struct identity_table *t, const struct endpoint *end,
		   struct entry *e)
{
	struct cgroup cg = { .container = "" };
	struct otel otel = { .service = NULL };
	char comm[sizeof(end->comm) + 1] = "";
	int fd = -1;

	memcpy(comm, end->comm, sizeof(end->comm));
	e->gone = open_process(t, end, &fd) != 0;
	if (!e->gone) {
		read_cgroup(fd, &cg);
		read_environ(fd, &otel);
		e->path = read_exe(fd);
		close(fd);
	} else {
		e->path = strdup("");
		t->gone++;
	}
	e->executable = name_executable(e, comm);
	e->container = strdup(cg.container);
	e->instance = name_instance(t, cg.container);
	e->namespace_ = otel.namespace_ ? otel.namespace_ : strdup("");
	if (otel.service && *otel.service)
		e->service = strdup(otel.service);
	else if (cg.unit[0])
		e->service = strdup(cg.unit);
	else if (e->executable)
		e->service = strdup(e->executable);
	free(otel.service);
	if (!e->path || !e->executable || !e->container || !e->instance ||
	    !e->namespace_ || !e->service)
		return -ENOMEM;
	e->self = is_self(e->executable);
	e->rule = NO_RULE;
	for (unsigned i = 0; i < t->opt.n_rules && e->rule == NO_RULE; i++)
		if (!t->opt.rules[i].port && rule_matches(&t->opt.rules[i], e))
			e->rule = i;
	t->resolved++;
	return 0;
}

static struct entry *find(struct identity_table *t, const struct endpoint *end)
{
	size_t at = hash(end->tgid, end->start_ns) & t->mask;
	struct entry *e = t->bucket[at];

	while (e && (e->tgid != end->tgid || e->start_ns != end->start_ns ||
		     memcmp(e->comm, end->comm, sizeof(e->comm)) != 0))
		e = e->next;
	if (e) {
		if (t->newest != e) {
			unlink_used(t, e);
			link_newest(t, e);
		}
		return e;
	}
	e = calloc(1, sizeof(*e));
	if (!e || resolve(t, end, e)) {
		free_entry(e);
		return NULL;
	}
	e->tgid = end->tgid;
	e->start_ns = end->start_ns;
	memcpy(e->comm, end->comm, sizeof(e->comm));
	while (t->entries >= t->opt.cap)
		evict_oldest(t);
	e->next = t->bucket[at];
	t->bucket[at] = e;
	link_newest(t, e);
	t->entries++;
	return e;
}

/* The first rule that matches, those for a port included; NULL if none. */
static const struct agent_service_rule *
find_rule(const struct identity_table *t, const struct entry *e, uint16_t port)
{
	for (unsigned i = 0; i < t->opt.n_rules; i++) {
		const struct agent_service_rule *r = &t->opt.rules[i];

		if (i == e->rule)
			return r;
		if (r->port && r->port == port && rule_matches(r, e))
			return r;
	}
	return NULL;
}

const struct identity *identity_lookup(struct identity_table *t,
				       const struct endpoint *end)
{
	const struct agent_service_rule *rule;
	const struct entry *e = find(t, end);

	if (!e)
		return &unknown;
	t->answer = (struct identity){
		.service = e->service,
		.namespace_ = e->namespace_,
		.instance = e->instance,
		.container = e->container,
		.executable = e->executable,
		.path = e->path,
		.self = e->self,
		.gone = e->gone,
	};
	rule = t->opt.n_rules ? find_rule(t, e, end->local_port) : NULL;
	if (rule) {
		t->answer.service = rule->service;
		if (rule->namespace_)
			t->answer.namespace_ = rule->namespace_;
	}
	return &t->answer;
}

void identity_stats(const struct identity_table *t, struct identity_stats *out)
{
	out->resolved = t->resolved;
	out->evicted = t->evicted;
	out->gone = t->gone;
	out->entries = t->entries;
}
