/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/script.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* How an interpreter gets the program that it runs. */
struct language {
	const char *prefix; /* of the executable; a version may follow */
	const char *values; /* options of one letter with an argument */
	const char *module; /* option whose argument is a module's name */
	const char *text; /* option whose argument is the program itself */
};

static const struct language languages[] = {
	{ "python", "WXm", "-m", "-c" }, { "node", "rC", NULL, "-e" },
	{ "nodejs", "rC", NULL, "-e" },	 { "deno", "", NULL, "-e" },
	{ "bun", "", NULL, "-e" },	 { "ruby", "rI", NULL, "-e" },
	{ "perl", "I", NULL, "-e" },	 { "php", "dc", NULL, "-r" },
	{ "java", "", NULL, NULL },
};

/* Servers that take the application as MODULE:NAME. */
static const char *const servers[] = { "gunicorn", "uvicorn", "hypercorn",
				       "daphne",   "granian", "waitress-serve",
				       "uwsgi",	   "waitress" };

static const struct language *find_language(const char *executable)
{
	for (size_t i = 0; i < sizeof(languages) / sizeof(*languages); i++) {
		size_t n = strlen(languages[i].prefix);

		if (!strncmp(executable, languages[i].prefix, n) &&
		    executable[n + strspn(executable + n, "0123456789.")] ==
			    '\0')
			return &languages[i];
	}
	return NULL;
}

/* The next argument; NULL at the end. The last one may lack its NUL. */
static const char *next_arg(const char **at, const char *end)
{
	const char *s = *at;
	const char *nul = s < end ? memchr(s, '\0', (size_t)(end - s)) : NULL;

	if (!nul)
		return NULL;
	*at = nul + 1;
	return s;
}

static bool put(char *name, const char *from, size_t len)
{
	while (len && !isalnum((unsigned char)from[len - 1]))
		len--;
	if (!len || len > SCRIPT_NAME_LEN)
		return false;
	memcpy(name, from, len);
	name[len] = '\0';
	return true;
}

/* "/srv/server.js" → "server", "orders-1.4.jar" → "orders". */
static bool put_file(char *name, const char *path)
{
	const char *base = strrchr(path, '/'), *dot;
	size_t len;

	base = base ? base + 1 : path;
	dot = strrchr(base, '.');
	len = dot && dot != base ? (size_t)(dot - base) : strlen(base);
	for (size_t i = 1; i + 1 < len; i++)
		if (base[i] == '-' && isdigit((unsigned char)base[i + 1]))
			len = i;
	return put(name, base, len);
}

/* "shop.wsgi:app" → "shop": what is before the last word, if that is common. */
static bool put_application(char *name, const char *module)
{
	static const char *const common[] = { "wsgi", "asgi", "app", "main" };
	size_t len = strcspn(module, ":");

	for (size_t i = 0; i < sizeof(common) / sizeof(*common); i++) {
		size_t n = strlen(common[i]);

		if (len > n + 1 && module[len - n - 1] == '.' &&
		    !memcmp(module + len - n, common[i], n))
			return put(name, module, len - n - 1);
	}
	return put(name, module, len);
}

static bool is_server(const char *program)
{
	const char *base = strrchr(program, '/');

	base = base ? base + 1 : program;
	for (size_t i = 0; i < sizeof(servers) / sizeof(*servers); i++)
		if (!strcmp(base, servers[i]))
			return true;
	return false;
}

/* The application that a server's arguments name; else the server's own name.
 */
static bool put_served(char *name, const char *server, const char *at,
		       const char *end)
{
	const char *arg;

	while ((arg = next_arg(&at, end)))
		if (*arg != '-' && strchr(arg, ':') && !strchr(arg, '/') &&
		    isalpha((unsigned char)*arg) &&
		    !isdigit((unsigned char)strchr(arg, ':')[1]))
			return put_application(name, arg);
	return put_file(name, server);
}

static bool put_java(char *name, const char *at, const char *end)
{
	const char *arg;

	while ((arg = next_arg(&at, end))) {
		if (!strcmp(arg, "-jar")) {
			arg = next_arg(&at, end);
			return arg && put_file(name, arg);
		}
		if (!strcmp(arg, "-cp") || !strcmp(arg, "-classpath") ||
		    !strcmp(arg, "--module-path") || !strcmp(arg, "-p")) {
			if (!next_arg(&at, end))
				return false;
		} else if (*arg != '-' && *arg != '@') {
			const char *class = strrchr(arg, '.');

			return put(name, class ? class + 1 : arg,
				   strlen(class ? class + 1 : arg));
		}
	}
	return false;
}

bool script_name(const char *executable, const char *argv, size_t len,
		 char name[SCRIPT_NAME_LEN + 1])
{
	const struct language *l = find_language(executable);
	const char *at = argv, *end = argv + len, *arg;

	if (!l || !next_arg(&at, end))
		return false;
	if (!strcmp(l->prefix, "java"))
		return put_java(name, at, end);
	while ((arg = next_arg(&at, end))) {
		if (l->text && !strcmp(arg, l->text))
			return false;
		if (l->module && !strcmp(arg, l->module)) {
			arg = next_arg(&at, end);
			if (!arg)
				return false;
			return is_server(arg) ? put_served(name, arg, at, end)
					      : put(name, arg, strlen(arg));
		}
		/* deno and bun: `deno run FILE`. */
		if (!strcmp(arg, "run") && strlen(l->prefix) <= 4)
			continue;
		if (*arg != '-')
			return is_server(arg) ? put_served(name, arg, at, end)
					      : put_file(name, arg);
		if (arg[1] && !arg[2] && strchr(l->values, arg[1]) &&
		    !next_arg(&at, end))
			return false;
	}
	return false;
}
