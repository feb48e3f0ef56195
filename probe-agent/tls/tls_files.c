/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls_files.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <bpf/libbpf.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/tap/bpf_attach.h"
#include "probe-agent/tls/tls_calls.h"
#include "probe-agent/tls/tls_known.h"

#define FILES_MAX 512
#define HOST_FILES 64 /* of these: kept for the host's own */
#define OWNER_FILES 64 /* of these: at most, for one user or container */
#define RETRY_NS (60 * CLOCK_NS_PER_S) /* of a file that found no place */

/* A file with TLS calls. */
struct file {
	dev_t dev;
	ino_t ino; /* 0: a free slot */
	uint64_t owner; /* who brought it: see tls_owner.h */
	char name[48]; /* without its folder */
	struct bpf_attachment link[2 * TLS_CALLS]; /* in order of attaching */
	size_t returns; /* number of links to returns, which come first */
	size_t links; /* 0: could not be attached */
	uint32_t users; /* processes */
	bool standing; /* pinned as a library of the host */
	uint64_t device; /* the kernel's number for dev; 0: not known */
	uint64_t idle_ns; /* since when there are no users */
};

/* Links to destroy: those to calls before those to returns. */
struct going {
	struct bpf_attachment call[FILES_MAX * TLS_CALLS],
		ret[FILES_MAX * TLS_CALLS];
	size_t calls, rets;
};

struct tls_files {
	struct bpf_object *obj;
	struct tls_files_options opt;
	struct tls_share *share;
	uint64_t refused, crowded; /* see struct tls_files_stats */
	/* of file[] and generation, for tls_files_probes() */
	pthread_mutex_t lock;
	uint64_t generation;
	struct file file[FILES_MAX];
	struct tls_known *known; /* and left alone */
	struct going going; /* owned by the detacher while busy */
	pthread_t detacher;
	bool detaching, busy; /* started and not joined; not done yet */
};

/* --- attaching --- */

static void changed(struct tls_files *t)
{
	t->generation++;
	pthread_mutex_unlock(&t->lock);
}

/* Moves the links of f to g. */
static void let_go(struct file *f, struct going *g)
{
	for (size_t i = 0; i < f->links; i++)
		if (i < f->returns)
			g->ret[g->rets++] = f->link[i];
		else
			g->call[g->calls++] = f->link[i];
	f->links = 0;
}

static void destroy_all(struct bpf_attachment *link, size_t n)
{
	for (size_t i = 0; i < n; i += BPF_ATTACH_MAX)
		bpf_attach_destroy(link + i, n - i < BPF_ATTACH_MAX
						     ? n - i
						     : BPF_ATTACH_MAX);
}

/*
 * Takes seconds on a busy machine: call it without the lock, and not where
 * processes wait to be scanned. Calls first: one that is seen to begin must be
 * seen to end.
 */
static void detach(struct going *g)
{
	destroy_all(g->call, g->calls);
	destroy_all(g->ret, g->rets);
	g->calls = g->rets = 0;
}

/*
 * Attaches one program at some places of a file. Adds the links to f->link,
 * after an error those made before it.
 */
static int attach_at(struct tls_files *t, struct file *f, const char *program,
		     bool ret, const char *path, const unsigned long *offset,
		     size_t n)
{
	struct bpf_program *p =
		bpf_object__find_program_by_name(t->obj, program);
	struct bpf_link *link;
	int err;

	if (bpf_program__fd(p) < 0)
		return -ENOTSUP; /* refused; half a call is of no use */
	if (t->opt.many) {
		err = bpf_attach_attach_many(&f->link[f->links], p, ret, path,
					     offset, n);
		f->links += !err;
		return err;
	}
	for (size_t i = 0; i < n; i++) {
		link = bpf_program__attach_uprobe(p, ret, -1, path, offset[i]);
		if (!link)
			return -errno;
		f->link[f->links++] = (struct bpf_attachment){ link, -1 };
	}
	return 0;
}

/*
 * Attaches to returns first: a call that is seen to begin must be seen to end.
 * Returns the number of probes, or negative errno.
 */
static int attach(struct tls_files *t, struct file *f, int fd,
		  const uint64_t *offset)
{
	struct going undo = { .calls = 0 };
	unsigned long at[TLS_CALLS];
	size_t i, n = 0;
	char path[64];
	int err;

	for (i = 0; i < TLS_CALLS; i++)
		if (offset[i])
			at[n++] = offset[i];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = attach_at(t, f, "tls_return", true, path, at, n);
	f->returns = f->links;
	for (i = 0, n = 0; !err && i < TLS_CALLS; i++)
		if (offset[i])
			err = attach_at(t, f, tls_calls_program(i), false, path,
					&at[n++], 1);
	if (err) {
		let_go(f, &undo);
		detach(&undo);
	}
	return err ? err : (int)(2 * n);
}

