/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_VARINTS_BMI2_H
#define PROTO_VARINTS_BMI2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The same as varints.h, for processors with BMI2 (pext). */
bool varints_bmi2(void); /* true if this processor has it, and fast */
int varints_bmi2_u64(const uint8_t *p, size_t len, uint64_t *out, size_t room);
int varints_bmi2_s64(const uint8_t *p, size_t len, int64_t *out, size_t room);
int varints_bmi2_u32(const uint8_t *p, size_t len, uint32_t *out, size_t room);

#endif /* PROTO_VARINTS_BMI2_H */
