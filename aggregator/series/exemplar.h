/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_SERIES_EXEMPLAR_H
#define AGGREGATOR_SERIES_EXEMPLAR_H

#include <stdint.h>

/* One request that a histogram shows beside a bucket. */
struct exemplar {
	uint32_t bucket; /* index of its classic bucket */
	uint32_t event; /* index in its batch */
	uint64_t value; /* in the source's unit, µs or bytes */
	uint64_t generation; /* for the fold only */
	int64_t time_us;
	uint64_t log_id; /* the request's id is "log_id-event" */
	uint8_t trace[24]; /* trace id, span id; all zero: none */
};

#endif /* AGGREGATOR_SERIES_EXEMPLAR_H */
