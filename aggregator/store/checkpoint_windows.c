/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the windows' label sets and watermark; windows stay in the store. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/store/checkpoint_state.h"
#include "common/varint.h"

static int load_window_key(void *arg, uint32_t id, const char *const *value)
{
	struct checkpoint *c = arg;
	struct series *s = fold_window_series(c->fold);
	struct series_label label[LABEL_KEYS], *at[LABEL_KEYS];
	int err;

	memset(label, 0, sizeof(label));
	for (size_t i = 0; i < LABEL_KEYS; i++)
		at[i] = &label[i];
	for (size_t i = 0; i < STORE_WINDOW_LABELS; i++) {
		struct series_label *l = &label[s->keys[i]];

		if (!value[i])
			continue;
		l->data = value[i];
		l->len = strlen(value[i]);
		l->hash = intern_hash(fold_intern(c->fold), l->data, l->len);
	}
	err = series_restore(s, id, at);
	if (err < 0)
		return err == -ENOMEM ? err : -EUCLEAN;
	c->keys_stored = s->n;
	return 0;
}

/* Rather a few seconds missing than all of the log counted twice. */
static int assume_windows(struct checkpoint *c)
{
	struct store_sizes sizes = { 0 };
	int err = store_sizes(c->store, &sizes, false);

	c->window_mark = sizes.last_log_id;
	fold_set_loaded_windows(c->fold, c->window_mark);
	return err;
}

int checkpoint_load_windows(struct checkpoint *c)
{
	struct varint_reader r;
	void *data = NULL;
	size_t len;
	int err = store_each_window_key(c->store, load_window_key, c);

	if (err < 0)
		return err;
	err = store_get_state(c->store, STATE_WINDOWS, &data, &len);
	if (err == -ENOENT && store_damaged(c->store, STORE_STATE) > 0)
		return assume_windows(c);
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	r = (struct varint_reader){ .at = data,
				    .end = (const uint8_t *)data + len };
	c->window_mark = varint_get(&r);
	free(data);
	if (r.bad)
		return -EUCLEAN;
	fold_set_loaded_windows(c->fold, c->window_mark);
	if (c->window_mark > c->last_id)
		c->last_id = c->window_mark;
	return 0;
}
