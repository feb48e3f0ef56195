/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conffile_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/conffile_walk.h"

static const char *word_of(const struct conffile_rule *r, size_t i)
{
	return *(const char *const *)((const char *)r->words + i * r->stride);
}

static bool has_word(const struct conffile_rule *r, const char *value)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(word_of(r, i), value) == 0)
			return true;
	return false;
}

/* "is none of auto, off", or "is not a port". False: it is allowed. */
static bool is_wrong(const struct conffile_rule *r, const char *value,
		     char *out, size_t size)
{
	const char *allowed = NULL;
	size_t len;

	if (!r->words) {
		allowed = r->check(value);
		if (allowed)
			snprintf(out, size, "is not %s", allowed);
		return allowed != NULL;
	}
	if (has_word(r, value))
		return false;
	snprintf(out, size, "is none of");
	for (size_t i = 0; i < r->n; i++) {
		len = strlen(out);
		snprintf(out + len, size - len, "%s %s", i ? "," : "",
			 word_of(r, i));
	}
	return true;
}

int conffile_check_rule(const struct conffile_rule *rule,
			const struct conffile_value *v,
			struct conffile_error *e)
{
	char why[CONFFILE_WHAT_BYTES - 128];

	if (!is_wrong(rule, v->text, why, sizeof(why)))
		return 0;
	e->line = v->line;
	e->column = v->column;
	snprintf(e->what, sizeof(e->what), "%.50s: '%.64s' %s", rule->key,
		 v->text, why);
	return -EINVAL;
}

struct checking {
	const struct conffile_rule *rules;
	size_t n;
	struct conffile_error *e;
};

static int check_value(void *arg, const struct conffile_value *v)
{
	struct checking *c = arg;
	int err = 0;

	for (size_t i = 0; i < c->n && !err; i++)
		if (strcmp(c->rules[i].key, v->path) == 0)
			err = conffile_check_rule(&c->rules[i], v, c->e);
	return err;
}

int conffile_check_rules(const struct conffile_rule *rules, size_t n,
			 const char *text, size_t len, struct conffile_error *e)
{
	struct checking c = { rules, n, e };

	return conffile_walk(text, len, check_value, &c);
}

int conffile_check_flag_rules(const struct conffile_rule *rules, size_t n,
			      int flag, const char *value,
			      struct conffile_error *e)
{
	for (size_t i = 0; i < n; i++)
		if (flag && rules[i].flag == flag &&
		    is_wrong(&rules[i], value, e->what, sizeof(e->what)))
			return -EINVAL;
	return 0;
}

/* --- checks that both programs need --- */

const char *conffile_glob(const char *value)
{
	static const char wanted[] =
		"a glob: a [ lacks its ], or a \\ what it is for";
	const char *p = value;

	if (!*value)
		return "a glob, but empty";
	while (*p) {
		if (*p == '\\' && !*++p)
			return wanted;
		if (*p == '[') {
			p += 1 + (p[1] == '!' || p[1] == '^');
			p += *p == ']'; /* the first one stands for itself */
			p = strchr(p, ']');
			if (!p)
				return wanted;
		}
		p++;
	}
	return NULL;
}

const char *conffile_readable(const char *value)
{
	struct stat st;

	/* access() alone forgets the capabilities that the agent reads with. */
	if (stat(value, &st) || faccessat(AT_FDCWD, value, R_OK, AT_EACCESS))
		return errno == ENOENT ? "a file that exists"
		       : errno == EACCES
			       ? "a file that may be read (permission denied)"
			       : "a file that can be read";
	return S_ISDIR(st.st_mode) ? "a file, but a folder" : NULL;
}

/* A key or certificate may come behind lines for people. */
#define PEM_HEAD_BYTES 65536

const char *conffile_pem(const char *value)
{
	static char head[PEM_HEAD_BYTES + 1];
	const char *wanted = conffile_readable(value);
	ssize_t n;
	int fd;

	if (wanted)
		return wanted;
	fd = open(value, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	n = fd < 0 ? -1 : read(fd, head, PEM_HEAD_BYTES);
	if (fd >= 0)
		close(fd);
	head[n > 0 ? n : 0] = '\0';
	return strstr(head, "-----BEGIN ")
		       ? NULL
		       : "a PEM file: there is no -----BEGIN in it";
}

const char *conffile_url(const char *value)
{
	static const char wanted[] = "tcp://HOST:PORT or tls+tcp://HOST:PORT";
	const char *host, *port;
	uint64_t n;

	if (strncmp(value, "tcp://", 6) == 0)
		host = value + 6;
	else if (strncmp(value, "tls+tcp://", 10) == 0)
		host = value + 10;
	else
		return wanted;
	port = strrchr(host, ':');
	return !port || port == host || cli_parse_u64(port + 1, 0, 65535, &n)
		       ? wanted
		       : NULL;
}

const char *conffile_boolean(const char *value)
{
	return !strcmp(value, "true") || !strcmp(value, "false") ||
			       !strcmp(value, "yes") || !strcmp(value, "no")
		       ? NULL
		       : "true or false";
}
