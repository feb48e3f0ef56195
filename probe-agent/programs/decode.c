/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/programs/decode.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/programs/decode_state.h"
#include "proto/limits.h"
#include "proto/utf8.h"

static decode_fn *const decoders[SPEC_DECODERS] = {
	[SPEC_CGROUP] = decode_cgroup,
	[SPEC_DNAME] = decode_dname,
	[SPEC_ERRNO] = decode_errno,
	[SPEC_HEX] = decode_hex,
	[SPEC_IFNAME] = decode_ifname,
	[SPEC_INET_IP] = decode_inet_ip,
	[SPEC_KSTACK] = decode_kstack,
	[SPEC_KSYM] = decode_ksym,
	[SPEC_MAJORMINOR] = decode_majorminor,
	[SPEC_PCI_CLASS] = decode_pci_class,
	[SPEC_PCI_DEVICE] = decode_pci_device,
	[SPEC_PCI_SUBCLASS] = decode_pci_subclass,
	[SPEC_PCI_VENDOR] = decode_pci_vendor,
	[SPEC_REGEXP] = decode_regexp,
	[SPEC_STATIC_MAP] = decode_static_map,
	[SPEC_STRING] = decode_string,
	[SPEC_SYSCALL] = decode_syscall,
	[SPEC_UINT] = decode_uint,
	[SPEC_INT] = decode_int,
	[SPEC_BOOL] = decode_bool,
	[SPEC_DURATION] = decode_duration,
	[SPEC_COMM] = decode_comm,
	[SPEC_EXE] = decode_exe,
	[SPEC_USER] = decode_user,
	[SPEC_CONTAINER] = decode_container,
	[SPEC_SERVICE] = decode_service,
	[SPEC_CGROUP_CONTAINER] = decode_cgroup_container,
};

int decode_new(struct decode **out, const struct decode_options *opt)
{
	struct decode *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	if (opt)
		d->opt = *opt;
	if (!d->opt.kallsyms)
		d->opt.kallsyms = "/proc/kallsyms";
	if (!d->opt.partitions)
		d->opt.partitions = "/proc/partitions";
	if (!d->opt.pci_ids)
		d->opt.pci_ids = "/usr/share/misc/pci.ids";
	*out = d;
	return 0;
}

void decode_free(struct decode *d)
{
	if (!d)
		return;
	decode_symbols_free(d->symbols);
	decode_cgroups_free(d->cgroups);
	decode_pci_free(d->pci);
	decode_regexps_free(d->regexps);
	buf_fini(&d->a);
	buf_fini(&d->b);
	free(d);
}

uint64_t decode_replaced(const struct decode *d)
{
	return d->replaced;
}

int decode_fail(struct decode *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(d->why, sizeof(d->why), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int decode_number(struct decode *d, const struct decode_in *in, uint64_t *out)
{
	uint64_t v = 0;

	if (in->raw) {
		if (in->len != 1 && in->len != 2 && in->len != 4 &&
		    in->len != 8)
			return decode_fail(d, "%s: %zu bytes are no number",
					   spec_decoder_name(in->spec->kind),
					   in->len);
		/* Of this host's order: the kernel's is no other. */
		for (size_t i = 0; i < in->len; i++)
			v |= (uint64_t)in->data[i] << (8 * i);
		*out = v;
		return 0;
	}
	for (size_t i = 0; i < in->len; i++) {
		unsigned digit = in->data[i] - (unsigned)'0';

		if (digit > 9 || v > (UINT64_MAX - digit) / 10)
			return decode_fail(d, "%s: not a number",
					   spec_decoder_name(in->spec->kind));
		v = v * 10 + digit;
	}
	*out = v;
	return in->len > 0 ? 0
			   : decode_fail(d, "%s: not a number",
					 spec_decoder_name(in->spec->kind));
}

/* --- what may be a label --- */

/* Length of the sequence at text, 0 if it is none. */
static size_t sequence_length(const char *text, size_t len)
{
	for (size_t n = 1; n <= 4 && n <= len; n++)
		if (utf8_valid(text, n))
			return n;
	return 0;
}

/* Bytes that are not UTF-8, and NUL, become U+FFFD each. */
static void put_clean(struct decode *d, const char *text, size_t len,
		      struct buf *out)
{
	size_t start = out->len, i = 0;

	if (len <= LIMIT_STRING_BYTES && utf8_valid(text, len)) {
		buf_append(out, text, len);
		return;
	}
	while (i < len) {
		size_t n = sequence_length(text + i, len - i);
		size_t put = n ? n : 3;

		if (out->len - start + put > LIMIT_STRING_BYTES)
			break;
		if (n)
			buf_append(out, text + i, n);
		else
			buf_append(out, "\xef\xbf\xbd", 3);
		d->replaced += n == 0;
		i += n ? n : 1;
	}
}

int decode_label(struct decode *d, const struct spec_label *l,
		 const uint8_t *in, size_t len, struct buf *out,
		 const char **why)
{
	struct decode_in at = { .data = in, .len = len, .raw = true };
	struct buf *to = &d->a, *other = &d->b;

	for (size_t i = 0; i < l->n_decoders; i++) {
		struct buf *swap = to;
		int err;

		at.spec = &l->decoders[i];
		buf_reset(to);
		err = decoders[at.spec->kind](d, &at, to);
		if (!err)
			err = to->err;
		if (err) {
			*why = d->why;
			return err;
		}
		at.data = (const uint8_t *)(to->data ? to->data : "");
		at.len = to->len;
		at.raw = false;
		to = other;
		other = swap;
	}
	put_clean(d, (const char *)at.data, at.len, out);
	return out->err;
}

int decode_check(struct decode *d, const struct spec_label *l, const char **why)
{
	int err = 0;

	for (size_t i = 0; i < l->n_decoders && !err; i++)
		if (l->decoders[i].kind == SPEC_REGEXP)
			err = decode_regexp_check(d, &l->decoders[i]);
	*why = d->why;
	return err;
}
