/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conffile_changes.h"

#include <stdio.h>
#include <string.h>

void conffile_changes_init(struct conffile_changes *c, char *text, size_t size)
{
	*c = (struct conffile_changes){ .text = text, .size = size };
	if (size)
		*text = '\0';
}

void conffile_changes_add(struct conffile_changes *c, bool differs,
			  const char *key)
{
	int n;

	if (!differs || c->len >= c->size)
		return;
	n = snprintf(c->text + c->len, c->size - c->len, "%s%s",
		     c->len ? ", " : "", key);
	c->len += n > 0 ? (size_t)n : 0;
}

bool conffile_changes_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") != 0;
}

bool conffile_changes_list(char *const *a, unsigned n, char *const *b,
			   unsigned m)
{
	if (n != m)
		return true;
	for (unsigned i = 0; i < n; i++)
		if (conffile_changes_text(a[i], b[i]))
			return true;
	return false;
}
