/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_STORE_STORE_SCHEMA_H
#define AGGREGATOR_STORE_STORE_SCHEMA_H

#include "aggregator/store/store_sql.h"

/*
 * Which step of the schema a database is at, by its tables, and not only by the
 * number that it claims. For store.c; see store_sql.h.
 */

/*
 * Sets *out to the number of steps that were made, 0 for a new database; it may
 * be more than migrations_count: then a newer version wrote it. A number below
 * 1 is repaired if the tables say which it must be. -EUCLEAN: a table or column
 * is missing, or the number makes no sense; st->error says which. Or another
 * error of store_sql_fail().
 */
int store_schema_version(struct store *st, size_t *out);

#endif /* AGGREGATOR_STORE_STORE_SCHEMA_H */
