/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the kernel's verifier makes of each program: verifier OBJECT... prints a
 * line for each, "OBJECT PROGRAM N", N the instructions that it processed, or
 * "OBJECT PROGRAM -ERRNO" if it can't be loaded. Status 1 if there was one that
 * should have been: one whose function the kernel lacks is left out.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

/* BPF_LOG_LEVEL1 and BPF_LOG_STATS of the kernel; the first one fills megabytes
 */
#define LOG_STATS 4

static char log_text[1 << 16];

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	if (level == LIBBPF_WARN && getenv("VERIFIER_LOG"))
		vfprintf(stderr, fmt, args);
	return 0;
}

/* "fexit/tcp_sendpage": does the kernel have that function? */
static bool there(const struct btf *btf, const char *section)
{
	static const char *const kinds[] = { "fentry/", "fexit/", "kprobe/",
					     "kretprobe/" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		size_t n = strlen(kinds[i]);

		if (!strncmp(section, kinds[i], n))
			return btf__find_by_name_kind(btf, section + n,
						      BTF_KIND_FUNC) > 0;
	}
	return true;
}

/* Loads this one program of the object alone. Instructions, or -errno. */
static long load_one(const char *path, const char *name)
{
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	struct bpf_program *p;
	const char *found;
	long n = -EINVAL;
	int err;

	if (!obj)
		return -errno;
	bpf_object__for_each_program(p, obj)
	{
		bool it = !strcmp(bpf_program__name(p), name);

		bpf_program__set_autoload(p, it);
		if (it) {
			bpf_program__set_log_level(p, LOG_STATS);
			bpf_program__set_log_buf(p, log_text, sizeof(log_text));
		}
	}
	memset(log_text, 0, sizeof(log_text));
	err = bpf_object__load(obj);
	found = strstr(log_text, "processed ");
	if (err) {
		n = err;
		fprintf(stderr, "%s: %s\n", name, log_text);
	} else if (found)
		n = strtol(found + strlen("processed "), NULL, 10);
	bpf_object__close(obj);
	return n;
}

static int each(const char *path, const struct btf *btf)
{
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	const char *base = strrchr(path, '/');
	struct bpf_program *p;
	int bad = 0;

	if (!obj) {
		perror(path);
		return 1;
	}
	base = base ? base + 1 : path;
	bpf_object__for_each_program(p, obj)
	{
		long n;

		if (!there(btf, bpf_program__section_name(p)))
			continue;
		n = load_one(path, bpf_program__name(p));
		printf("%.*s %s %ld\n", (int)strcspn(base, "."), base,
		       bpf_program__name(p), n);
		fflush(stdout);
		bad |= n < 0;
	}
	bpf_object__close(obj);
	return bad;
}

int main(int argc, char **argv)
{
	struct btf *btf;
	int bad = 0;

	libbpf_set_print(quiet);
	btf = btf__load_vmlinux_btf();
	if (!btf) {
		perror("the kernel's BTF");
		return 1;
	}
	for (int i = 1; i < argc; i++)
		bad |= each(argv[i], btf);
	btf__free(btf);
	return bad;
}
