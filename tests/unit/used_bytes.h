/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_USED_BYTES_H
#define TESTS_UNIT_USED_BYTES_H

#include <malloc.h>
#include <stddef.h>

/*
 * Returns the bytes that malloc() has given out. AddressSanitizer has an
 * allocator of its own; ThreadSanitizer's gives 0.
 */
#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_current_allocated_bytes(void);

static inline size_t used_bytes(void)
{
	return __sanitizer_get_current_allocated_bytes();
}
#else
static inline size_t used_bytes(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}
#endif

#endif
