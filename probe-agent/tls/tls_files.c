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
#include "probe-agent/tls/elf_callee.h"
#include "probe-agent/tls/elfsym.h"

#define FILES_MAX 128
#define NO_TLS_SLOTS 1024 /* a power of two */

/*
 * The functions and the programs on their entry; then the common callee of each
 * of two pairs, which replaces both functions where it is found.
 */
enum {
	READ = 1,
	READ_EX,
	WRITE,
	WRITE_EX,
	SYMBOLS = 8,
	READ_INNER = SYMBOLS,
	WRITE_INNER,
};
/* Only since OpenSSL 3.3, whose common callee has one more argument. */
#define WRITE_EX2 "SSL_write_ex2"
static const struct hook {
	const char *symbol; /* NULL: a common callee */
	const char *program;
	bool moves; /* plain text; a file must have one such */
} hooks[] = {
	{ "SSL_do_handshake", "openssl_handshake", false },
	[READ] = { "SSL_read", "openssl_read", true },
	[READ_EX] = { "SSL_read_ex", "openssl_read_ex", true },
	[WRITE] = { "SSL_write", "openssl_write", true },
	[WRITE_EX] = { "SSL_write_ex", "openssl_write_ex", true },
	{ "gnutls_handshake", "gnutls_handshake", false },
	{ "gnutls_record_recv", "gnutls_recv", true },
	{ "gnutls_record_send", "gnutls_send", true },
	[READ_INNER] = { NULL, "openssl_read_inner", true },
	[WRITE_INNER] = { NULL, "openssl_write_inner", true },
};
#define HOOKS (sizeof(hooks) / sizeof(*hooks))

/* A file with TLS calls. */
struct file {
	dev_t dev;
	ino_t ino; /* 0: a free slot */
	char name[48]; /* without its folder */
	struct bpf_attachment link[2 * HOOKS]; /* in order of attaching */
	size_t returns; /* number of links to returns, which come first */
	size_t links; /* 0: could not be attached */
	uint32_t users; /* processes */
	bool standing; /* pinned as a library of the host */
	uint64_t device; /* the kernel's number for dev; 0: not known */
	uint64_t idle_ns; /* since when there are no users */
};

/* A file without TLS calls. */
struct no_tls {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

/* Links to destroy: those to calls before those to returns. */
struct going {
	struct bpf_attachment call[FILES_MAX * HOOKS], ret[FILES_MAX * HOOKS];
	size_t calls, rets;
};

struct tls_files {
	struct bpf_object *obj;
	bool many; /* its programs are for bpf_attach_attach_many() */
	uint64_t linger_ns;
	/* of file[] and generation, for tls_files_probes() */
	pthread_mutex_t lock;
	uint64_t generation;
	struct file file[FILES_MAX];
	struct no_tls no_tls[NO_TLS_SLOTS];
	struct going going; /* owned by the detacher while busy */
	pthread_t detacher;
	bool detaching, busy; /* started and not joined; not done yet */
	bool full_said;
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
	if (t->many) {
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
	unsigned long at[HOOKS];
	size_t i, n = 0;
	char path[64];
	int err;

	for (i = 0; i < HOOKS; i++)
		if (offset[i])
			at[n++] = offset[i];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	err = attach_at(t, f, "tls_return", true, path, at, n);
	f->returns = f->links;
	for (i = 0, n = 0; !err && i < HOOKS; i++)
		if (offset[i])
			err = attach_at(t, f, hooks[i].program, false, path,
					&at[n++], 1);
	if (err) {
		let_go(f, &undo);
		detach(&undo);
	}
	return err ? err : (int)(2 * n);
}

/* --- files --- */

static struct no_tls *no_tls_slot(struct tls_files *t, const struct stat *st)
{
	uint64_t h = (st->st_ino ^ st->st_dev << 32) * 0x9e3779b97f4a7c15ull;

