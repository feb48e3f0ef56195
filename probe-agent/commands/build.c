/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/commands/build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 128
#define SOURCE_MAX (8u << 20)

/* --- clang --- */

static bool in_path(const char *name)
{
	const char *path = getenv("PATH");
	char one[4096];

	while (path && *path) {
		size_t n = strcspn(path, ":");

		if (snprintf(one, sizeof(one), "%.*s/%s", (int)n, path, name) <
			    (int)sizeof(one) &&
		    access(one, X_OK) == 0)
			return true;
		path += n + (path[n] == ':');
	}
	return false;
}

static const char *find_clang(void)
{
	static const char *const names[] = { "clang-14", "clang",    "clang-15",
					     "clang-16", "clang-17", "clang-18",
					     "clang-19", "clang-20", "clang-13",
					     "clang-12" };
	const char *said = getenv("CLANG");

	if (said && *said)
		return said;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (in_path(names[i]))
			return names[i];
	return NULL;
}

static const char *arch_macro(void)
{
	struct utsname un;

	if (uname(&un))
		return "-D__TARGET_ARCH_x86";
	if (!strcmp(un.machine, "aarch64"))
		return "-D__TARGET_ARCH_arm64";
	if (!strcmp(un.machine, "riscv64"))
		return "-D__TARGET_ARCH_riscv";
	if (!strcmp(un.machine, "s390x"))
		return "-D__TARGET_ARCH_s390";
	if (!strcmp(un.machine, "ppc64le"))
		return "-D__TARGET_ARCH_powerpc";
	return "-D__TARGET_ARCH_x86";
}

/* Debian keeps asm/ there; clang for BPF does not look into it by itself. */
static const char *host_includes(void)
{
	static char path[128];
	struct utsname u;

	uname(&u);
	snprintf(path, sizeof(path), "/usr/include/%.60s-linux-gnu", u.machine);
	return path;
}

static int run_clang(const char *const *argv)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *copy[ARGS_MAX];
		size_t n = 0;

		for (; argv[n] && n + 1 < ARGS_MAX; n++)
			memcpy(&copy[n], &argv[n], sizeof(copy[n]));
		copy[n] = NULL;
		execvp(copy[0], copy);
		fprintf(stderr, "%s: %s\n", copy[0], strerror(errno));
		_exit(127);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EINVAL;
}

/* --- the folder that the compiler works in --- */

struct work {
	char dir[64];
	const char *clang;
	const struct build_options *opt;
};

static int put_file(const struct work *w, const char *name, const char *text,
		    size_t len)
{
	char path[128];
	FILE *f;
	int err = 0;

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	f = fopen(path, "we");
	if (!f)
		return -errno;
	if (fwrite(text, 1, len, f) != len)
		err = -EIO;
	if (fclose(f) && !err)
		err = -errno;
	return err;
}

static void remove_folder(const struct work *w)
{
	DIR *dir = w->opt->keep ? NULL : opendir(w->dir);
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	rmdir(w->dir);
}

static int begin_work(struct work *w, const struct build_options *opt)
{
	const char *tmp = getenv("TMPDIR");
	char path[128];
	int err;

	*w = (struct work){ .opt = opt, .clang = find_clang() };
	if (!w->clang) {
		fprintf(stderr, "there is no clang: install it (apt-get "
				"install clang), or set CLANG\n");
		return -ENOENT;
	}
	snprintf(w->dir, sizeof(w->dir), "%.32s/redtap-build-XXXXXX",
		 tmp && *tmp && strlen(tmp) <= 32 ? tmp : "/tmp");
	if (!mkdtemp(w->dir))
		return -errno;
	snprintf(path, sizeof(path), "%s/vmlinux.h", w->dir);
	err = build_write_types(path);
	if (!err)
		err = put_file(w, "solo_types.h", build_header_solo_types(),
			       strlen(build_header_solo_types()));
	if (!err)
		err = put_file(w, "redtap_count.h", build_header_count(),
			       strlen(build_header_count()));
	if (!err)
		err = put_file(w, "redtap_bcc_prelude.h",
			       build_header_prelude(),
			       strlen(build_header_prelude()));
	if (err)
		remove_folder(w);
	return err;
}

enum style {
	STYLE_C,
	STYLE_BARE, /* it brings its own types */
	STYLE_BCC,
};

static void add_flag(const char **argv, size_t *n, const char *arg)
{
	if (*n + 1 < ARGS_MAX)
		argv[(*n)++] = arg;
}

