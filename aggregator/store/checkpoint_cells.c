/* SPDX-License-Identifier: Apache-2.0 */
/* The cells that stored spans refer to. */
#include <errno.h>
#include <stdlib.h>

#include "aggregator/store/checkpoint_state.h"
#include "common/varint.h"

int checkpoint_put_cells(struct checkpoint *c)
{
	buf_reset(&c->state);
	for (int seconds = 0; seconds < 2; seconds++) {
		const struct cells *cells = fold_cells(c->fold, seconds);

		varint_put(&c->state, cells->n);
		for (size_t i = 0; i < cells->n; i++)
			varint_put(&c->state, cells->upper[i]);
	}
	if (c->state.err)
		return c->state.err;
	return store_put_state(c->store, STATE_CELLS, c->state.data,
			       c->state.len);
}

/*
 * Reads the stored cells and maps them to the current ones, which differ if any
 * view gained or lost a bound. A stored cell's count goes to the cell that
 * contains its upper end. That is in the same native bucket, and in the same
 * classic bucket of each view whose own bounds have not changed; so views stay
 * exact.
 */
static int map_cells(struct checkpoint *c, struct varint_reader *r,
		     bool seconds, bool *same)
{
	const struct cells *cells = fold_cells(c->fold, seconds);
	uint64_t n = varint_get(r), below = 0;
	uint16_t *to;

	if (r->bad || n == 0 || n > UINT16_MAX)
		return -EUCLEAN;
	to = calloc(n, sizeof(*to));
	if (!to)
		return -ENOMEM;
	c->cell_of[seconds] = to;
	c->stored_cells[seconds] = n;
	*same &= n == cells->n;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t upper = varint_get(r);

		if (r->bad || (i > 0 && upper <= below))
			return -EUCLEAN;
		to[i] = (uint16_t)cells_index(cells, upper);
		*same &= i < cells->n && cells->upper[i] == upper;
		below = upper;
	}
	return 0;
}

void checkpoint_forget_cells(struct checkpoint *c)
{
	for (int i = 0; i < 2; i++) {
		free(c->cell_of[i]);
		c->cell_of[i] = NULL;
	}
}

int checkpoint_load_cells(struct checkpoint *c, bool *same)
{
	struct varint_reader r;
	void *data = NULL;
	size_t len;
	int err = store_get_state(c->store, STATE_CELLS, &data, &len);

	*same = !err;
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	r = (struct varint_reader){ .at = data,
				    .end = (const uint8_t *)data + len };
	for (int seconds = 0; seconds < 2 && !err; seconds++)
		err = map_cells(c, &r, seconds, same);
	free(data);
	if (!err && *same)
		checkpoint_forget_cells(c);
	return err;
}
