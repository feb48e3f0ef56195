/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Maps and links that stay in the kernel when the process that loaded them is
 * killed: in a folder of the BPF file system, named after what they were made
 * of. That file system is empty after a boot, so they are of this one.
 */

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "common/buf.h"
#include "common/clock.h"
#include "probe-agent/worker/object_state.h"

#define BPF_FS_MAGIC 0xcafe4a11u
#define WHOLE "whole_" /* the last that is pinned, and the generation */

/* All that decides what code runs: another of it is another object. */
static int folder_of(const struct object *o, char *out, size_t size)
{
	const struct spec *s = o->opt.spec;
	uint8_t digest[SHA256_BYTES];
	struct buf all = { 0 };
	int n;

	buf_append(&all, o->digest, sizeof(o->digest));
	for (size_t i = 0; i < s->n_consts; i++)
		buf_printf(&all, "const %s=%lld\n", s->consts[i].name,
			   (long long)s->consts[i].value);
	for (size_t i = 0; i < s->n_attach; i++)
		for (size_t k = 0; k < s->attach[i].n_any_of; k++)
			buf_printf(&all, "attach %s=%s\n",
				   s->attach[i].function,
				   s->attach[i].any_of[k]);
	if (all.err) {
		buf_fini(&all);
		return -ENOMEM;
	}
	sha256(all.data, all.len, digest);
	buf_fini(&all);
	n = snprintf(out, size, "%s/", o->opt.pin_dir);
	for (unsigned i = 0; i < 16 && n + 3 < (int)size; i++)
		n += snprintf(out + n, size - (size_t)n, "%02x", digest[i]);
	return n + 3 < (int)size ? 0 : -ENAMETOOLONG;
}

static void remove_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

/* Those of other versions of the object, too. */
static void remove_all(const char *pin_dir)
{
	DIR *dir = opendir(pin_dir);
	struct dirent *e;
	char path[512];

	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.' ||
		    snprintf(path, sizeof(path), "%s/%s", pin_dir, e->d_name) >=
			    (int)sizeof(path))
			continue;
		remove_folder(path);
	}
	if (dir)
		closedir(dir);
	rmdir(pin_dir);
}

/* bpffs takes no dot in a name. */
static int path_of(char *out, size_t size, const char *folder, char kind,
		   const char *name, size_t number)
{
	int n = snprintf(out, size, "%s/%c%zu_%s", folder, kind, number, name);

	if (n >= (int)size)
		return -ENAMETOOLONG;
	for (char *p = out + strlen(folder); *p; p++)
		if (*p == '.')
			*p = '_';
	return 0;
}

/* --- finding them --- */

static bool fits_map(int fd, const struct object_map *m)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &len) &&
	       info.type == m->kernel_type && info.key_size == m->key_size &&
	       info.value_size == m->value_size;
}

static int adopt_maps(struct object *o, const char *folder)
{
	for (size_t i = 0; i < o->n_maps; i++) {
		char path[512];
		int fd;

		if (o->map[i].internal)
			continue;
		if (path_of(path, sizeof(path), folder, 'm', o->map[i].name, i))
			return -ENOENT;
		fd = bpf_obj_get(path);
		if (fd < 0)
			return -ENOENT;
		o->map[i].fd = fd;
		if (!fits_map(fd, &o->map[i]))
			return -ENOENT;
	}
	return 0;
}

static int adopt_link(struct object *o, int fd, size_t number)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);
	int *list =
		reallocarray(o->adopted_link, o->n_adopted + 1, sizeof(*list));

	if (!list || number >= o->n_programs) {
		close(fd);
		return list ? -ENOENT : -ENOMEM;
	}
	o->adopted_link = list;
	list[o->n_adopted++] = fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -ENOENT;
	if (o->program[number].fd < 0)
		o->program[number].fd = bpf_prog_get_fd_by_id(info.prog_id);
	o->program[number].attached = true;
	return 0;
}

static int adopt_links(struct object *o, const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	int err = 0;

	if (!dir)
		return -ENOENT;
	while (!err && (e = readdir(dir))) {
		char path[512];
		unsigned number;
		int fd;

		if (sscanf(e->d_name, "l%u_", &number) != 1 ||
		    snprintf(path, sizeof(path), "%s/%s", folder, e->d_name) >=
			    (int)sizeof(path))
			continue;
		fd = bpf_obj_get(path);
		err = fd < 0 ? -ENOENT : adopt_link(o, fd, number);
	}
	closedir(dir);
	/* What has nothing to attach to has no link either. */
	for (size_t i = 0; i < o->n_programs; i++)
		o->program[i].wanted = o->program[i].attached;
	return err;
}

