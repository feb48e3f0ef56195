/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of program files: what is in it runs. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "probe-agent/worker/worker_state.h"

#define FILE_MAX (16u << 20)

static bool ends_with(const char *name, const char *with)
{
	size_t n = strlen(name), k = strlen(with);

	return n > k && !strcmp(name + n - k, with);
}

/* --- what a file says, as one digest --- */

static void add_file(struct buf *all, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return;
	}
	do {
		char *to = buf_reserve(all, 65536);

		n = to ? read(fd, to, 65536) : 0;
		if (n > 0)
			all->len += (size_t)n;
	} while (n > 0 && all->len < 2 * FILE_MAX);
	close(fd);
}

static void digest_of(const char *file, const char *object, uint8_t *out)
{
	struct buf all = { 0 };

	add_file(&all, file);
	if (object && strcmp(object, file) != 0)
		add_file(&all, object);
	sha256(all.data ? all.data : "", all.len, out);
	buf_fini(&all);
}

/* --- programs of a file --- */

static struct worker_program *find_program(struct worker *w, const char *name)
{
	for (size_t i = 0; i < w->n_programs; i++)
		if (!strcmp(program_name(w->program[i].program), name))
			return &w->program[i];
	return NULL;
}

static bool is_same(const struct worker_program *wp, const struct spec *s,
		    const uint8_t *digest)
{
	return !strcmp(program_spec(wp->program)->file, s->file) &&
	       !memcmp(wp->digest, digest, sizeof(wp->digest));
}

/*
 * A program that changed: the new one is loaded before the old one is detached,
 * so that the gap between them is short.
 */
static int replace(struct worker *w, const char *name, struct spec *s,
		   const uint8_t *digest)
{
	struct worker_program *fresh, *old;
	int err = worker_add(w, s, digest, &fresh);

	if (err)
		return err;
	fresh->stays = true;
	/* With pins, maps of the old one would be taken over. */
	if (!program_spec(fresh->program)->pin)
		err = program_load(fresh->program);
	old = find_program(w, name);
	if (err != -ENOMEM && old && old != fresh) {
		worker_end(w, old);
		program_follow(fresh->program, old->program);
		worker_remove(w, (size_t)(old - w->program));
		fresh = find_program(w, name);
	}
	if (err == -EINVAL) {
		w->changed = true;
		log_warn("program does not run whole program=%s state=failed "
			 "reason=\"%s\"",
			 name, program_reason(fresh->program));
		return 0;
	}
	return err ? err : worker_begin(w, fresh);
}

static int take_spec(struct worker *w, struct spec *s)
{
	struct worker_program *old = find_program(w, s->name), *fresh;
	uint8_t digest[SHA256_BYTES];
	char name[WORKER_NAME_BYTES];
	int err;

	snprintf(name, sizeof(name), "%s", s->name);
	digest_of(s->file, s->object, digest);
	if (old && old->stays) {
		log_warn("program of this name is there already program=%s "
			 "file=%s first=%s",
			 name, s->file, program_spec(old->program)->file);
		return 0;
	}
	if (old && is_same(old, s, digest)) {
		old->stays = true;
		return 0;
	}
	if (old)
		return replace(w, name, s, digest);
	err = worker_add(w, s, digest, &fresh);
	if (err)
		return err == -E2BIG ? 0 : err;
	fresh->stays = true;
	return worker_begin(w, fresh);
}

static void on_warning(void *arg, const char *file, unsigned line,
		       const char *what)
{
	(void)arg;
	log_warn("%s:%u: %s", file, line, what);
}

/* A file that is wrong is shown as a program that failed. */
static int take_wrong(struct worker *w, const char *path,
		      const struct spec_options *opt,
		      const struct spec_error *e, int err)
{
	uint8_t digest[SHA256_BYTES];
	struct worker_program *wp;
	struct spec s;
	char why[320];

	if (e->line)
		snprintf(why, sizeof(why), "%s:%u: %s", path, e->line, e->what);
	else
		snprintf(why, sizeof(why), "%s: %s", path,
			 e->what[0] ? e->what : strerror(-err));
	log_error("program file is wrong: %s", why);
	if (spec_for_object(&s, path, opt))
		return -ENOMEM;
	digest_of(path, NULL, digest);
	wp = find_program(w, s.name);
	if (wp && is_same(wp, &s, digest)) {
		wp->stays = true;
		spec_fini(&s);
		return 0;
	}
	err = worker_add(w, &s, digest, &wp);
	if (err) {
		spec_fini(&s);
		return err == -E2BIG ? 0 : err;
	}
	wp->stays = true;
	program_fail(wp->program, SAMPLES_FAILED, "%s", why);
	return 0;
}

