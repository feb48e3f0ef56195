/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_FILE_STAMP_H
#define COMMON_FILE_STAMP_H

#include <stddef.h>
#include <stdint.h>

/* How often to compare stamps: certificates are renewed days ahead. */
#define FILE_STAMP_S 10

/*
 * A number that changes when one of the files is written or replaced, links
 * followed: certificates that are renewed in place, as the kubelet and certbot
 * do, need no signal then. NULL is left out. 0: no file, or one is missing, as
 * while it is replaced. Any thread.
 */
uint64_t file_stamp(const char *const *path, size_t n);

#endif /* COMMON_FILE_STAMP_H */
