/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/outbox/last_words.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "proto/batch.h"

#define LENGTH_BYTES 4u
#define BATCH_MAX 16384u /* one without requests is much smaller */
#define FILE_MAX (LAST_WORDS_MAX * (LENGTH_BYTES + BATCH_MAX))

struct last_words {
	char *path;
	uint8_t *data;
	size_t len, n;
	struct outbox_item item[LAST_WORDS_MAX];
	size_t first; /* items before it are dropped */
};

/* The batch at the start of the bytes: its length, or 0 if there is none. */
static size_t batch_length(const uint8_t *p, size_t n)
{
	uint32_t len;

	if (n < LENGTH_BYTES)
		return 0;
	memcpy(&len, p, LENGTH_BYTES);
	len = le32toh(len);
	return len <= BATCH_MAX && len <= n - LENGTH_BYTES ? len : 0;
}

static int read_file(const char *path, uint8_t **data, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	*data = NULL;
	*len = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	*data = malloc(FILE_MAX);
	if (!*data) {
		close(fd);
		return -ENOMEM;
	}
	while ((n = read(fd, *data + *len, FILE_MAX - *len)) > 0)
		*len += (size_t)n;
	close(fd);
	return n < 0 ? -EIO : 0;
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

/* The file has the old content or the new, whatever happens. */
static int write_file(const char *path, const uint8_t *data, size_t len)
{
	char other[4096];
	int fd, err;

	if (len == 0)
		return unlink(path) && errno != ENOENT ? -errno : 0;
	if (snprintf(other, sizeof(other), "%s.new", path) >=
	    (int)sizeof(other))
		return -ENAMETOOLONG;
	fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, data, len);
	close(fd);
	if (!err && rename(other, path))
		err = -errno;
	if (err)
		unlink(other);
	return err;
}

int last_words_add(const char *path, const void *batch, size_t len)
{
	uint32_t length = htole32((uint32_t)len);
	size_t have, n = 0;
	uint8_t *data, *all;
	int err = read_file(path, &data, &have);

	if (err)
		goto out;
	for (size_t at = 0, one; (one = batch_length(data + at, have - at)) > 0;
	     at += LENGTH_BYTES + one)
		n++;
	err = n >= LAST_WORDS_MAX || len > BATCH_MAX ? -ENOSPC : -ENOMEM;
	all = err == -ENOMEM ? realloc(data, have + LENGTH_BYTES + len) : NULL;
	if (!all)
		goto out;
	data = all;
	memcpy(data + have, &length, LENGTH_BYTES);
	memcpy(data + have + LENGTH_BYTES, batch, len);
	err = write_file(path, data, have + LENGTH_BYTES + len);
out:
	free(data);
	return err;
}

bool last_words_leave(struct outbox *ob, const char *outbox_path,
		      const char *path)
{
	struct outbox_left left;
	void *data;
	size_t len;
	int err = outbox_give_up(ob, &left, &data, &len);
	unsigned long long all = left.requests + left.sent;

	if (all == 0)
		return false;
	if (outbox_path) {
		log_info("stopped with a backlog, none is given up "
			 "requests=%llu path=%s",
			 all, outbox_path);
		return false;
	}
	log_error("stopped with a backlog, gave up requests=%llu "
		  "perhaps_counted=%llu",
		  all, (unsigned long long)left.sent);
	if (!err && path)
		err = last_words_add(path, data, len);
	if (err || !path)
		log_warn("the next start cannot report what was given up "
			 "error=\"%s\"",
			 path ? strerror(-err) : "no outbox.given_up");
	free(data);
	return true;
}

/* --- of earlier starts --- */

/* Finds the batches in the file's bytes. */
static int find_items(struct last_words *w)
{
	struct batch_arena *arena;
	const char *reason = "";
	size_t at = 0, len;
	struct batch b;
	int err = batch_arena_new(&arena);

	if (err)
		return err;
	while (w->n < LAST_WORDS_MAX &&
	       (len = batch_length(w->data + at, w->len - at)) > 0) {
		const uint8_t *p = w->data + at + LENGTH_BYTES;

		err = batch_decode(arena, p, len, &b, &reason);
		if (err)
			break;
		w->item[w->n++] = (struct outbox_item){
			.data = p,
			.len = len,
			.epoch = b.epoch,
			.sequence = b.sequence,
		};
		at += LENGTH_BYTES + len;
	}
	if (at < w->len)
		log_warn("file of given up requests is damaged path=%s "
			 "at=%zu error=\"%s\"",
			 w->path, at, reason);
	batch_arena_free(arena);
	return 0;
}

int last_words_open(struct last_words **out, const char *path)
{
	struct last_words *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->path = strdup(path);
	err = w->path ? read_file(path, &w->data, &w->len) : -ENOMEM;
	if (!err)
		err = find_items(w);
	if (err) {
		last_words_close(w);
		return err;
	}
	*out = w;
	return 0;
}

void last_words_close(struct last_words *w)
{
	if (!w)
		return;
	free(w->path);
	free(w->data);
	free(w);
}

bool last_words_first(const struct last_words *w, struct outbox_item *out)
{
	if (!w || w->first == w->n)
		return false;
	*out = w->item[w->first];
	return true;
}

void last_words_drop(struct last_words *w)
{
	const struct outbox_item *last = &w->item[w->n - 1];
	const uint8_t *from, *end = (const uint8_t *)last->data + last->len;
	int err;

	w->first++;
	from = w->first < w->n
		       ? (const uint8_t *)w->item[w->first].data - LENGTH_BYTES
		       : end;
	err = write_file(w->path, from, (size_t)(end - from));
	if (err)
		log_warn("cannot rewrite the file of given up requests "
			 "path=%s error=\"%s\"",
			 w->path, strerror(-err));
}
