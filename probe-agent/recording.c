/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/tap.h"

#define VERSION 1u
#define BUFFER_BYTES (256u << 10)

static const char magic[8] = { 'r', 'e', 'd', 't', 'a', 'p', '\r', '\n' };

struct file_header {
	char magic[8];
	uint32_t version;
	uint32_t layout;
};
static_assert(sizeof(struct file_header) == 16, "as the header says");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as the header says");

struct recording_writer {
	int fd, err;
	size_t len;
	uint64_t written; /* whole records in the file end here */
	char data[BUFFER_BYTES];
};

struct recording_reader {
	FILE *file;
	uint64_t offset;
	bool damaged;
	uint64_t data[RECORDING_RECORD_MAX / sizeof(uint64_t)];
};

static size_t padded(size_t len)
{
	return (4 + len + 7) / 8 * 8;
}

static int flush(struct recording_writer *w)
{
	size_t at = 0;
	ssize_t n;

	while (!w->err && at < w->len) {
		n = write(w->fd, w->data + at, w->len - at);
		if (n >= 0)
			at += (size_t)n;
		else if (errno != EINTR)
			w->err = -errno;
	}
	/* Half a record at the end would look like damage. */
	if (w->err && ftruncate(w->fd, (off_t)w->written) != 0)
		return w->err;
	if (!w->err)
		w->written += w->len;
	w->len = 0;
	return w->err;
}

int recording_create(struct recording_writer **out, const char *path)
{
	struct file_header h = {
		.version = VERSION,
		.layout = sizeof(struct tap_data),
	};
	struct recording_writer *w = malloc(sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->err = 0;
	w->written = 0;
	w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		err = -errno;
		free(w);
		return err;
	}
	memcpy(h.magic, magic, sizeof(magic));
	memcpy(w->data, &h, sizeof(h));
	w->len = sizeof(h);
	err = flush(w);
	if (err) {
		recording_close(w);
		return err;
	}
	*out = w;
	return 0;
}

int recording_write(struct recording_writer *w, const void *rec, size_t len)
{
	size_t size = padded(len);
	uint32_t n = (uint32_t)len;
	char *to;

	if (len == 0 || len > RECORDING_RECORD_MAX)
		return -EMSGSIZE;
	if (w->err)
		return w->err;
	if (size > sizeof(w->data) - w->len && flush(w) != 0)
		return w->err;
	to = w->data + w->len;
	memcpy(to, &n, sizeof(n));
	memcpy(to + 4, rec, len);
	memset(to + 4 + len, 0, size - 4 - len);
	w->len += size;
	return 0;
}

int recording_close(struct recording_writer *w)
{
	int err;

	if (!w)
		return 0;
	err = flush(w);
	if (close(w->fd) != 0 && !err)
		err = -errno;
	free(w);
	return err;
}

int recording_open(struct recording_reader **out, const char *path)
{
	struct recording_reader *r = malloc(sizeof(*r));
	struct file_header h;
	int err;

	if (!r)
		return -ENOMEM;
	r->file = fopen(path, "re");
	if (!r->file) {
		err = -errno;
		free(r);
		return err;
	}
	err = -EPROTO;
	if (fread(&h, sizeof(h), 1, r->file) != 1 ||
	    memcmp(h.magic, magic, sizeof(magic)) != 0)
		goto fail;
	err = -ENOTSUP;
	if (h.version != VERSION || h.layout != sizeof(struct tap_data))
		goto fail;
	r->offset = sizeof(h);
	r->damaged = false;
	*out = r;
	return 0;
fail:
	recording_reader_free(r);
	return err;
}

void recording_reader_free(struct recording_reader *r)
{
	if (!r)
		return;
	fclose(r->file);
	free(r);
}

int recording_read(struct recording_reader *r, const void **rec, size_t *len)
{
	char padding[8];
	size_t got, pad;
	uint32_t n;

	if (r->damaged)
		return -EPROTO;
	got = fread(&n, 1, sizeof(n), r->file);
	if (got == 0 && feof(r->file))
		return 0;
	r->damaged = true;
	if (got != sizeof(n) || n == 0 || n > RECORDING_RECORD_MAX)
		return -EPROTO;
	pad = padded(n) - 4 - n;
	if (fread(r->data, 1, n, r->file) != n ||
	    fread(padding, 1, pad, r->file) != pad)
		return -EPROTO;
	r->damaged = false;
	r->offset += padded(n);
	*rec = r->data;
	*len = n;
	return 1;
}

uint64_t recording_offset(const struct recording_reader *r)
{
	return r->offset;
}
