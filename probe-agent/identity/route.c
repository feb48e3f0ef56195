/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/route.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/identity/segment.h"
#include "proto/limits.h"

#define PATH_MAX_BYTES 2048u /* bytes of a target beyond it are ignored */
#define DEPTH_MAX 32u
#define MORE "/{more}" /* replaces what is too deep or too long */
#define SERVICES_MAX 4096u /* services beyond it share one entry */
#define CACHE_ENTRIES 4096u /* a power of two */
#define CACHED_BYTES 108u

struct segment {
	const char *data;
	size_t len;
};

struct pattern {
	char *text;
	struct segment *segments; /* point into text; data NULL: any segment */
	size_t n;
	bool rest; /* ends in an asterisk: one segment or more */
};

/* A set of strings, open addressing. */
struct names {
	char **slots;
	uint32_t n, size; /* size is a power of two, or 0 */
};

struct service {
	struct service *next; /* in the same bucket */
	struct names routes;
	char name[];
};

/* Two cache lines; only long targets reach into the second. */
struct cached {
	const struct service *service;
	const char *route;
	uint32_t len;
	char target[CACHED_BYTES];
};
static_assert(sizeof(struct cached) == 128, "two cache lines");

#define SERVICE_BUCKETS 1024u

static const char overflow[] = ROUTE_OVERFLOW;

struct route_table {
	struct pattern *patterns;
	size_t n_patterns;
	uint32_t cap;
	uint32_t n_services;
	uint64_t overflowed, n_routes;
	struct service *last; /* the one looked up last */
	struct service *services[SERVICE_BUCKETS];
	void *cache_memory;
	struct cached *cache; /* inside cache_memory, at a cache line */
};

/* Multiplies and folds eight bytes per step. Input can be made to collide. */
static uint64_t hash_bytes(const void *data, size_t len, uint64_t seed)
{
	const uint64_t k = 0x9e3779b97f4a7c15ull;
	const char *p = data;
	uint64_t h = seed ^ len * k, v;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&v, p, 8);
		h = (h ^ v) * k;
		h ^= h >> 29;
	}
	v = 0;
	memcpy(&v, p, len);
	h = (h ^ v) * k;
	return h ^ h >> 32;
}

/* --- patterns --- */

static bool is_printable(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f)
			return false;
	return true;
}

static int compile(struct pattern *p, const char *text)
{
	size_t len = strlen(text), n = 1, i;
	char *s;

	if (text[0] != '/' || len > LIMIT_STRING_BYTES ||
	    !is_printable(text, len))
		return -EINVAL;
	for (i = 0; i < len; i++)
		n += text[i] == '/';
	p->text = strdup(text);
	p->segments = calloc(n, sizeof(*p->segments));
	if (!p->text || !p->segments)
		return -ENOMEM;
	for (s = p->text; *s;) {
		const char *end;

		if (*s == '/') {
			s++;
			continue;
		}
		end = strchrnul(s, '/');
		len = (size_t)(end - s);
		p->rest = len == 1 && *s == '*';
		if (p->rest || (s[0] == '{' && end[-1] == '}'))
			p->segments[p->n++] = (struct segment){ NULL, 0 };
		else
			p->segments[p->n++] = (struct segment){ s, len };
		s += len;
	}
	return 0;
}

static bool matches(const struct pattern *p, const struct segment *s, size_t n)
{
	if (p->rest ? n < p->n : n != p->n)
		return false;
	for (size_t i = 0; i < p->n; i++)
		if (p->segments[i].data &&
		    (p->segments[i].len != s[i].len ||
		     memcmp(p->segments[i].data, s[i].data, s[i].len) != 0))
			return false;
	return true;
}

/* --- paths --- */

struct path {
	struct segment segments[DEPTH_MAX]; /* point into the target or text */
	size_t n;
	bool more; /* some did not fit, or were cut off */
	bool slash; /* the path ends in one */
	char text[PATH_MAX_BYTES + 1]; /* decoded segments */
};