/* source: within the folder. */
static int compile_file(const struct work *w, enum style style,
			const char *source, const char *folder,
			const char *object)
{
	char include[80], beside[4200], input[256];
	const char *argv[ARGS_MAX];
	size_t n = 0;

	snprintf(include, sizeof(include), "-I%s", w->dir);
	snprintf(beside, sizeof(beside), "-I%s", folder);
	snprintf(input, sizeof(input), "%s/%s", w->dir, source);
	add_flag(argv, &n, w->clang);
	add_flag(argv, &n, "-O2");
	add_flag(argv, &n, "-g");
	add_flag(argv, &n, "-target");
	add_flag(argv, &n, "bpf");
	add_flag(argv, &n, "-mcpu=v3");
	add_flag(argv, &n, "-Wall");
	add_flag(argv, &n, "-Wno-unused-function");
	add_flag(argv, &n, "-Werror=implicit-function-declaration");
	add_flag(argv, &n, "-Wno-address-of-packed-member");
	add_flag(argv, &n, "-Wno-compare-distinct-pointer-types");
	add_flag(argv, &n, arch_macro());
	add_flag(argv, &n, beside);
	add_flag(argv, &n, include);
	add_flag(argv, &n, "-idirafter");
	add_flag(argv, &n, host_includes());
	if (style != STYLE_BARE) {
		add_flag(argv, &n, "-include");
		add_flag(argv, &n, "vmlinux.h");
	}
	if (style != STYLE_BARE) {
		add_flag(argv, &n, "-include");
		add_flag(argv, &n, "bpf/bpf_helpers.h");
		add_flag(argv, &n, "-include");
		add_flag(argv, &n, "redtap_count.h");
	}
	if (style == STYLE_BCC) {
		add_flag(argv, &n, "-ffunction-sections");
		add_flag(argv, &n, "-include");
		add_flag(argv, &n, "redtap_bcc_prelude.h");
	}
	for (size_t i = 0; i < w->opt->n_cflags; i++)
		add_flag(argv, &n, w->opt->cflags[i]);
	add_flag(argv, &n, "-c");
	add_flag(argv, &n, input);
	add_flag(argv, &n, "-o");
	add_flag(argv, &n, object);
	argv[n] = NULL;
	return run_clang(argv);
}

/* --- sources --- */

static int read_all(struct buf *out, const char *path)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		return -errno;
	out->max = SOURCE_MAX;
	do {
		char *to = buf_reserve(out, 65536);

		n = to ? fread(to, 1, 65536, f) : 0;
		out->len += n;
	} while (n > 0);
	fclose(f);
	return out->err;
}

static void folder_of(char *out, size_t size, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash)
		snprintf(out, size, "%.*s", (int)(slash - path + 1), path);
	else
		snprintf(out, size, ".");
}

/* Does it include the user's headers of the kernel, and not vmlinux.h? */
static bool brings_types(const struct buf *text)
{
	return !memmem(text->data, text->len, "vmlinux.h", 9) &&
	       memmem(text->data, text->len, "<linux/", 7);
}

int build_source(const char *source, const char *object,
		 const struct build_options *opt)
{
	struct buf text = { 0 }, out = { 0 };
	char folder[4096];
	struct work w;
	int err = read_all(&text, source);

	if (err) {
		fprintf(stderr, "%s: %s\n", source, strerror(-err));
		return err;
	}
	err = begin_work(&w, opt);
	if (err) {
		buf_fini(&text);
		return err;
	}
	buf_printf(&out, "#line 1 \"%s\"\n", source);
	err = build_rewrite_sections(&out, text.data, text.len);
	if (!err)
		err = put_file(&w, "program.c", out.data, out.len);
	folder_of(folder, sizeof(folder), source);
	if (!err)
		err = compile_file(&w,
				   brings_types(&text) ? STYLE_BARE : STYLE_C,
				   "program.c", folder, object);
	remove_folder(&w);
	buf_fini(&text);
	buf_fini(&out);
	return err;
}

static int build_code(const struct work *w, const struct spec *s,
		      const char *object)
{
	struct buf out = { 0 };
	char folder[4096];
	int err = build_rewrite_bcc(&out, s);

	if (!err)
		err = put_file(w, "program.c", out.data, out.len);
	folder_of(folder, sizeof(folder), s->file);
	if (!err)
		err = compile_file(w, STYLE_BCC, "program.c", folder, object);
	buf_fini(&out);
	return err;
}

static void on_warning(void *arg, const char *file, unsigned line,
		       const char *what)
{
	(void)arg;
	fprintf(stderr, "%s:%u: warning: %s\n", file, line, what);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int build_file(const char *yaml, const char *folder,
	       const struct build_options *opt)
{
	const struct spec_options so = { .warn = on_warning };
	struct spec_error e = { 0 };
	struct spec *list;
	struct work w;
	size_t n, built = 0;
	int err = spec_load(&list, &n, yaml, &so, &e);

	if (err) {
		fprintf(stderr, "%s:%u: %s\n", yaml, e.line,
			e.what[0] ? e.what : strerror(-err));
		return err;
	}
	err = begin_work(&w, opt);
	if (err) {
		spec_free(list, n);
		return err;
	}
	for (size_t i = 0; i < n && !err; i++) {
		char path[4200];

		if (!list[i].code)
			continue;
		snprintf(path, sizeof(path), "%s", list[i].object);
		if (folder)
			snprintf(path, sizeof(path), "%s/%s", folder,
				 base_name(list[i].object));
		err = build_code(&w, &list[i], path);
		built++;
		if (!err)
			printf("%s\n", path);
	}
	if (!err && built == 0) {
		fprintf(stderr,
			"%s: has no code: build the source of its object\n",
			yaml);
		err = -EINVAL;
	}
	remove_folder(&w);
	spec_free(list, n);
	return err;
}

char *build_object_name(const char *source)
{
	size_t n = strlen(source);
	char *out = NULL;

	if (n > 6 && !strcmp(source + n - 6, ".bpf.c"))
		n -= 6;
	else if (n > 2 && !strcmp(source + n - 2, ".c"))
		n -= 2;
	return asprintf(&out, "%.*s.bpf.o", (int)n, source) < 0 ? NULL : out;
}
