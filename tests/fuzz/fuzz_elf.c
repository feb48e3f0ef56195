/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs and libraries of strangers: what is found is inside a segment of
 * code, and twice the same.
 */
#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe-agent/tls/elf_callee.h"
#include "probe-agent/tls/elfsym.h"
#include "probe-agent/tls/tls_calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool in_code(const uint8_t *data, size_t len, uint64_t offset)
{
	Elf64_Ehdr h;

	assert(len >= sizeof(h));
	memcpy(&h, data, sizeof(h));
	for (size_t i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr p;

		memcpy(&p, data + h.e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_type == PT_LOAD && p.p_flags & PF_X &&
		    offset - p.p_offset < p.p_filesz)
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const names[] = { "SSL_read", "SSL_write", "main",
					     "x" };
	static int fd = -1;
	uint64_t offset[4], again[4], calls[TLS_CALLS];
	int n;

	if (fd < 0)
		fd = memfd_create("elf", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) != 0 ||
	    pwrite(fd, data, len, 0) != (ssize_t)len)
		abort();
	n = elfsym_find(fd, names, 4, offset, NULL);
	assert(n == elfsym_find(fd, names, 4, again, NULL));
	assert(n <= 4 && n > -4096);
	for (int i = 0; i < 4 && n > 0; i++) {
		assert(offset[i] == again[i]);
		n -= offset[i] != 0;
		assert(!offset[i] || in_code(data, len, offset[i]));
	}
	assert(n <= 0);
	n = tls_calls_find(fd, calls, NULL);
	assert(n <= 0);
	if (len >= 16) {
		uint64_t at[2];

		memcpy(at, data + len - 16, 16);
		elf_callee_find(fd, at[0] % (len + 100), at[1] % (len + 100));
		elf_callee_find(fd, at[0], at[1]);
	}
	return 0;
}