static void split(struct path *p, const char *s, size_t len, bool cut)
{
	const char *end = s + len;
	char *to = p->text;

	p->n = 0;
	p->more = cut;
	p->slash = len > 0 && end[-1] == '/';
	while (s < end) {
		const char *segment = s;
		bool coded = false;
		size_t n;

		for (; s < end && *s != '/'; s++)
			coded |= *s == '%' || *s == ';';
		if (s == end && cut)
			return; /* ignore a segment that is cut off */
		n = (size_t)(s - segment);
		s++;
		if (coded) {
			/* Decoding never makes a segment longer. */
			n = segment_decode(to, segment, n);
			segment = to;
			to += n > SEGMENT_MAX_BYTES ? SEGMENT_MAX_BYTES : n;
		}
		if (n == 0 || (n == 1 && segment[0] == '.'))
			continue;
		if (n == 2 && segment[0] == '.' && segment[1] == '.') {
			p->n -= p->n > 0;
			continue;
		}
		if (p->n == DEPTH_MAX) {
			p->more = true;
			return;
		}
		p->segments[p->n++] = (struct segment){ segment, n };
	}
}

static void put_template(const struct path *p, char *out)
{
	size_t len = 0;
	bool more = p->more;

	for (size_t i = 0; i < p->n; i++) {
		if (len + 1 + SEGMENT_OUT_BYTES + sizeof(MORE) >
		    LIMIT_STRING_BYTES) {
			more = true;
			break;
		}
		out[len++] = '/';
		len += segment_template(out + len, p->segments[i].data,
					p->segments[i].len);
	}
	if (more) {
		memcpy(out + len, MORE, sizeof(MORE));
		return;
	}
	if (p->slash || len == 0)
		out[len++] = '/';
	out[len] = '\0';
}

/* Narrows a target to its path. False: it has none. */
static bool path_of(const char **target, size_t *len, bool *cut)
{
	const char *p = *target, *end = p + *len, *s;

	*cut = *len >= PATH_MAX_BYTES;
	if (*cut)
		end = p + PATH_MAX_BYTES;
	s = memchr(p, '?', (size_t)(end - p));
	if (s) {
		end = s;
		*cut = false;
	}
	s = memchr(p, '#', (size_t)(end - p));
	if (s) {
		end = s;
		*cut = false;
	}
	if (p < end && *p != '/') {
		s = memmem(p, (size_t)(end - p), "://", 3);
		if (!s)
			return false;
		s += 3;
		p = memchr(s, '/', (size_t)(end - s));
		if (!p)
			p = end;
	}
	*len = (size_t)(end - p);
	*target = p;
	return true;
}

/* --- known services and routes --- */

static int names_grow(struct names *set)
{
	uint32_t size = set->size ? set->size * 2 : 16;
	char **slots = calloc(size, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->size; i++) {
		char *s = set->slots[i];
		uint64_t h;

		if (!s)
			continue;
		h = hash_bytes(s, strlen(s), 0);
		while (slots[h & (size - 1)])
			h++;
		slots[h & (size - 1)] = s;
	}
	free(set->slots);
	set->slots = slots;
	set->size = size;
	return 0;
}

/* Returns the set's own copy of s, which is added if there is room, or NULL. */
static const char *names_intern(struct names *set, const char *s, uint32_t cap,
				bool *added)
{
	uint64_t h = hash_bytes(s, strlen(s), 0);

	*added = false;
	for (; set->size && set->slots[h & (set->size - 1)]; h++)
		if (strcmp(set->slots[h & (set->size - 1)], s) == 0)
			return set->slots[h & (set->size - 1)];
	if (set->n >= cap)
		return NULL;
	if (set->n * 2 >= set->size) {
		if (names_grow(set) != 0)
			return NULL;
		h = hash_bytes(s, strlen(s), 0);
		while (set->slots[h & (set->size - 1)])
			h++;
	}
	set->slots[h & (set->size - 1)] = strdup(s);
	if (!set->slots[h & (set->size - 1)])
		return NULL;
	set->n++;
	*added = true;
	return set->slots[h & (set->size - 1)];
}

static struct service *service_of(struct route_table *t, const char *name)
{
	struct service **bucket, *s;
	size_t len;

	if (t->last && strcmp(t->last->name, name) == 0)
		return t->last;
	len = strlen(name);
	for (;;) {
		bucket = &t->services[hash_bytes(name, len, 1) %
				      SERVICE_BUCKETS];
		for (s = *bucket; s; s = s->next)
			if (strcmp(s->name, name) == 0)
				return t->last = s;
		if (t->n_services < SERVICES_MAX || len == 0)
			break;
		name = ""; /* the entry that all further services share */
		len = 0;
	}
	s = calloc(1, sizeof(*s) + len + 1);
	if (!s)
		return NULL;
	memcpy(s->name, name, len + 1);
	s->next = *bucket;
	*bucket = s;
	t->n_services++;
	return t->last = s;
}

