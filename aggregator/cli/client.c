/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_S 30L
#define CONNECT_S 5L

struct client {
	CURL *curl;
	char error[CURL_ERROR_SIZE];
};

int client_new(struct client **out, const char *ca_file)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	c->curl = curl_easy_init();
	if (!c->curl) {
		client_free(c);
		return -ENOMEM;
	}
	curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->error);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c->curl, CURLOPT_ACCEPT_ENCODING, "");
	curl_easy_setopt(c->curl, CURLOPT_USERAGENT, "redtap-aggregator");
	if (ca_file)
		curl_easy_setopt(c->curl, CURLOPT_CAINFO, ca_file);
	*out = c;
	return 0;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	curl_easy_cleanup(c->curl);
	free(c);
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	return buf_append(arg, data, size * n) == 0 ? size * n : 0;
}

static int send_request(struct client *c, const char *base, const char *path,
			struct buf *body)
{
	struct buf url = { 0 };
	long status = 0;
	size_t len = strlen(base);
	CURLcode code;

	while (len > 0 && base[len - 1] == '/')
		len--;
	buf_append(&url, base, len);
	buf_puts(&url, path);
	if (!buf_str(&url)) {
		buf_fini(&url);
		return -ENOMEM;
	}
	buf_reset(body);
	c->error[0] = '\0';
	curl_easy_setopt(c->curl, CURLOPT_URL, url.data);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, body);
	code = curl_easy_perform(c->curl);
	buf_fini(&url);
	if (code != CURLE_OK) {
		if (!c->error[0])
			strncpy(c->error, curl_easy_strerror(code),
				sizeof(c->error) - 1);
		return -EIO;
	}
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

int client_get(struct client *c, const char *base, const char *path,
	       struct buf *body)
{
	curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
	return send_request(c, base, path, body);
}

int client_post(struct client *c, const char *base, const char *path,
		struct buf *body)
{
	curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
	curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE, 0L);
	return send_request(c, base, path, body);
}

const char *client_error(const struct client *c)
{
	return c->error;
}
