/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_API_RED_H
#define AGGREGATOR_WEB_API_RED_H

#include "aggregator/web/api_range.h"
#include "aggregator/web/api_sum.h"

/*
 * Groups of label sets over a time range: which of them are worst, and the
 * details of only those, since details of ten thousand groups are a megabyte.
 * Two walks over the windows: one for all sums, one for what was chosen.
 */

struct api_group {
	const char *name, *more; /* borrowed; NULL: absent. more: a method */
	bool overflow;
	struct api_sum sum; /* cells: if ordered by them, or chosen */
	struct api_sum before; /* of the period before; only if chosen */
	double value; /* that it is ordered by */
	uint64_t *points, *errors; /* only if chosen */
};

#define API_RED_NONE PACK_UNWANTED /* this label set is in no group */

struct api_red {
	struct store_reader *reader; /* borrowed */
	const struct api_range *range; /* borrowed, settled */
	enum window_kind kind;
	/* By key: the group; and a second, coarser one, or NULL. */
	uint32_t *group_of, *second_of;
	uint32_t n_keys;
	struct api_group *group;
	size_t n_groups, group_cap;
	uint32_t *table; /* of names: open addressing, group + 1 */
	size_t table_cap;
	/* All groups together: in all, by point, and in the period before. */
	struct api_sum total, before, *point;
	/* Counts of the second groups by point, n_seconds rows of points. */
	uint64_t *second;
	size_t n_seconds;
	struct api_group **chosen;
	size_t n_chosen, n_listed; /* listed: before the limit */
};

/* Updates the keys and makes every key be in no group. -ENOMEM, -EIO. */
int api_red_begin(struct api_red *red, struct store_reader *reader,
		  const struct api_range *range, enum window_kind kind);
void api_red_end(struct api_red *red);

/* The group of that name, a new one if need be. NULL: out of memory. */
struct api_group *api_red_group(struct api_red *red, const char *name,
				const char *more, bool overflow);
/* Puts a key into a group. */
void api_red_put(struct api_red *red, uint32_t key, const struct api_group *g);

struct api_choice {
	enum api_order order;
	int sign;
	size_t limit;
	bool only_errors;
};
/* Adds up, orders, chooses, and adds up the details. -ENOMEM or the reader's.
 */
int api_red_run(struct api_red *red, const struct api_choice *choice);

/* Calls fn for the rows of the range whose keys of[] has; others it skips. */
int api_red_rows(const struct api_red *red, const uint32_t *of,
		 store_row_fn *fn, void *arg);

/* {"count": …, "p99_before": …} of the total. */
void api_red_put_sum(const struct api_red *red, struct api_json *j,
		     const char *key);
/* "series": {"start": …, "count": …, …}. */
void api_red_put_series(const struct api_red *red, struct api_json *j);
/* Columns of the chosen: those of api_sum_put_columns() and *_before. */
void api_red_put_columns(const struct api_red *red, struct api_json *j);
/* Rows of points: which is 0 for counts, 1 for errors. */
void api_red_put_points(const struct api_red *red, struct api_json *j,
			const char *key, int which);

#endif /* AGGREGATOR_WEB_API_RED_H */