/* --- files --- */

/* As tls_calls_find(), and counts what is refused. */
static int find_calls(struct tls_files *t, int fd, const char *path,
		      uint64_t offset[TLS_CALLS])
{
	int err = tls_calls_find(fd, offset, t->opt.stop);

	if (!err || err == -ENOEXEC || err == -ECANCELED)
		return err;
	__atomic_fetch_add(&t->refused, 1, __ATOMIC_RELAXED);
	log_warn("tls: cannot read symbols file=%s error=\"%s\"", path,
		 err == -E2BIG ? "over the limits for one file"
			       : strerror(-err));
	return -ENOEXEC;
}

/* Returns a free slot, which counts as one of the owner's. -ENOSPC */
static int take_slot(struct tls_files *t, uint64_t owner, const char *path)
{
	int i;

	if (tls_share_take(t->share, owner)) {
		__atomic_fetch_add(&t->crowded, 1, __ATOMIC_RELAXED);
		log_warn("tls: no place for a file with TLS calls, it is not "
			 "captured file=%s places=%d",
			 path, FILES_MAX);
		return -ENOSPC;
	}
	for (i = 0; t->file[i].ino; i++)
		;
	return i;
}

/* Attaches to a new file. Returns as tls_files_of() does. */
static int add_file(struct tls_files *t, int fd, const struct stat *st,
		    const char *path, uint64_t owner)
{
	struct file new = { .dev = st->st_dev,
			    .ino = st->st_ino,
			    .owner = owner };
	const char *name = strrchr(path, '/');
	uint64_t offset[TLS_CALLS];
	int i, n;

	n = find_calls(t, fd, path, offset);
	if (n == -ENOEXEC)
		tls_known_add(t->known, st, n, 0);
	if (n)
		return n;
	i = take_slot(t, owner, path);
	if (i < 0)
		tls_known_add(t->known, st, i, clock_mono_ns() + RETRY_NS);
	if (i < 0)
		return i;
	snprintf(new.name, sizeof(new.name), "%s", name ? name + 1 : path);
	n = attach(t, &new, fd, offset);
	new.idle_ns = clock_mono_ns();
	pthread_mutex_lock(&t->lock);
	t->file[i] = new;
	changed(t);
	if (n < 0)
		log_warn("tls: not attached file=%s inode=%llu error=\"%s\"",
			 path, (unsigned long long)new.ino, strerror(-n));
	else
		log_info("tls: attached file=%s inode=%llu probes=%d", path,
			 (unsigned long long)new.ino, n);
	return i;
}

int tls_files_of(struct tls_files *t, int fd, const struct stat *st,
		 const char *path, uint64_t device, uint64_t owner)
{
	int i = tls_known_why(t->known, st, clock_mono_ns());

	if (i < 0)
		return i;
	for (i = 0; i < FILES_MAX; i++)
		if (t->file[i].ino == st->st_ino &&
		    t->file[i].dev == st->st_dev)
			break;
	if (i == FILES_MAX)
		i = add_file(t, fd, st, path, owner);
	if (i >= 0 && device)
		t->file[i].device = device;
	return i;
}

/*
 * On some file systems the kernel's device number is not that of stat(). Both
 * are known of a file that was found by a kernel event.
 */
bool tls_files_has(const struct tls_files *t, const struct tls_file *file)
{
	dev_t dev = makedev(file->device >> 20, file->device & 0xfffff);

	for (size_t i = 0; i < FILES_MAX; i++) {
		const struct file *f = &t->file[i];

		if (f->ino == file->inode && f->links &&
		    (f->dev == dev || f->device == file->device))
			return true;
	}
	return false;
}

void tls_files_use(struct tls_files *t, int file)
{
	t->file[file].users++;
}

void tls_files_leave(struct tls_files *t, int file)
{
	if (!--t->file[file].users)
		t->file[file].idle_ns = clock_mono_ns();
}

void tls_files_see(struct tls_files *t, int file, uint64_t until_ns)
{
	if (t->file[file].idle_ns < until_ns)
		t->file[file].idle_ns = until_ns;
}

void tls_files_stand(struct tls_files *t, int file)
{
	t->file[file].standing = true;
}

