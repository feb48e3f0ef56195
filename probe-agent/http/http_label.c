/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/http/http_label.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

const char *http_label_method(struct slice m)
{
	static const struct slice known[] = {
		{ "GET", 3 },	 { "POST", 4 },	   { "PUT", 3 },
		{ "DELETE", 6 }, { "HEAD", 4 },	   { "OPTIONS", 7 },
		{ "PATCH", 5 },	 { "CONNECT", 7 }, { "TRACE", 5 },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].len == m.len &&
		    !memcmp(known[i].data, m.data, m.len))
			return known[i].data;
	return "_OTHER";
}

static void address_text(const struct endpoint *end,
			 char out[HTTP_LABEL_HOST_MAX + 1])
{
	if (!inet_ntop(end->family == AF_INET6 ? AF_INET6 : AF_INET,
		       end->remote_addr, out, HTTP_LABEL_HOST_MAX + 1))
		out[0] = '\0';
}

/* Characters that a host name may have, in lower case; 0 for all others. */
static const char host_chars[256] = {
	['a'] = 'a', ['A'] = 'a', ['b'] = 'b', ['B'] = 'b', ['c'] = 'c',
	['C'] = 'c', ['d'] = 'd', ['D'] = 'd', ['e'] = 'e', ['E'] = 'e',
	['f'] = 'f', ['F'] = 'f', ['g'] = 'g', ['G'] = 'g', ['h'] = 'h',
	['H'] = 'h', ['i'] = 'i', ['I'] = 'i', ['j'] = 'j', ['J'] = 'j',
	['k'] = 'k', ['K'] = 'k', ['l'] = 'l', ['L'] = 'l', ['m'] = 'm',
	['M'] = 'm', ['n'] = 'n', ['N'] = 'n', ['o'] = 'o', ['O'] = 'o',
	['p'] = 'p', ['P'] = 'p', ['q'] = 'q', ['Q'] = 'q', ['r'] = 'r',
	['R'] = 'r', ['s'] = 's', ['S'] = 's', ['t'] = 't', ['T'] = 't',
	['u'] = 'u', ['U'] = 'u', ['v'] = 'v', ['V'] = 'v', ['w'] = 'w',
	['W'] = 'w', ['x'] = 'x', ['X'] = 'x', ['y'] = 'y', ['Y'] = 'y',
	['z'] = 'z', ['Z'] = 'z', ['0'] = '0', ['1'] = '1', ['2'] = '2',
	['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7',
	['8'] = '8', ['9'] = '9', ['.'] = '.', ['-'] = '-', ['_'] = '_',
	[':'] = ':',
};

void http_label_host(const struct exchange *x,
		     char out[HTTP_LABEL_HOST_MAX + 1])
{
	const char *h = x->host.data;
	size_t n = x->host.len, i;
	const char *end;

	if (n && h[0] == '[') {
		end = memchr(h, ']', n);
		n = end ? (size_t)(end - h) - 1 : 0;
		h++;
	} else if (n) {
		end = memchr(h, ':', n);
		if (end)
			n = (size_t)(end - h);
	}
	if (n > HTTP_LABEL_HOST_MAX)
		n = 0;
	for (i = 0; i < n && host_chars[(uint8_t)h[i]]; i++)
		out[i] = host_chars[(uint8_t)h[i]];
	if (!n || i < n) {
		address_text(x->end, out);
		return;
	}
	out[n] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool from_hex(const char *hex, size_t bytes, uint8_t *out)
{
	int hi, lo;

	for (size_t i = 0; i < bytes; i++) {
		hi = hex_value(hex[2 * i]);
		lo = hex_value(hex[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

bool http_label_trace(struct slice t, uint8_t out[24])
{
	static const uint8_t zero[16];

	if (t.len < 55 || t.data[2] != '-' || t.data[35] != '-' ||
	    t.data[52] != '-' || !memcmp(t.data, "ff", 2))
		return false;
	return from_hex(t.data + 3, 16, out) &&
	       from_hex(t.data + 36, 8, out + 16) && memcmp(out, zero, 16) &&
	       memcmp(out + 16, zero, 8);
}
