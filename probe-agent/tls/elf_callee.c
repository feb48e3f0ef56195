/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/elf_callee.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define CODE_BYTES 96 /* read from the start of a function */
#define CALL 0xe8 /* then a distance of four bytes */
#define CALL_BYTES 5

static const uint8_t ENDBR64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
static const uint8_t SUB_RSP[] = { 0x48, 0x83, 0xec }; /* then a byte */

static bool starts_with(const uint8_t *code, const uint8_t *what, size_t n)
{
	return !memcmp(code, what, n);
}

/* Offset in the file of the function that the call at code + at goes to. */
static uint64_t target(const uint8_t *code, uint64_t offset, size_t at)
{
	int32_t distance;

	memcpy(&distance, code + at + 1, sizeof(distance));
	return offset + at + CALL_BYTES + (uint64_t)(int64_t)distance;
}

/* Offset of what a function calls before it touches an argument; 0: none. */
static uint64_t called_at_once(const uint8_t *code, uint64_t offset)
{
	size_t at = 0;

	if (starts_with(code, ENDBR64, sizeof(ENDBR64)))
		at += sizeof(ENDBR64);
	if (starts_with(code + at, SUB_RSP, sizeof(SUB_RSP)))
		at += sizeof(SUB_RSP) + 1;
	return code[at] == CALL ? target(code, offset, at) : 0;
}

static bool calls(const uint8_t *code, uint64_t offset, uint64_t what)
{
	for (size_t at = 0; at + CALL_BYTES <= CODE_BYTES; at++)
		if (code[at] == CALL && target(code, offset, at) == what)
			return true;
	return false;
}

/*
 * Offset of the push that the code begins with, after ENDBR64 if that is there;
 * -1: it begins otherwise.
 */
static int push_at(const uint8_t *code)
{
	int at = starts_with(code, ENDBR64, sizeof(ENDBR64)) ? sizeof(ENDBR64)
							     : 0;
	/* A prefix selects the upper eight registers. */
	const uint8_t op = code[at] == 0x41 ? code[at + 1] : code[at];

	return op >= 0x50 && op <= 0x57 ? at : -1;
}

static bool read_code(int fd, uint64_t offset, uint8_t code[CODE_BYTES])
{
	return offset && offset <= INT64_MAX - CODE_BYTES &&
	       pread(fd, code, CODE_BYTES, (off_t)offset) == CODE_BYTES;
}

uint64_t elf_callee_find(int fd, uint64_t wrapper, uint64_t other)
{
#ifdef __x86_64__
	uint8_t code[CODE_BYTES];
	uint64_t inner;
	int at;

	if (!read_code(fd, wrapper, code))
		return 0;
	inner = called_at_once(code, wrapper);
	if (!read_code(fd, other, code) || !calls(code, other, inner))
		return 0;
	if (!read_code(fd, inner, code))
		return 0;
	at = push_at(code);
	return at < 0 ? 0 : inner + (uint64_t)at;
#else
	(void)fd, (void)wrapper, (void)other;
	return 0;
#endif
}
