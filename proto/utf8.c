/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/utf8.h"

#include <stdint.h>
#include <string.h>

/* Length of the UTF-8 sequence at s (RFC 3629, no NUL). 0: not valid. */
static size_t sequence(const uint8_t *s, size_t len)
{
	uint8_t c = s[0], min = 0x80, max = 0xbf;
	size_t n;

	if (c < 0x80)
		return c != 0;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (c == 0xe0)
		min = 0xa0; /* overlong */
	else if (c == 0xed)
		max = 0x9f; /* surrogates */
	else if (c == 0xf0)
		min = 0x90; /* overlong */
	else if (c == 0xf4)
		max = 0x8f; /* beyond U+10FFFF */
	if (len < n || s[1] < min || s[1] > max)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool utf8_valid(const char *data, size_t len)
{
	const uint8_t *s = (const uint8_t *)data;
	size_t i = 0;

	while (i < len) {
		uint64_t w;
		size_t n;

		/* Eight ASCII bytes, none of them 0, at a time. */
		if (len - i >= sizeof(w)) {
			memcpy(&w, s + i, sizeof(w));
			if (((w | (w - 0x0101010101010101u)) &
			     0x8080808080808080u) == 0) {
				i += sizeof(w);
				continue;
			}
		}
		n = sequence(s + i, len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

size_t utf8_clean(char *out, size_t max, const char *data, size_t len)
{
	const uint8_t *s = (const uint8_t *)data;
	size_t n = 0;

	for (size_t i = 0; i < len;) {
		size_t step = sequence(s + i, len - i);
		size_t put = step > 0 ? step : 1;

		if (n + put > max)
			break;
		if (step > 0)
			memcpy(out + n, s + i, step);
		else
			out[n] = '?';
		n += put;
		i += put;
	}
	out[n] = '\0';
	return n;
}
