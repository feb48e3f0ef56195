/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/grpc.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static bool starts_with(struct slice s, const char *text)
{
	return s.len >= strlen(text) &&
	       !strncasecmp(s.data, text, strlen(text));
}

/* Behind the first n characters, the name of a type ends. */
static bool type_ends(struct slice s, size_t n)
{
	return s.len == n || s.data[n] == '+' || s.data[n] == ';' ||
	       s.data[n] == ' ';
}

enum grpc_kind grpc_kind_of(struct slice type)
{
	static const struct {
		const char *name;
		enum grpc_kind kind;
	} kinds[] = {
		{ "application/grpc", GRPC_PLAIN },
		{ "application/grpc-web", GRPC_WEB },
		{ "application/grpc-web-text", GRPC_WEB_TEXT },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (starts_with(type, kinds[i].name) &&
		    type_ends(type, strlen(kinds[i].name)))
			return kinds[i].kind;
	if (starts_with(type, "application/connect+"))
		return GRPC_CONNECT_STREAM;
	return GRPC_NONE;
}

bool grpc_is_connect_get(struct slice target)
{
	static const char word[] = "connect=v1";
	const size_t n = sizeof(word) - 1;
	const char *p = memchr(target.data, '?', target.len);
	const char *end = target.data + target.len;

	for (; p && (size_t)(end - p) > n; p = memchr(p + 1, '&', end - p - 1))
		if (!memcmp(p + 1, word, n) &&
		    (p + 1 + n == end || p[1 + n] == '&'))
			return true;
	return false;
}

enum rpc_system grpc_system_of(enum grpc_kind kind)
{
	switch (kind) {
	case GRPC_NONE:
		return RPC_NONE;
	case GRPC_CONNECT_UNARY:
	case GRPC_CONNECT_STREAM:
		return RPC_CONNECT;
	default:
		return RPC_GRPC;
	}
}

struct slice grpc_method(struct slice target)
{
	struct slice none = { NULL, 0 };
	const char *query, *slash;

	if (!target.len || target.data[0] != '/')
		return none;
	query = memchr(target.data, '?', target.len);
	if (query)
		target.len = (size_t)(query - target.data);
	slash = memrchr(target.data, '/', target.len);
	if (slash <= target.data + 1 || slash + 1 == target.data + target.len)
		return none;
	return (struct slice){ target.data + 1, target.len - 1 };
}

int grpc_code_of_number(struct slice value)
{
	int code = 0;

	if (!value.len || value.len > 2)
		return -EINVAL;
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return -EINVAL;
		code = code * 10 + value.data[i] - '0';
	}
	return code < (int)RPC_CODES ? code : -EINVAL;
}

int grpc_code_of_name(struct slice name)
{
	static const char *const names[RPC_CODES] = {
		[1] = "canceled",
		[2] = "unknown",
		[3] = "invalid_argument",
		[4] = "deadline_exceeded",
		[5] = "not_found",
		[6] = "already_exists",
		[7] = "permission_denied",
		[8] = "resource_exhausted",
		[9] = "failed_precondition",
		[10] = "aborted",
		[11] = "out_of_range",
		[12] = "unimplemented",
		[13] = "internal",
		[14] = "unavailable",
		[15] = "data_loss",
		[16] = "unauthenticated",
	};

	for (int i = 1; i < (int)RPC_CODES; i++)
		if (strlen(names[i]) == name.len &&
		    !memcmp(names[i], name.data, name.len))
			return i;
	return -EINVAL;
}
