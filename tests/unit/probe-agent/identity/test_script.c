/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* Arguments are written with blanks between them. */
static const struct run {
	const char *executable, *argv, *name;
} runs[] = {
	{ "node", "node /srv/server.js", "server" },
	{ "node", "node --enable-source-maps -r ./x.js shop.mjs --port 1",
	  "shop" },
	{ "nodejs", "nodejs app.min.js", "app.min" },
	{ "python3.11", "python3 -u -W ignore orders.py", "orders" },
	{ "python3.11", "python3 -m http.server 8080", "http.server" },
	{ "python3.11",
	  "/usr/bin/python3 /usr/bin/gunicorn -b :80 shop.wsgi:app", "shop" },
	{ "python3", "python3 -m uvicorn shop.main:app --port 80", "shop" },
	{ "python3", "python3 /usr/bin/uvicorn --host 0.0.0.0:80 pay:api",
	  "pay" },
	{ "python3", "python3 /usr/bin/gunicorn", "gunicorn" },
	{ "python3", "python3 manage.py runserver", "manage" },
	{ "python3", "python3 -c print(1)", NULL },
	{ "python3", "python3", NULL },
	{ "python3", "python3 -m", NULL },
	{ "ruby3.1", "ruby -I lib config.ru", "config" },
	{ "perl", "perl -e 1", NULL },
	{ "php8.2", "php -d x=1 artisan serve", "artisan" },
	{ "deno", "deno run -A main.ts", "main" },
	{ "bun", "bun run index.ts", "index" },
	{ "java", "java -Xmx1g -jar /opt/orders-1.4.2-SNAPSHOT.jar --x",
	  "orders" },
	{ "java", "java -cp a:b com.acme.shop.Main", "Main" },
	{ "java", "java -version", NULL },
	{ "nginx", "nginx -g daemon", NULL },
	{ "pythonista", "pythonista a.py", NULL },
	{ "node", "node ./...", NULL },
};

static void names_what_an_interpreter_runs(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		size_t len = strlen(runs[i].argv) + 1;
		char *argv = strdup(runs[i].argv);
		char name[SCRIPT_NAME_LEN + 1] = "";
		bool found;

		for (size_t k = 0; k < len; k++)
			if (argv[k] == ' ')
				argv[k] = '\0';
		found = script_name(runs[i].executable, argv, len, name);
		if (found != !!runs[i].name ||
		    (found && strcmp(name, runs[i].name) != 0))
			fail_msg("%s: '%s'", runs[i].argv,
				 found ? name : "nothing");
		free(argv);
	}
}

/* /proc may give any part of it, without a NUL at its end. */
static void takes_every_part_of_a_command_line(void **state)
{
	static const char argv[] = "python3\0-m\0gunicorn\0-b\0:80\0shop:app";
	char name[SCRIPT_NAME_LEN + 1];

	(void)state;
	for (size_t n = 0; n <= sizeof(argv); n++) {
		char *part = malloc(n ? n : 1);

		memcpy(part, argv, n);
		script_name("python3", part, n, name);
		free(part);
	}
	assert_true(script_name("python3", argv, sizeof(argv), name));
	assert_string_equal(name, "shop");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_what_an_interpreter_runs),
		cmocka_unit_test(takes_every_part_of_a_command_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
