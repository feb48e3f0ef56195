/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_PAGE_H
#define AGGREGATOR_WEB_PAGE_H

#include <stddef.h>

/*
 * The page inside the binary: made by aggregator/web/page/build.sh, or empty
 * after make PAGE=no. A name holds a hash of the content, so what a
 * path has never changes.
 */
struct page_asset {
	const char *path; /* "/assets/…" */
	const char *type; /* Content-Type */
	const unsigned char *data; /* gzipped */
	size_t len;
	size_t raw_len; /* inflated */
};

extern const struct page_asset page_assets[];
extern const size_t page_assets_n; /* 0: the page is not in this build */
/* HTML with {{TAIL}} and {{LINKS}} to be filled in. */
extern const char page_index[];

#endif /* AGGREGATOR_WEB_PAGE_H */
