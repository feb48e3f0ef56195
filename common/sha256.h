/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SHA256_H
#define COMMON_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32u

/* The SHA-256 digest (FIPS 180-4) of n bytes. Pure. */
void sha256(const void *data, size_t n, uint8_t out[SHA256_BYTES]);

#endif /* COMMON_SHA256_H */