	return &t->no_tls[h >> 54 & (NO_TLS_SLOTS - 1)];
}

static bool has_no_tls(struct tls_files *t, const struct stat *st)
{
	const struct no_tls *d = no_tls_slot(t, st);

	return d->ino == st->st_ino && d->dev == st->st_dev &&
	       d->size == st->st_size &&
	       d->changed.tv_sec == st->st_ctim.tv_sec &&
	       d->changed.tv_nsec == st->st_ctim.tv_nsec;
}

static void set_no_tls(struct tls_files *t, const struct stat *st)
{
	*no_tls_slot(t, st) = (struct no_tls){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = st->st_size,
		.changed = st->st_ctim,
	};
}

/* Replaces a pair of functions by their common callee, if it has one. */
static void use_common_callee(int fd, uint64_t offset[HOOKS], int call,
			      int call_ex, int inner)
{
	if (!offset[call] || !offset[call_ex])
		return;
	offset[inner] = elf_callee_find(fd, offset[call_ex], offset[call]);
	if (offset[inner])
		offset[call] = offset[call_ex] = 0;
}

/*
 * Finds the file's TLS functions. False: it has none, or none that can be read.
 */
static bool has_calls(int fd, const char *path, uint64_t offset[HOOKS])
{
	const char *names[SYMBOLS + 1];
	uint64_t found[SYMBOLS + 1];
	bool moves = false;
	int n;

	for (size_t i = 0; i < SYMBOLS; i++)
		names[i] = hooks[i].symbol;
	names[SYMBOLS] = WRITE_EX2;
	n = elfsym_find(fd, names, SYMBOLS + 1, found);
	if (n < 0 && n != -ENOEXEC)
		log_warn("tls: cannot read symbols file=%s error=\"%s\"", path,
			 strerror(-n));
	for (size_t i = 0; n > 0 && i < SYMBOLS; i++)
		moves |= hooks[i].moves && found[i];
	if (!moves)
		return false;
	memset(offset, 0, HOOKS * sizeof(*offset));
	memcpy(offset, found, SYMBOLS * sizeof(*offset));
	use_common_callee(fd, offset, READ, READ_EX, READ_INNER);
	if (!found[SYMBOLS])
		use_common_callee(fd, offset, WRITE, WRITE_EX, WRITE_INNER);
	return true;
}

/* Attaches to a new file. Returns as tls_files_of() does. */
static int add_file(struct tls_files *t, int fd, const struct stat *st,
		    const char *path)
{
	struct file new = { .dev = st->st_dev, .ino = st->st_ino };
	const char *name = strrchr(path, '/');
	uint64_t offset[HOOKS];
	int i, n;

	for (i = 0; i < FILES_MAX && t->file[i].ino; i++)
		;
	if (i == FILES_MAX) {
		if (!t->full_said)
			log_warn("tls: too many files with TLS calls; some are "
				 "not captured max=%d file=%s",
				 FILES_MAX, path);
		t->full_said = true;
		return -ENOSPC;
	}
	if (!has_calls(fd, path, offset)) {
		set_no_tls(t, st);
		return -ENOEXEC;
	}
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
		 const char *path, uint64_t device)
{
	int i;

	if (has_no_tls(t, st))
		return -ENOEXEC;
	for (i = 0; i < FILES_MAX; i++)
		if (t->file[i].ino == st->st_ino &&
		    t->file[i].dev == st->st_dev)
			break;
	if (i == FILES_MAX)
		i = add_file(t, fd, st, path);
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
	       now_ns >= f->idle_ns + t->linger_ns;
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
		f->ino = 0;
		changed(t);
	}
	if (t->going.rets)
		start_detaching(t);
}

/* --- life --- */

int tls_files_new(struct tls_files **out, struct bpf_object *obj, bool many,
		  uint64_t linger_ns)
{
	struct tls_files *t = calloc(1, sizeof(*t));

	*out = t;
	if (!t)
		return -ENOMEM;
	t->obj = obj;
	t->many = many;
	t->linger_ns = linger_ns;
	pthread_mutex_init(&t->lock, NULL);
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
	pthread_mutex_destroy(&t->lock);
	free(t);
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
