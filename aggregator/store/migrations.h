/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_MIGRATIONS_H
#define AGGREGATOR_STORE_MIGRATIONS_H

#include <stddef.h>

/*
 * The steps that create the store's schema, generated at build time from
 * aggregator/store/migrations/NNN_name.sql. Append-only: a released step must
 * never change. Numbers are 1, 2, 3 … without gaps.
 */
struct migration {
	int number;
	const char *name;
	const char *sql; /* statements, run in one transaction */
};

extern const struct migration migrations[];
extern const size_t migrations_count;

#endif /* AGGREGATOR_STORE_MIGRATIONS_H */
