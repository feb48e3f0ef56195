/* SPDX-License-Identifier: Apache-2.0 */
#include "common/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

#define TRIES 10 /* to lock a file that others replace */

static int lock_fd(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

/* Neither a link nor a second name of another file. */
static int check_own(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && st.st_nlink <= 1 ? 0 : -ELOOP;
}

/* True if the name still stands for the open file. */
static bool is_still(int dir, const char *name, int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 &&
	       fstatat(dir, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int lock_file(int dir, const char *name, int *out)
{
	int err = -EBUSY;

	for (int i = 0; i < TRIES; i++) {
		int fd = openat(dir, name,
				O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
					O_NONBLOCK | O_NOCTTY,
				0600);

		if (fd < 0)
			return -errno;
		err = check_own(fd);
		if (!err)
			err = lock_fd(fd);
		if (!err && is_still(dir, name, fd)) {
			*out = fd;
			return 0;
		}
		close(fd);
		if (err)
			return err;
		err = -EBUSY;
	}
	return err;
}

int files_lock(struct files_lock *out, const char *dir, const char *name)
{
	struct files_lock l = FILES_UNLOCKED;
	int err;

	l.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l.dir < 0)
		return -errno;
	err = lock_fd(l.dir);
	/* NFS makes it a lock of a range, for which it must be writable. */
	if (err == -EBADF || err == -EINVAL || err == -ENOTSUP ||
	    err == -ENOLCK)
		err = 0;
	if (!err)
		err = lock_file(l.dir, name, &l.file);
	if (err)
		files_unlock(&l);
	else
		*out = l;
	return err;
}

void files_unlock(struct files_lock *lock)
{
	if (lock->file >= 0)
		close(lock->file);
	if (lock->dir >= 0)
		close(lock->dir);
	*lock = (struct files_lock)FILES_UNLOCKED;
}

int files_close_to_others(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int err = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0) {
		err = -errno;
	} else if (S_ISREG(st.st_mode) && st.st_mode & S_IRWXO) {
		if (fchmod(fd, st.st_mode & 07770) < 0)
			err = -errno;
		else
			log_info("took the rights of other users away "
				 "file=%s mode_before=%03o",
				 path, (unsigned)st.st_mode & 0777);
	}
	close(fd);
	return err;
}

int files_make_closed(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

	if (fd < 0 && errno != EEXIST)
		return -errno;
	if (fd < 0)
		return files_close_to_others(path);
	close(fd);
	return 0;
}

bool files_open_to_others(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_mode & (S_IROTH | S_IWOTH);
}

void files_check_secret(const char *path)
{
	if (files_open_to_others(path))
		log_warn("a file with a secret may be read or written by every "
			 "user: chmod o-rwx file=%s",
			 path);
}
