/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/card.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "probe-agent/identity/card_read.h"
#include "probe-agent/identity/json_skim.h"

#define CAP_DEFAULT 4096
#define WANTED_MAX 256
#define READER_KEEPS_BYTES (64u << 10)

/* In a bucket's list, and in the list of all by last use. */
struct entry {
	struct entry *next;
	struct entry *newer, *older;
	char id[CGROUP_ID_LEN + 1];
	struct card card;
	char *text[CARD_FIELDS];
};

struct card_table {
	struct card_reader reader;
	char *docker;
	size_t cap;
	struct entry **bucket;
	size_t mask;
	struct entry *newest, *oldest;
	struct card_stats stats;
	struct cgroup_place wanted[WANTED_MAX];
	size_t n_wanted;
};

/* --- where --- */

/* Has the process files of its own? Yes, if the other's can't be seen. */
static bool is_apart(void)
{
	struct stat own, host;

	return stat("/proc/self/ns/mnt", &own) ||
	       stat("/proc/1/ns/mnt", &host) || own.st_ino != host.st_ino;
}

const char *card_root(void)
{
	if (is_apart() &&
	    !faccessat(AT_FDCWD, "/proc/1/root/", X_OK, AT_EACCESS))
		return "/proc/1/root";
	return "/";
}

static bool on_daemon(void *arg, const struct json_place *p, const char *value)
{
	static const char *const key[] = { "data-root" };
	char **docker = arg;

	if (json_place_is(p, 1, key) && *value == '/' && strlen(value) < 128) {
		free(*docker);
		*docker = strdup(value);
	}
	return true;
}

/* Where docker keeps its containers, which its configuration may move. */
static void find_docker(struct card_table *t)
{
	struct card_reader *r = &t->reader;

	if (card_read_file(r, "/etc/docker/daemon.json", 64u << 10))
		json_skim(r->file.data, r->file.len, on_daemon, &t->docker);
	r->refused = 0;
}

int card_new(struct card_table **out, const struct card_options *opt)
{
	struct card_table *t = calloc(1, sizeof(*t));
	size_t buckets = 64;

	if (!t)
		return -ENOMEM;
	t->cap = opt->cap ? opt->cap : CAP_DEFAULT;
	while (buckets < t->cap)
		buckets *= 2;
	t->mask = buckets - 1;
	t->bucket = calloc(buckets, sizeof(struct entry *));
	t->docker = strdup("/var/lib/docker");
	t->reader.labels = opt->labels;
	t->reader.n_labels = opt->n_labels;
	t->reader.root = open(opt->root ? opt->root : card_root(),
			      O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!t->bucket || !t->docker) {
		card_free(t);
		return -ENOMEM;
	}
	find_docker(t);
	if (!t->docker) {
		card_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

static void free_entry(struct entry *e)
{
	for (size_t i = 0; i < CARD_FIELDS; i++)
		free(e->text[i]);
	free(e);
}

void card_free(struct card_table *t)
{
	if (!t)
		return;
	while (t->oldest) {
		struct entry *e = t->oldest;

		t->oldest = e->newer;
		free_entry(e);
	}
	if (t->reader.root >= 0)
		close(t->reader.root);
	buf_fini(&t->reader.file);
	free(t->docker);
	free(t->bucket);
	free(t);
}

/* --- the table --- */

static size_t hash_id(const char *id)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *id; id++)
		h = (h ^ (unsigned char)*id) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 32);
}

static void unlink_used(struct card_table *t, struct entry *e)
{
	*(e->newer ? &e->newer->older : &t->newest) = e->older;
	*(e->older ? &e->older->newer : &t->oldest) = e->newer;
}

static void link_newest(struct card_table *t, struct entry *e)
{
	e->newer = NULL;
	e->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = e;
	t->newest = e;
}

static void evict_oldest(struct card_table *t)
{
	struct entry *e = t->oldest;
	struct entry **at = &t->bucket[hash_id(e->id) & t->mask];

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	unlink_used(t, e);
	free_entry(e);
	t->stats.entries--;
	t->stats.evicted++;
}

static struct entry *find_entry(struct card_table *t, const char *id)
{
	struct entry *e = t->bucket[hash_id(id) & t->mask];

	while (e && strcmp(e->id, id) != 0)
		e = e->next;
	if (e && t->newest != e) {
		unlink_used(t, e);
		link_newest(t, e);
	}
	return e;
}

static struct entry *read_entry(struct card_table *t,
				const struct cgroup_place *place)
{
	size_t at = hash_id(place->container) & t->mask;
	struct card_reader *r = &t->reader;
	struct entry *e = calloc(1, sizeof(*e));
	uint64_t from_ns = clock_mono_ns();

	if (!e)
		return NULL;
	r->docker = t->docker;
	card_read(r, place);
	for (size_t i = 0; i < CARD_FIELDS; i++) {
		e->card.text[i] = e->text[i] = r->text[i];
		r->text[i] = NULL;
	}
	memcpy(e->card.source, r->source, sizeof(r->source));
	e->card.first = r->first;
	memcpy(e->id, place->container, sizeof(e->id));
	t->stats.refused += r->refused;
	r->refused = 0;
	if (r->file.cap > READER_KEEPS_BYTES)
		buf_fini(&r->file);
	if (e->card.source[0])
		t->stats.read++;
	else
		t->stats.missing++;
	if (clock_mono_ns() - from_ns > CARD_IDLE_NS)
		t->stats.slow++;

	while (t->stats.entries >= t->cap)
		evict_oldest(t);
	e->next = t->bucket[at];
	t->bucket[at] = e;
	link_newest(t, e);
	t->stats.entries++;
	return e;
}

/* --- when --- */

void card_want(struct card_table *t, const struct cgroup_place *place)
{
	if (!place->container[0] || find_entry(t, place->container))
		return;
	for (size_t i = 0; i < t->n_wanted; i++)
		if (!strcmp(t->wanted[i].container, place->container))
			return;
	if (t->n_wanted == WANTED_MAX) {
		t->stats.unnoted++;
		return;
	}
	t->wanted[t->n_wanted++] = *place;
}

size_t card_idle(struct card_table *t)
{
	uint64_t end_ns = t->n_wanted ? clock_mono_ns() + CARD_IDLE_NS : 0;

	while (t->n_wanted && clock_mono_ns() < end_ns) {
		const struct cgroup_place *next = &t->wanted[--t->n_wanted];

		if (!find_entry(t, next->container))
			read_entry(t, next);
	}
	return t->n_wanted;
}

const struct card *card_get(struct card_table *t,
			    const struct cgroup_place *place)
{
	struct entry *e = find_entry(t, place->container);

	if (!e)
		e = read_entry(t, place);
	return e ? &e->card : NULL;
}

void card_stats(const struct card_table *t, struct card_stats *out)
{
	*out = t->stats;
}