/* A library that was replaced or removed is then detached as others are. */
void tls_files_unstand(struct tls_files *t)
{
	const uint64_t now_ns = clock_mono_ns();

	for (size_t i = 0; i < FILES_MAX; i++) {
		if (t->file[i].standing && !t->file[i].users)
			t->file[i].idle_ns = now_ns;
		t->file[i].standing = false;
	}
}

/* --- detaching --- */

static void *detach_all(void *arg)
{
	struct tls_files *t = arg;

	detach(&t->going);
	__atomic_store_n(&t->busy, false, __ATOMIC_RELEASE);
	return NULL;
}

static void start_detaching(struct tls_files *t)
{
	t->busy = true;
	t->detaching = !pthread_create(&t->detacher, NULL, detach_all, t);
	if (!t->detaching)
		detach_all(t);
}

/* Has the detacher finished? waits: waits until it has. */
static bool detached(struct tls_files *t, bool waits)
{
	if (!t->detaching)
		return true;
	if (!waits && __atomic_load_n(&t->busy, __ATOMIC_ACQUIRE))
		return false;
	pthread_join(t->detacher, NULL);
	t->detaching = false;
	return true;
}

static bool is_idle(const struct tls_files *t, const struct file *f,
		    uint64_t now_ns)
{
	return f->ino && !f->users && !f->standing &&
	       now_ns >= f->idle_ns + t->opt.linger_ns;
}

bool tls_files_idle(struct tls_files *t, uint64_t now_ns)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		if (is_idle(t, &t->file[i], now_ns))
			return detached(t, false);
	return false;
}

void tls_files_detach_idle(struct tls_files *t, uint64_t now_ns)
{
	for (size_t i = 0; i < FILES_MAX; i++) {
		struct file *f = &t->file[i];

		if (!is_idle(t, f, now_ns))
			continue;
		log_info("tls: detached file=%s inode=%llu reason=unused",
			 f->name, (unsigned long long)f->ino);
		pthread_mutex_lock(&t->lock);
		let_go(f, &t->going);
		tls_share_give(t->share, f->owner);
		f->ino = 0;
		changed(t);
	}
	if (t->going.rets)
		start_detaching(t);
}

/* --- life --- */

int tls_files_new(struct tls_files **out, struct bpf_object *obj,
		  const struct tls_files_options *opt)
{
	static const struct tls_share_options shares = {
		.places = FILES_MAX,
		.kept = HOST_FILES,
		.each = OWNER_FILES,
		.window_ns = 60 * CLOCK_NS_PER_S,
		.time_ns = 2 * CLOCK_NS_PER_S,
		.all_time_ns = 6 * CLOCK_NS_PER_S,
	};
	struct tls_files *t = calloc(1, sizeof(*t));

	*out = NULL;
	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	t->obj = obj;
	t->opt = *opt;
	if (tls_known_new(&t->known) || tls_share_new(&t->share, &shares)) {
		tls_files_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void tls_files_free(struct tls_files *t)
{
	if (!t)
		return;
	detached(t, true);
	for (size_t i = 0; i < FILES_MAX; i++)
		let_go(&t->file[i], &t->going);
	detach(&t->going);
	tls_known_free(t->known);
	tls_share_free(t->share);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

struct tls_share *tls_files_share(struct tls_files *t)
{
	return t->share;
}

void tls_files_stats(const struct tls_files *t, struct tls_files_stats *out)
{
	out->refused = __atomic_load_n(&t->refused, __ATOMIC_RELAXED);
	out->crowded = __atomic_load_n(&t->crowded, __ATOMIC_RELAXED);
}

size_t tls_files_probes(struct tls_files *t, struct tls_probe *out, size_t cap,
			uint64_t *generation)
{
	size_t k, n = 0;

	pthread_mutex_lock(&t->lock);
	*generation = t->generation;
	for (size_t i = 0; i < FILES_MAX; i++) {
		const struct file *f = &t->file[i];
		char name[sizeof(out->name)];

		if (!f->ino)
			continue;
		snprintf(name, sizeof(name), "tls/%s", f->name);
		for (k = 0; k < n && strcmp(out[k].name, name); k++)
			;
		if (k == n && n == cap)
			break;
		if (k == n) {
			snprintf(out[n].name, sizeof(out[n].name), "%s", name);
			out[n++].attached = true;
		}
		out[k].attached &= f->links > 0;
	}
	pthread_mutex_unlock(&t->lock);
	return n;
}
