/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tap/recording.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/tap.h"

#define VERSION 1u
#define BUFFER_BYTES (256u << 10)
#define BEGIN 4u /* where the file starts in the reader's buffer */

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
	uint64_t written; /* size of the file up to its last whole record */
	char data[BUFFER_BYTES];
};

/*
 * In the file, a record begins after its length, at an odd multiple of 4. The
 * file is read to an odd multiple of 4 in memory, so that records are aligned
 * to 8 and can be lent in place.
 */
struct recording_reader {
	int fd;
	uint64_t offset;
	bool damaged;
	size_t at, end; /* in bytes[]: what is read and not lent yet */
	_Alignas(8) char bytes[RECORDING_RECORD_MAX + BUFFER_BYTES];
};
static size_t padded(size_t len)
{
	return (4 + len + 7) / 8 * 8;
}

static int flush_records(struct recording_writer *w)
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
		.layout = sizeof(struct tap_rec_data),
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
	err = flush_records(w);
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
	if (size > sizeof(w->data) - w->len && flush_records(w) != 0)
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
	err = flush_records(w);
	if (close(w->fd) != 0 && !err)
		err = -errno;
	free(w);
	return err;
}

/*
 * Makes n bytes available at r->at. Returns 1; 0: the file ends before that; or
 * negative errno. Bytes not lent yet move by a multiple of 8, to stay aligned.
 */
static int fill(struct recording_reader *r, size_t n)
{
	ssize_t got;

	if (r->end - r->at >= n)
		return 1;
	memmove(r->bytes + BEGIN, r->bytes + r->at, r->end - r->at);
	r->end -= r->at - BEGIN;
	r->at = BEGIN;
	while (r->end - r->at < n) {
		got = read(r->fd, r->bytes + r->end, sizeof(r->bytes) - r->end);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		r->end += (size_t)got;
	}
	return 1;
}

static int check_header(struct recording_reader *r)
{
	const struct file_header *h;
	int err = fill(r, sizeof(*h));

	if (err <= 0)
		return err ? err : -EPROTO;
	h = (const void *)(r->bytes + r->at);
	if (memcmp(h->magic, magic, sizeof(magic)) != 0)
		return -EPROTO;
	if (h->version != VERSION || h->layout != sizeof(struct tap_rec_data))
		return -ENOTSUP;
	r->at += sizeof(*h);
	r->offset = sizeof(*h);
	return 0;
}

int recording_open(struct recording_reader **out, const char *path)
{
	struct recording_reader *r = malloc(sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->damaged = false;
	r->at = r->end = BEGIN;
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	err = r->fd < 0 ? -errno : check_header(r);
	if (err) {
		recording_reader_free(r);
		return err;
	}
	*out = r;
	return 0;
}

void recording_reader_free(struct recording_reader *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

int recording_read(struct recording_reader *r, const void **rec, size_t *len)
{
	uint32_t n;

	if (r->damaged)
		return -EPROTO;
	if (fill(r, sizeof(n)) != 1) {
		r->damaged = r->end > r->at;
		return r->damaged ? -EPROTO : 0;
	}
	memcpy(&n, r->bytes + r->at, sizeof(n));
	if (n == 0 || n > RECORDING_RECORD_MAX || fill(r, padded(n)) != 1) {
		r->damaged = true;
		return -EPROTO;
	}
	*rec = r->bytes + r->at + sizeof(n);
	*len = n;
	r->at += padded(n);
	r->offset += padded(n);
	return 1;
}

uint64_t recording_offset(const struct recording_reader *r)
{
	return r->offset;
}