int route_new(struct route_table **out, const struct route_options *opt)
{
	struct route_table *t = calloc(1, sizeof(*t));
	int err = 0;

	if (!t)
		return -ENOMEM;
	t->cap = opt->cap ? opt->cap : ROUTE_CAP_DEFAULT;
	/* Its pages take no memory before they are used. */
	t->cache_memory = calloc(CACHE_ENTRIES + 1, sizeof(*t->cache));
	if (!t->cache_memory)
		err = -ENOMEM;
	t->cache = (void *)(((uintptr_t)t->cache_memory + 63) / 64 * 64);
	if (!err && opt->n_patterns) {
		t->patterns = calloc(opt->n_patterns, sizeof(*t->patterns));
		if (!t->patterns)
			err = -ENOMEM;
	}
	for (size_t i = 0; !err && i < opt->n_patterns; i++) {
		t->n_patterns = i + 1;
		err = compile(&t->patterns[i], opt->patterns[i]);
	}
	if (err) {
		route_free(t);
		return err;
	}
	*out = t;
	return 0;
}

static void service_free(struct service *s)
{
	for (uint32_t i = 0; i < s->routes.size; i++)
		free(s->routes.slots[i]);
	free(s->routes.slots);
	free(s);
}

void route_free(struct route_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < SERVICE_BUCKETS; i++) {
		while (t->services[i]) {
			struct service *s = t->services[i];

			t->services[i] = s->next;
			service_free(s);
		}
	}
	for (size_t i = 0; i < t->n_patterns; i++) {
		free(t->patterns[i].text);
		free(t->patterns[i].segments);
	}
	free(t->patterns);
	free(t->cache_memory);
	free(t);
}

static const char *make_route(struct route_table *t, struct service *s,
			      const char *target, size_t len, bool cut)
{
	char text[LIMIT_STRING_BYTES + 1];
	const char *route = text;
	struct path path;
	bool added;

	split(&path, target, len, cut);
	put_template(&path, text);
	for (size_t i = 0; i < t->n_patterns && !path.more; i++) {
		if (matches(&t->patterns[i], path.segments, path.n)) {
			route = t->patterns[i].text;
			break;
		}
	}
	route = names_intern(&s->routes, route, t->cap, &added);
	t->n_routes += added;
	return route ? route : overflow;
}

const char *route_template(struct route_table *t, const char *service,
			   const char *target, size_t len)
{
	struct service *s = service_of(t, service);
	struct cached *c;
	const char *route;
	bool cut;

	if (len == 1 && *target == '*')
		return "*";
	if (len == 0 || !s || !path_of(&target, &len, &cut))
		return "";
	if (len > CACHED_BYTES) {
		route = make_route(t, s, target, len, cut);
	} else {
		c = &t->cache[hash_bytes(target, len, (uintptr_t)s) &
			      (CACHE_ENTRIES - 1)];
		if (c->service != s || c->len != len ||
		    memcmp(c->target, target, len) != 0) {
			c->service = s;
			c->len = (uint32_t)len;
			memcpy(c->target, target, len);
			c->route = make_route(t, s, target, len, cut);
		}
		route = c->route;
	}
	t->overflowed += route == overflow;
	return route;
}

/* Can these be the names of a service and a method? */
static bool is_method(const char *target, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = target[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '.' || c == '_' ||
		      c == '-' || c == '/'))
			return false;
	}
	return len && *target == '/' && len <= LIMIT_STRING_BYTES;
}

const char *route_method(struct route_table *t, const char *service,
			 const char *target, size_t len)
{
	struct service *s = service_of(t, service);
	char text[LIMIT_STRING_BYTES + 1];
	const char *route;
	bool added;

	if (!s || !is_method(target, len))
		return route_template(t, service, target, len);
	memcpy(text, target, len);
	text[len] = '\0';
	route = names_intern(&s->routes, text, t->cap, &added);
	t->n_routes += added;
	t->overflowed += !route;
	return route ? route : overflow;
}

void route_stats(const struct route_table *t, struct route_stats *out)
{
	out->overflowed = t->overflowed;
	out->routes = t->n_routes;
}
