/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CRC32_H
#define COMMON_CRC32_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32 as in zlib, Ethernet and PNG: finds flipped bits and cut ends, and
 * nothing that is meant to deceive. Any thread.
 */

/* The checksum of len bytes; start with 0, or with that of the bytes before. */
uint32_t crc32_of(uint32_t before, const void *data, size_t len);

#endif /* COMMON_CRC32_H */