static int take_file(struct worker *w, const char *path)
{
	const struct spec_options opt = {
		.prefix = w->opt->prefix,
		.limits = &w->opt->limits,
		.warn = on_warning,
	};
	struct spec_error e = { 0 };
	struct spec *list, one;
	size_t n;
	int err;

	if (ends_with(path, ".o")) {
		err = spec_for_object(&one, path, &opt);
		if (!err)
			err = take_spec(w, &one);
		spec_fini(&one);
		return err;
	}
	if (worker_quarantined(w, path)) {
		snprintf(e.what, sizeof(e.what), "%s",
			 worker_quarantined(w, path));
		return take_wrong(w, path, &opt, &e, -EINVAL);
	}
	worker_phase(w, path, "parse");
	err = spec_load(&list, &n, path, &opt, &e);
	worker_phase(w, "", "");
	if (err)
		return err == -ENOMEM ? err
				      : take_wrong(w, path, &opt, &e, err);
	for (size_t i = 0; i < n && !err; i++)
		err = take_spec(w, &list[i]);
	spec_free(list, n);
	return err;
}

/* --- the folder --- */

static int is_program(const struct dirent *e)
{
	return e->d_name[0] != '.' &&
	       (ends_with(e->d_name, ".yaml") || ends_with(e->d_name, ".yml") ||
		ends_with(e->d_name, ".o"));
}

/* An object with a file of its name beside it is that file's. */
static bool has_file(struct dirent **list, int n, const char *object)
{
	size_t len = strcspn(object, ".");

	if (!ends_with(object, ".o"))
		return false;
	for (int i = 0; i < n; i++)
		if (!ends_with(list[i]->d_name, ".o") &&
		    !strncmp(list[i]->d_name, object, len) &&
		    list[i]->d_name[len] == '.')
			return true;
	return false;
}

/* Is it named by a file's object: line? Then that file has it. */
static bool is_taken(const struct worker *w, const char *path)
{
	for (size_t i = 0; i < w->n_programs; i++) {
		const struct spec *s = program_spec(w->program[i].program);

		if (w->program[i].stays && s->object &&
		    strcmp(s->file, s->object) != 0 && !strcmp(s->object, path))
			return true;
	}
	return false;
}

static int take_all(struct worker *w, struct dirent **list, int n)
{
	char path[4096];
	int err = 0;

	/* Files first: they say which objects are theirs. */
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < n && !err; i++) {
			const char *name = list[i]->d_name;

			if (ends_with(name, ".o") != (pass == 1))
				continue;
			snprintf(path, sizeof(path), "%s/%s", w->opt->dir,
				 name);
			if (pass == 1 &&
			    (has_file(list, n, name) || is_taken(w, path)))
				continue;
			err = take_file(w, path);
		}
	return err;
}

int worker_scan(struct worker *w)
{
	struct dirent **list = NULL;
	int n, err;

	for (size_t i = 0; i < w->n_programs; i++)
		w->program[i].stays = w->program[i].client;
	n = w->opt->dir ? scandir(w->opt->dir, &list, is_program, alphasort)
			: 0;
	if (n < 0)
		log_warn("cannot read the folder of programs dir=%s "
			 "error=\"%s\"",
			 w->opt->dir, strerror(errno));
	err = n > 0 ? take_all(w, list, n) : 0;
	for (int i = 0; i < n; i++)
		free(list[i]);
	free(list);
	for (size_t i = w->n_programs; i-- > 0;) {
		if (w->program[i].stays)
			continue;
		log_info("program ends program=%s",
			 program_name(w->program[i].program));
		worker_end(w, &w->program[i]);
		worker_remove(w, i);
	}
	return err;
}
