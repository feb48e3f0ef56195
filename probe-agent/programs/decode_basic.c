/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders that need no table of their own. Texts are ebpf_exporter's. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <programs/syscalls.gen.h>

#include "probe-agent/programs/decode_state.h"

int decode_uint(struct decode *d, const struct decode_in *in, struct buf *out)
{
	uint64_t v;
	int err;

	/* ebpf_exporter reads the four bytes of a text, too. */
	err = decode_number(d, in, &v);
	if (!err)
		err = buf_put_u64(out, v);
	return err;
}

int decode_string(struct decode *d, const struct decode_in *in, struct buf *out)
{
	const void *end = in->len > 0 ? memchr(in->data, 0, in->len) : NULL;

	(void)d;
	return buf_append(out, in->data,
			  end ? (size_t)((const uint8_t *)end - in->data)
			      : in->len);
}

int decode_hex(struct decode *d, const struct decode_in *in, struct buf *out)
{
	static const char digit[] = "0123456789abcdef";

	(void)d;
	for (size_t i = 0; i < in->len; i++) {
		buf_putc(out, digit[in->data[i] >> 4]);
		buf_putc(out, digit[in->data[i] & 15]);
	}
	return out->err;
}

int decode_dname(struct decode *d, const struct decode_in *in, struct buf *out)
{
	size_t at = 0;

	(void)d;
	if (in->len == 0)
		return buf_putc(out, '.');
	while (at < in->len) {
		size_t n = in->data[at++];

		if (at + n > in->len) { /* no name: as it came */
			buf_reset(out);
			return buf_append(out, in->data, in->len);
		}
		if (at > 1)
			buf_putc(out, '.');
		buf_append(out, in->data + at, n);
		at += n;
	}
	return out->err;
}

int decode_static_map(struct decode *d, const struct decode_in *in,
		      struct buf *out)
{
	const struct spec_decoder *s = in->spec;

	(void)d;
	if (s->n_map == 0)
		return buf_puts(out, "empty mapping");
	for (size_t i = 0; i < s->n_map; i++)
		if (strlen(s->map[i].from) == in->len &&
		    !memcmp(s->map[i].from, in->data, in->len))
			return buf_puts(out, s->map[i].to);
	if (!s->allow_unknown)
		buf_puts(out, "unknown:");
	return buf_append(out, in->data, in->len);
}

int decode_errno(struct decode *d, const struct decode_in *in, struct buf *out)
{
	const char *name = NULL;
	uint64_t v;
	int err = decode_number(d, in, &v);

	if (err)
		return err;
	if (v == 95)
		name = "ENOTSUP"; /* glibc says EOPNOTSUPP, Go the other */
	else if (v > 0 && v < 4096)
		name = strerrorname_np((int)v);
	if (name)
		return buf_puts(out, name);
	return buf_printf(out, "unknown:%llu", (unsigned long long)v);
}

int decode_syscall(struct decode *d, const struct decode_in *in,
		   struct buf *out)
{
	uint64_t v;
	int err = decode_number(d, in, &v);

	if (err)
		return err;
	if (v < sizeof(syscall_names) / sizeof(*syscall_names) &&
	    syscall_names[v])
		return buf_puts(out, syscall_names[v]);
	return buf_printf(out, "unknown_syscall:%llu", (unsigned long long)v);
}

/* The first four bytes: what is wider has only more of them. */
static int four_bytes(struct decode *d, const struct decode_in *in,
		      uint32_t *out)
{
	if (in->len < 4)
		return decode_fail(d, "%s: fewer than 4 bytes",
				   spec_decoder_name(in->spec->kind));
	memcpy(out, in->data, 4);
	return 0;
}

int decode_ifname(struct decode *d, const struct decode_in *in, struct buf *out)
{
	char name[IF_NAMESIZE];
	uint32_t index = 0;
	int err = four_bytes(d, in, &index);

	if (err)
		return err;
	if (if_indextoname(index, name))
		return buf_puts(out, name);
	return buf_printf(out, "unknown:%u", index);
}

int decode_majorminor(struct decode *d, const struct decode_in *in,
		      struct buf *out)
{
	unsigned maj, min, wanted_major, wanted_minor;
	unsigned long long blocks;
	char line[256], name[128];
	uint32_t dev = 0;
	FILE *f;
	int err = four_bytes(d, in, &dev);

	if (err)
		return err;
	/* new_encode_dev(): the device number of user space's 32 bits. */
	wanted_major = major(dev);
	wanted_minor = minor(dev);
	f = fopen(d->opt.partitions, "re");
	if (!f)
		return decode_fail(d, "%s: %s", d->opt.partitions,
				   strerror(errno));
	*name = '\0';
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " %u %u %llu %127s", &maj, &min, &blocks,
			   name) == 4 &&
		    maj == wanted_major && min == wanted_minor)
			break;
		else
			*name = '\0';
	fclose(f);
	if (*name)
		return buf_puts(out, name);
	return buf_printf(out, "unknown:%u:%u", wanted_major, wanted_minor);
}

/* --- addresses, as Go's net.IP writes them --- */

static void put_v4(const uint8_t *a, struct buf *out)
{
	buf_printf(out, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
}

static void put_v6(const uint8_t *a, struct buf *out)
{
	uint16_t word[8];
	int best = -1, best_n = 1; /* a single zero is not shortened */

	for (int i = 0; i < 8; i++)
		word[i] = (uint16_t)(a[2 * i] << 8 | a[2 * i + 1]);
	for (int i = 0; i < 8; i++) {
		int n = 0;

		while (i + n < 8 && word[i + n] == 0)
			n++;
		if (n > best_n) {
			best = i;
			best_n = n;
		}
		i += n;
	}
	for (int i = 0; i < 8; i++) {
		if (i == best) {
			buf_puts(out, "::");
			i += best_n - 1;
			continue;
		}
		if (i > 0 && i != best + best_n)
			buf_putc(out, ':');
		buf_printf(out, "%x", word[i]);
	}
}

int decode_inet_ip(struct decode *d, const struct decode_in *in,
		   struct buf *out)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (in->len == 4) {
		put_v4(in->data, out);
	} else if (in->len == 16) {
		if (!memcmp(in->data, mapped, sizeof(mapped)))
			put_v4(in->data + 12, out);
		else
			put_v6(in->data, out);
	} else if (in->len == 0) {
		buf_puts(out, "<nil>");
	} else {
		buf_putc(out, '?');
		return decode_hex(d, in, out);
	}
	return out->err;
}
