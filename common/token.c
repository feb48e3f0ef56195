/* SPDX-License-Identifier: Apache-2.0 */
#include "common/token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

#define RANDOM_BYTES 24u /* 48 digits */

static int take_line(struct token *t, const char *data)
{
	size_t len = strcspn(data, "\n");

	while (len > 0 && strchr(" \t\r", data[len - 1]))
		len--;
	while (len > 0 && strchr(" \t", *data)) {
		data++;
		len--;
	}
	if (len == 0 || len > TOKEN_MAX)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)data[i] < ' ')
			return -EINVAL;
	memcpy(t->text, data, len);
	t->text[len] = '\0';
	t->len = len;
	return 0;
}

int token_read(struct token *out, const char *path)
{
	char data[2 * TOKEN_MAX + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;
	int err;

	*out = (struct token){ .len = 0 };
	if (fd < 0)
		return -errno;
	n = read(fd, data, sizeof(data) - 1);
	err = n < 0 ? -errno : 0;
	if (!err && fstat(fd, &st) == 0 && st.st_mode & S_IROTH)
		log_warn("token file can be read by everybody file=%s mode=%o",
			 path, (unsigned)(st.st_mode & 0777));
	close(fd);
	if (err < 0)
		return err;
	data[n] = '\0';
	err = take_line(out, data);
	explicit_bzero(data, sizeof(data));
	return err;
}

int token_make(const char *path)
{
	uint8_t random[RANDOM_BYTES];
	char text[2 * RANDOM_BYTES + 2];
	int fd, err = 0;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(text + 2 * i, 3, "%02x", random[i]);
	text[2 * RANDOM_BYTES] = '\n';
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		  0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, 2 * RANDOM_BYTES + 1) != 2 * RANDOM_BYTES + 1)
		err = errno ? -errno : -EIO;
	if (!err && fsync(fd) < 0)
		err = -errno;
	if (close(fd) < 0 && !err)
		err = -errno;
	if (err < 0)
		unlink(path);
	return err;
}

bool token_equal(const struct token *t, const char *text, size_t len)
{
	volatile unsigned char different = len != t->len;

	for (size_t i = 0; i < len && i < t->len; i++)
		different |= (unsigned char)(text[i] ^ t->text[i]);
	return !different;
}
