/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/api_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_comma(struct api_json *j)
{
	if (j->comma)
		buf_putc(j->out, ',');
	j->comma = true;
}

void api_json_open(struct api_json *j, char bracket)
{
	put_comma(j);
	buf_putc(j->out, bracket);
	j->comma = false;
}

void api_json_close(struct api_json *j, char bracket)
{
	buf_putc(j->out, bracket);
	j->comma = true;
}

void api_json_text_n(struct api_json *j, const char *text, size_t len)
{
	size_t from = 0;

	put_comma(j);
	buf_putc(j->out, '"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		buf_append(j->out, text + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\')
			buf_printf(j->out, "\\%c", c);
		else
			buf_printf(j->out, "\\u%04x", c);
	}
	buf_append(j->out, text + from, len - from);
	buf_putc(j->out, '"');
}

void api_json_text(struct api_json *j, const char *text)
{
	if (text)
		api_json_text_n(j, text, strlen(text));
	else
		api_json_null(j);
}

void api_json_key(struct api_json *j, const char *key)
{
	api_json_text(j, key);
	buf_putc(j->out, ':');
	j->comma = false;
}

void api_json_u64(struct api_json *j, uint64_t v)
{
	put_comma(j);
	buf_put_u64(j->out, v);
}

void api_json_i64(struct api_json *j, int64_t v)
{
	put_comma(j);
	buf_put_i64(j->out, v);
}

void api_json_bool(struct api_json *j, bool v)
{
	put_comma(j);
	buf_puts(j->out, v ? "true" : "false");
}

void api_json_null(struct api_json *j)
{
	put_comma(j);
	buf_puts(j->out, "null");
}

void api_json_real(struct api_json *j, double v)
{
	if (!isfinite(v)) {
		api_json_null(j);
		return;
	}
	put_comma(j);
	if (v == 0)
		buf_putc(j->out, '0');
	else
		buf_printf(j->out, "%.9g", v);
}

void api_json_us(struct api_json *j, int64_t us)
{
	uint64_t abs = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
	char text[32];
	int n = snprintf(text, sizeof(text), "%s%llu.%06u", us < 0 ? "-" : "",
			 (unsigned long long)(abs / 1000000),
			 (unsigned)(abs % 1000000));

	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	put_comma(j);
	buf_append(j->out, text, (size_t)n);
}

void api_json_put_text(struct api_json *j, const char *key, const char *text)
{
	api_json_key(j, key);
	api_json_text(j, text);
}

void api_json_put_u64(struct api_json *j, const char *key, uint64_t v)
{
	api_json_key(j, key);
	api_json_u64(j, v);
}

void api_json_put_i64(struct api_json *j, const char *key, int64_t v)
{
	api_json_key(j, key);
	api_json_i64(j, v);
}

void api_json_put_bool(struct api_json *j, const char *key, bool v)
{
	api_json_key(j, key);
	api_json_bool(j, v);
}

void api_json_put_real(struct api_json *j, const char *key, double v)
{
	api_json_key(j, key);
	api_json_real(j, v);
}

void api_json_put_us(struct api_json *j, const char *key, int64_t us)
{
	api_json_key(j, key);
	api_json_us(j, us);
}
