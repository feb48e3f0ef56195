/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/frames.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)

struct head {
	uint32_t len, type;
};

static int send_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			poll(&pfd, 1, -1);
			continue;
		}
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int frames_send(int fd, enum frames_type type, const void *data, size_t len)
{
	struct head h = { (uint32_t)len, (uint32_t)type };
	int err = len > FRAMES_MAX ? -EMSGSIZE : send_all(fd, &h, sizeof(h));

	return err ? err : send_all(fd, data, len);
}

void frames_fini(struct frames_in *in)
{
	buf_fini(&in->buf);
}

static int give_frames(struct frames_in *in, frames_fn fn, void *arg)
{
	int err = 0;

	while (!err && in->buf.len - in->at >= sizeof(struct head)) {
		const uint8_t *p = (const uint8_t *)in->buf.data + in->at;
		struct head h;

		memcpy(&h, p, sizeof(h));
		if (h.len > FRAMES_MAX)
			return -EMSGSIZE;
		if (in->buf.len - in->at - sizeof(h) < h.len)
			break;
		in->at += sizeof(h) + h.len;
		err = fn(arg, (enum frames_type)h.type, p + sizeof(h), h.len);
	}
	memmove(in->buf.data, in->buf.data + in->at, in->buf.len - in->at);
	in->buf.len -= in->at;
	in->at = 0;
	return err;
}

int frames_read(struct frames_in *in, int fd, frames_fn fn, void *arg)
{
	while (!in->ended) {
		char *to = buf_reserve(&in->buf, READ_BYTES);
		ssize_t n;
		int err;

		if (!to)
			return -ENOMEM;
		n = recv(fd, to, READ_BYTES, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			in->ended = true;
			break;
		}
		in->buf.len += (size_t)n;
		err = give_frames(in, fn, arg);
		if (err)
			return err;
	}
	return -EPIPE;
}

/* --- bases --- */

int frames_put_base(struct buf *out, const struct frames_base *b)
{
	uint32_t key_len = (uint32_t)(strlen(b->program) + 1 + 8 +
				      strlen(b->map) + 1 + b->key_len);

	buf_reset(out);
	buf_append(out, &key_len, sizeof(key_len));
	buf_append(out, b->program, strlen(b->program) + 1);
	buf_append(out, &b->generation, 8);
	buf_append(out, b->map, strlen(b->map) + 1);
	buf_append(out, b->key, b->key_len);
	return buf_append(out, b->value, b->n * 8);
}

int frames_get_row(const uint8_t *data, size_t len, struct frames_row *out)
{
	uint32_t key_len;

	if (len < sizeof(key_len))
		return -EINVAL;
	memcpy(&key_len, data, sizeof(key_len));
	data += sizeof(key_len);
	len -= sizeof(key_len);
	if (key_len > len)
		return -EINVAL;
	out->key = data;
	out->key_len = key_len;
	out->value = data + key_len;
	out->value_len = len - key_len;
	return 0;
}

int frames_get_base(const uint8_t *data, size_t len, struct frames_base *out,
		    uint64_t *value, size_t max)
{
	const uint8_t *p, *end;
	struct frames_row row;

	if (frames_get_row(data, len, &row) || row.value_len % 8 ||
	    row.value_len / 8 > max)
		return -EINVAL;
	p = row.key;
	end = p + row.key_len;
	out->program = (const char *)p;
	p = memchr(p, 0, (size_t)(end - p));
	if (!p || end - p < 10)
		return -EINVAL;
	memcpy(&out->generation, p + 1, 8);
	out->map = (const char *)p + 9;
	p = memchr(p + 9, 0, (size_t)(end - p - 9));
	if (!p)
		return -EINVAL;
	out->key = p + 1;
	out->key_len = (size_t)(end - p - 1);
	memcpy(value, row.value, row.value_len);
	out->value = value;
	out->n = row.value_len / 8;
	return 0;
}
