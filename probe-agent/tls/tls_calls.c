/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/tls_calls.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "probe-agent/tls/elf_callee.h"
#include "probe-agent/tls/elfsym.h"

/*
 * The functions and the programs on their entry; then the common callee of each
 * of two pairs, which replaces both functions where it is found.
 */
enum {
	READ = 1,
	READ_EX,
	WRITE,
	WRITE_EX,
	SYMBOLS = 8,
	READ_INNER = SYMBOLS,
	WRITE_INNER,
};
/* Only since OpenSSL 3.3, whose common callee has one more argument. */
#define WRITE_EX2 "SSL_write_ex2"
static const struct hook {
	const char *symbol; /* NULL: a common callee */
	const char *program;
	bool moves; /* plain text; a file must have one such */
} hooks[] = {
	{ "SSL_do_handshake", "openssl_handshake", false },
	[READ] = { "SSL_read", "openssl_read", true },
	[READ_EX] = { "SSL_read_ex", "openssl_read_ex", true },
	[WRITE] = { "SSL_write", "openssl_write", true },
	[WRITE_EX] = { "SSL_write_ex", "openssl_write_ex", true },
	{ "gnutls_handshake", "gnutls_handshake", false },
	{ "gnutls_record_recv", "gnutls_recv", true },
	{ "gnutls_record_send", "gnutls_send", true },
	[READ_INNER] = { NULL, "openssl_read_inner", true },
	[WRITE_INNER] = { NULL, "openssl_write_inner", true },
};
static_assert(sizeof(hooks) / sizeof(*hooks) == TLS_CALLS, "one entry each");

const char *tls_calls_program(size_t i)
{
	return hooks[i].program;
}

/* Replaces a pair of functions by their common callee, if it has one. */
static void use_common_callee(int fd, uint64_t offset[TLS_CALLS], int call,
			      int call_ex, int inner)
{
	if (!offset[call] || !offset[call_ex])
		return;
	offset[inner] = elf_callee_find(fd, offset[call_ex], offset[call]);
	if (offset[inner])
		offset[call] = offset[call_ex] = 0;
}

int tls_calls_find(int fd, uint64_t offset[TLS_CALLS], const bool *stop)
{
	const char *names[SYMBOLS + 1];
	uint64_t found[SYMBOLS + 1];
	bool moves = false;
	int n;

	for (size_t i = 0; i < SYMBOLS; i++)
		names[i] = hooks[i].symbol;
	names[SYMBOLS] = WRITE_EX2;
	memset(offset, 0, TLS_CALLS * sizeof(*offset));
	n = elfsym_find(fd, names, SYMBOLS + 1, found, stop);
	if (n < 0)
		return n;
	for (size_t i = 0; i < SYMBOLS; i++)
		moves |= hooks[i].moves && found[i];
	if (!moves)
		return -ENOEXEC;
	memcpy(offset, found, SYMBOLS * sizeof(*offset));
	use_common_callee(fd, offset, READ, READ_EX, READ_INNER);
	if (!found[SYMBOLS])
		use_common_callee(fd, offset, WRITE, WRITE_EX, WRITE_INNER);
	return 0;
}
