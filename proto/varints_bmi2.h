/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_VARINTS_BMI2_H
#define PROTO_VARINTS_BMI2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* varints.h for processors that move groups of bits with one instruction. */
bool varints_bmi2(void); /* this is one, and is quick at it */
int varints_bmi2_u64(const uint8_t *p, size_t len, uint64_t *out, size_t room);
int varints_bmi2_s64(const uint8_t *p, size_t len, int64_t *out, size_t room);
int varints_bmi2_u32(const uint8_t *p, size_t len, uint32_t *out, size_t room);

#endif /* PROTO_VARINTS_BMI2_H */
