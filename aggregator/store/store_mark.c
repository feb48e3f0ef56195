/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/store/store_mark.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checksum.h"

/*
 * Two places, 512 bytes apart, so that a torn write leaves the other. Each has
 * six words, little endian: a magic number, the turn, what the mark says, and a
 * checksum. The valid one with the higher turn counts.
 */
#define PLACES 2u
#define PLACE_BYTES 512
#define MAGIC UINT64_C(0x314b52414d545244) /* "DRTMARK1" */

struct place {
	uint64_t magic, turn, store, log_id, requests, sum;
};

struct store_mark {
	int fd;
	uint64_t turn;
};

static uint64_t sum_of(const struct place *p)
{
	return checksum_bytes(0, p, offsetof(struct place, sum));
}

static void read_places(struct store_mark *m, struct store_mark_row *row)
{
	for (unsigned i = 0; i < PLACES; i++) {
		struct place p;

		if (pread(m->fd, &p, sizeof(p), (off_t)i * PLACE_BYTES) !=
			    sizeof(p) ||
		    le64toh(p.magic) != MAGIC || le64toh(p.sum) != sum_of(&p) ||
		    le64toh(p.turn) < m->turn)
			continue;
		m->turn = le64toh(p.turn);
		*row = (struct store_mark_row){
			.store = le64toh(p.store),
			.log_id = le64toh(p.log_id),
			.requests = le64toh(p.requests),
		};
	}
}

int store_mark_open(struct store_mark **out, const char *dir,
		    struct store_mark_row *row)
{
	struct store_mark *m = calloc(1, sizeof(*m));
	char path[4096 + 16];
	int err = -ENOMEM;

	*row = (struct store_mark_row){ .store = 0 };
	if (!m)
		return err;
	snprintf(path, sizeof(path), "%s/redtap.mark", dir);
	m->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->fd < 0) {
		err = -errno;
		free(m);
		return err;
	}
	read_places(m, row);
	*out = m;
	return 0;
}

void store_mark_read(const char *path, struct store_mark_row *row)
{
	static const char name[] = "/redtap.db";
	size_t len = strlen(path), cut = sizeof(name) - 1;
	struct store_mark m = { .turn = 0 };
	char mark[4096 + 16];

	if (strcmp(path, name + 1) == 0)
		snprintf(mark, sizeof(mark), "redtap.mark");
	else if (len > cut && strcmp(path + len - cut, name) == 0)
		snprintf(mark, sizeof(mark), "%.*s/redtap.mark",
			 (int)(len - cut), path);
	else
		return;
	m.fd = open(mark, O_RDONLY | O_CLOEXEC);
	if (m.fd < 0)
		return;
	read_places(&m, row);
	close(m.fd);
}

void store_mark_close(struct store_mark *m)
{
	if (!m)
		return;
	close(m->fd);
	free(m);
}

int store_mark_put(struct store_mark *m, const struct store_mark_row *row)
{
	struct place p = {
		.magic = htole64(MAGIC),
		.turn = htole64(++m->turn),
		.store = htole64(row->store),
		.log_id = htole64(row->log_id),
		.requests = htole64(row->requests),
	};
	ssize_t n;

	p.sum = htole64(sum_of(&p));
	n = pwrite(m->fd, &p, sizeof(p),
		   (off_t)(m->turn % PLACES) * PLACE_BYTES);
	if (n < 0)
		return -errno;
	return n == sizeof(p) ? 0 : -ENOSPC;
}

int store_mark_sync(struct store_mark *m)
{
	return fdatasync(m->fd) < 0 ? -errno : 0;
}
