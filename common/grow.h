/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_GROW_H
#define COMMON_GROW_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/*
 * Makes room for one more element in a growing array: doubles it when it is
 * full. On failure the array is as it was. 0 or -ENOMEM.
 */
static inline int grow_array(void **array, size_t *cap, size_t n, size_t size)
{
	size_t more = *cap ? 2 * *cap : 16;
	void *p;

	if (n < *cap)
		return 0;
	p = reallocarray(*array, more, size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*cap = more;
	return 0;
}

/* grow(&array, &cap, n): room for array[n]. */
#define grow(array, cap, n)                                                    \
	grow_array((void **)(array), (cap), (n), sizeof(**(array)))

#endif /* COMMON_GROW_H */
