/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/varints_bmi2.h"

#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("bmi,bmi2,lzcnt,popcnt")
#include "proto/varints_decode.h"

/* AMD's Zen and Zen 2 have pext, but take a cycle or more per bit. */
bool varints_bmi2(void)
{
	return __builtin_cpu_supports("bmi2") && !__builtin_cpu_is("znver1") &&
	       !__builtin_cpu_is("znver2");
}

int varints_bmi2_u64(const uint8_t *p, size_t len, uint64_t *out, size_t room)
{
	return decode(p, len, out, room, U64);
}

int varints_bmi2_s64(const uint8_t *p, size_t len, int64_t *out, size_t room)
{
	return decode(p, len, out, room, S64);
}

int varints_bmi2_u32(const uint8_t *p, size_t len, uint32_t *out, size_t room)
{
	return decode(p, len, out, room, U32);
}
#endif