static void let_go(struct object *o)
{
	for (size_t i = 0; i < o->n_maps; i++)
		if (o->map[i].fd >= 0)
			close(o->map[i].fd);
	for (size_t i = 0; i < o->n_programs; i++)
		if (o->program[i].fd >= 0)
			close(o->program[i].fd);
	while (o->n_adopted > 0)
		close(o->adopted_link[--o->n_adopted]);
}

/* 0: they are not all there. */
static uint64_t find_generation(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	uint64_t found = 0;

	while (dir && !found && (e = readdir(dir)))
		if (sscanf(e->d_name, WHOLE "%" SCNx64, &found) != 1)
			found = 0;
	if (dir)
		closedir(dir);
	return found;
}

int object_adopt(struct object *o)
{
	char folder[400];
	int err = folder_of(o, folder, sizeof(folder));

	if (err)
		return err;
	o->generation = find_generation(folder);
	err = o->generation ? adopt_maps(o, folder) : -ENOENT;
	if (!err)
		err = adopt_links(o, folder);
	if (err) {
		let_go(o);
		remove_all(o->opt.pin_dir);
	}
	return err;
}

/* --- making them --- */

static int make_folders(const char *folder)
{
	char path[400];

	snprintf(path, sizeof(path), "%s", folder);
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (uint32_t)fs.f_type == BPF_FS_MAGIC;
}

int object_mount_pins(const char *root)
{
	static const char usual[] = "/sys/fs/bpf";
	const char *at = root;
	int err = 0;

	if (!strncmp(root, usual, strlen(usual)))
		at = usual;
	else
		err = make_folders(root);
	if (err || is_bpffs(at))
		return err;
	return mount("bpf", at, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     "mode=0700")
		       ? -errno
		       : 0;
}

static int pin_fd(struct object *o, int fd, const char *path)
{
	if (!bpf_obj_pin(fd, path))
		return 0;
	object_fail(o, "pin: %s: %s", path, strerror(errno));
	return -EINVAL;
}

/* Number of the program that the link is of. */
static size_t program_of(const struct object *o, const struct bpf_link *link)
{
	struct bpf_link_info info = { 0 };
	struct bpf_prog_info prog;
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &len))
		return o->n_programs;
	for (size_t i = 0; i < o->n_programs; i++) {
		memset(&prog, 0, sizeof(prog));
		len = sizeof(prog);
		if (o->program[i].fd >= 0 &&
		    !bpf_obj_get_info_by_fd(o->program[i].fd, &prog, &len) &&
		    prog.id == info.prog_id)
			return i;
	}
	return o->n_programs;
}

static int pin_links(struct object *o, const char *folder)
{
	char path[512], name[24];

	for (size_t i = 0; i < o->n_links; i++) {
		size_t program = program_of(o, o->link[i]);
		int err;

		if (program == o->n_programs) {
			object_fail(o, "pin: a link of this kind (usdt, or "
				       "perf on this kernel) cannot be pinned");
			return -EINVAL;
		}
		snprintf(name, sizeof(name), "%zu", i);
		err = path_of(path, sizeof(path), folder, 'l', name, program);
		if (!err)
			err = pin_fd(o, bpf_link__fd(o->link[i]), path);
		if (err)
			return err;
	}
	return 0;
}

int object_pin(struct object *o)
{
	char folder[400], path[512];
	int first = -1, err = folder_of(o, folder, sizeof(folder));

	if (err)
		return err;
	err = make_folders(folder);
	if (err)
		object_fail(o, "pin: %s: %s", folder, strerror(-err));
	for (size_t i = 0; i < o->n_maps && !err; i++) {
		if (o->map[i].internal || o->map[i].fd < 0)
			continue;
		err = path_of(path, sizeof(path), folder, 'm', o->map[i].name,
			      i);
		if (!err)
			err = pin_fd(o, o->map[i].fd, path);
		first = o->map[i].fd;
	}
	if (!err)
		err = pin_links(o, folder);
	o->generation = (uint64_t)clock_real_ns();
	snprintf(path, sizeof(path), "%s/" WHOLE "%" PRIx64, folder,
		 o->generation);
	if (!err && first >= 0)
		err = pin_fd(o, first, path);
	if (err)
		remove_all(o->opt.pin_dir);
	return err;
}

void object_unpin(struct object *o)
{
	if (o->opt.pin_dir)
		remove_all(o->opt.pin_dir);
}
