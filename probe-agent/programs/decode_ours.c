/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders that ebpf_exporter has not: what BTF tells, and processes. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe-agent/programs/decode_state.h"

int decode_int(struct decode *d, const struct decode_in *in, struct buf *out)
{
	uint64_t v;
	int err = decode_number(d, in, &v);
	unsigned unused = in->raw ? 64 - 8 * (unsigned)in->len : 0;

	if (err)
		return err;
	/* The sign is the top bit of as many bytes as there are. */
	return buf_put_i64(out, (int64_t)(v << unused) >> unused);
}

int decode_bool(struct decode *d, const struct decode_in *in, struct buf *out)
{
	uint64_t v;
	int err = decode_number(d, in, &v);

	return err ? err : buf_puts(out, v ? "true" : "false");
}

/* A number with its fraction, trailing zeros left out, and a unit. */
static int put_fraction(struct buf *out, uint64_t ns, uint64_t unit_ns,
			const char *unit)
{
	uint64_t rest = ns % unit_ns, digits = unit_ns / 10;

	buf_put_u64(out, ns / unit_ns);
	if (rest)
		buf_putc(out, '.');
	for (; rest; digits /= 10) {
		buf_putc(out, (char)('0' + rest / digits));
		rest %= digits;
	}
	return buf_puts(out, unit);
}

/* Nanoseconds as Go writes a time.Duration: 1.5ms, 2m3s, 0s. */
int decode_duration(struct decode *d, const struct decode_in *in,
		    struct buf *out)
{
	const uint64_t second = 1000000000;
	uint64_t ns;
	int err = decode_number(d, in, &ns);

	if (err)
		return err;
	if (ns == 0)
		return buf_puts(out, "0s");
	if (ns < 1000)
		return buf_printf(out, "%lluns", (unsigned long long)ns);
	if (ns < 1000000)
		return put_fraction(out, ns, 1000, "\xc2\xb5s");
	if (ns < second)
		return put_fraction(out, ns, 1000000, "ms");
	if (ns >= 3600 * second)
		buf_printf(out, "%lluh",
			   (unsigned long long)(ns / (3600 * second)));
	if (ns >= 60 * second)
		buf_printf(out, "%llum",
			   (unsigned long long)(ns / (60 * second) % 60));
	return put_fraction(out, ns % (60 * second), second, "s");
}

/* --- processes --- */

static int pid_of(struct decode *d, const struct decode_in *in, uint32_t *out)
{
	uint64_t v;
	int err = decode_number(d, in, &v);

	/* pid_tgid has the process in its upper half. */
	if (!err)
		*out = in->raw && in->len == 8 && v >> 32 ? (uint32_t)(v >> 32)
							  : (uint32_t)v;
	return err;
}

static int put_unknown(struct buf *out, uint32_t pid)
{
	return buf_printf(out, "unknown:%u", pid);
}

int decode_comm(struct decode *d, const struct decode_in *in, struct buf *out)
{
	char path[64], comm[64];
	uint32_t pid;
	int fd, err = pid_of(d, in, &pid);
	ssize_t n;

	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, comm, sizeof(comm));
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return put_unknown(out, pid);
	return buf_append(out, comm, (size_t)n - (comm[n - 1] == '\n'));
}

int decode_exe(struct decode *d, const struct decode_in *in, struct buf *out)
{
	char path[64], target[4096], *base;
	uint32_t pid;
	int err = pid_of(d, in, &pid);
	ssize_t n;

	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/%u/exe", pid);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return put_unknown(out, pid);
	target[n] = '\0';
	base = strrchr(target, '/');
	return buf_puts(out, base ? base + 1 : target);
}

int decode_user(struct decode *d, const struct decode_in *in, struct buf *out)
{
	struct passwd p, *found = NULL;
	char memory[4096];
	uint64_t uid;
	int err = decode_number(d, in, &uid);

	if (err)
		return err;
	uid &= UINT32_MAX; /* bpf_get_current_uid_gid(): group above */
	if (getpwuid_r((uid_t)uid, &p, memory, sizeof(memory), &found) == 0 &&
	    found)
		return buf_puts(out, p.pw_name);
	return buf_put_u64(out, uid);
}

int decode_service(struct decode *d, const struct decode_in *in,
		   struct buf *out)
{
	const char *service = NULL, *container = NULL;
	uint32_t pid;
	int err = pid_of(d, in, &pid);

	if (err)
		return err;
	if (!d->opt.process ||
	    !d->opt.process(d->opt.arg, pid, &service, &container) || !service)
		return put_unknown(out, pid);
	return buf_puts(out, service);
}

int decode_container(struct decode *d, const struct decode_in *in,
		     struct buf *out)
{
	const char *service = NULL, *container = NULL;
	uint32_t pid;
	int err = pid_of(d, in, &pid);

	if (err)
		return err;
	if (!d->opt.process ||
	    !d->opt.process(d->opt.arg, pid, &service, &container))
		return put_unknown(out, pid);
	return buf_puts(out, container ? container : "");
}

/* The first run of 64 hexadecimal digits in a cgroup's path. */
int decode_cgroup_container(struct decode *d, const struct decode_in *in,
			    struct buf *out)
{
	const char *path;
	uint64_t id;
	size_t n = 0;
	int err = decode_number(d, in, &id);

	if (err)
		return err;
	path = decode_cgroup_path(d, id);
	for (; path && *path; path++) {
		n = strspn(path, "0123456789abcdef");
		if (n == 64)
			return buf_append(out, path, 64);
		if (n > 0)
			path += n - 1;
	}
	return out->err;
}
