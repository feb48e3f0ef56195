/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of --web.config.file and what it does on the wire: passwords by
 * hand-written requests, TLS by curl against certificates made by openssl.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <crypt.h>
#include <unistd.h>

#include "aggregator/web/web.h"
#include "aggregator/web/web_auth.h"
#include "aggregator/web/web_config.h"
#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/aggregator/sample_snapshot.h"

static char dir[64];

static const char *in_dir(const char *name)
{
	static char path[4][128];
	static unsigned i;
	char *p = path[i++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static const char *write_file(const char *name, const char *text)
{
	const char *path = in_dir(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

/* Cost 4, the least there is: what is tested is not that it is slow. */
static const char *bcrypt(const char *password)
{
	static struct crypt_data data;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	assert_non_null(crypt_gensalt_rn("$2b$", 4, "0123456789abcdef", 16,
					 setting, sizeof(setting)));
	memset(&data, 0, sizeof(data));
	return crypt_r(password, setting, &data);
}

static void a_good_file_is_read_whole(void **state)
{
	struct web_config *c;
	char why[256], text[1024];

	(void)state;
	write_file("c.crt", "");
	write_file("c.key", "");
	snprintf(text, sizeof(text),
		 "# a comment\ntls_server_config:\n  cert_file: c.crt\n"
		 "  key_file: %s/c.key\n  min_version: TLS13\n"
		 "basic_auth_users:\n  alice: %s\n  'bob smith': %s\n",
		 dir, bcrypt("a"), bcrypt("b"));
	assert_int_equal(web_config_load(&c, write_file("good.yml", text), why,
					 sizeof(why)),
			 0);
	assert_true(c->tls && c->tls13_only);
	assert_string_equal(c->cert_file, in_dir("c.crt"));
	assert_string_equal(c->key_file, in_dir("c.key"));
	assert_int_equal(c->n_users, 2);
	assert_string_equal(c->users[1].name, "bob smith");
	web_config_free(c);
	assert_int_equal(web_config_load(&c, write_file("empty.yml", ""), why,
					 sizeof(why)),
			 0);
	assert_true(!c->tls && !c->n_users);
	web_config_free(c);
}

static void what_is_wrong_is_told_by_line_and_column(void **state)
{
	static const struct {
		const char *text, *place, *reason;
	} bad[] = {
		{ "basic_auth_user:\n", "line 1, column 1", "basic_auth_user" },
		{ "tls_server_config:\n  cert: x\n", "line 2, column 3",
		  "\"cert\"" },
		{ "http_server_config:\n  http2: true\n", "line 1, column 1",
		  "http_server_config" },
		{ "basic_auth_users:\n  a: b\n  c: d\n", "line 2, column 6",
		  "bcrypt" },
		{ "basic_auth_users: [a]\n", "line 1, column 19", "mapping" },
		{ "basic_auth_users:\n  a: [b]\n", "line 2, column 6", "text" },
		{ "- a\n", "line 1, column 1", "mapping" },
		{ "tls_server_config:\n  cert_file: /dev/null\n",
		  "line 2, column 3", "key_file" },
		{ "tls_server_config:\n  cert_file: /dev/null\n  key_file: "
		  "/nonexistent\n",
		  "line 2, column 3", "/nonexistent" },
		{ "tls_server_config:\n  cert_file: /dev/null\n  key_file: "
		  "/dev/null\n  client_auth_type: Always\n",
		  "line 4, column 21", "Always" },
		{ "tls_server_config:\n  cert_file: /dev/null\n  key_file: "
		  "/dev/null\n  client_auth_type: RequireAndVerifyClientCert\n",
		  "line 2, column 3", "client_ca_file" },
		{ "tls_server_config:\n  min_version: TLS10\n",
		  "line 2, column 16", "TLS12" },
		{ "a: b: c\n", "line 1, column 5", "" },
		{ "\tx: y\n", "line 1, column 1", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct web_config *c;
		char why[256] = "";

		assert_int_equal(
			web_config_load(&c, write_file("bad.yml", bad[i].text),
					why, sizeof(why)),
			-EINVAL);
		if (!strstr(why, bad[i].place) || !strstr(why, bad[i].reason))
			fail_msg("%s: %s", bad[i].text, why);
		assert_int_equal(
			web_config_check(in_dir("bad.yml"), why, sizeof(why)),
			-EINVAL);
	}
	assert_int_equal(web_config_check("/nonexistent", (char[64]){ "" }, 64),
			 -ENOENT);
}

/* user:password by hand-made base64: openssl's. */
static const char *basic(const char *credentials)
{
	static char header[512];
	char command[512], code[256] = "";
	FILE *f;

	snprintf(command, sizeof(command),
		 "printf %%s '%s' | openssl base64 -A", credentials);
	f = popen(command, "r");
	assert_non_null(fgets(code, sizeof(code), f));
	pclose(f);
	snprintf(header, sizeof(header), "Basic %s", code);
	return header;
}

static void passwords_are_checked_and_remembered(void **state)
{
	struct web_auth *a;
	char why[256], text[512];
	char *good, *wrong;

	(void)state;
	good = strdup(basic("alice:se:cret"));
	wrong = strdup(basic("alice:secret"));
	snprintf(text, sizeof(text), "basic_auth_users:\n  alice: %s\n",
		 bcrypt("se:cret"));
	assert_int_equal(web_auth_new(&a, write_file("auth.yml", text), why,
				      sizeof(why)),
			 0);
	assert_int_equal(web_auth_check(a, NULL, true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, "", true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, "Bearer x", true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, "Basic !!!", true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, "Basic ", true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, good, false), WEB_UNDECIDED);
	assert_int_equal(web_auth_check(a, wrong, true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, basic("bob:se:cret"), true),
			 WEB_DENIED);
	assert_int_equal(web_auth_check(a, basic("alice:"), true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, good, true), WEB_ALLOWED);
	assert_int_equal(web_auth_check(a, good, false), WEB_ALLOWED);
	assert_int_equal(web_auth_check(a, wrong, false), WEB_UNDECIDED);

	/* Another password: the old one is out at once. */
	snprintf(text, sizeof(text), "basic_auth_users:\n  alice: %s\n ",
		 bcrypt("secret"));
	write_file("auth.yml", text);
	assert_int_equal(web_auth_check(a, good, true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, wrong, true), WEB_ALLOWED);

	/* A broken file does not open the door, nor shut it. */
	write_file("auth.yml", "basic_auth_users: [");
	assert_int_equal(web_auth_check(a, good, true), WEB_DENIED);
	assert_int_equal(web_auth_check(a, wrong, true), WEB_ALLOWED);
	unlink(in_dir("auth.yml"));
	assert_int_equal(web_auth_check(a, NULL, true), WEB_DENIED);
	web_auth_free(a);
	free(good);
	free(wrong);
}

static const struct snapshot *take(void *arg)
{
	(void)arg;
	return &sample;
}

static void rele(const struct snapshot *s)
{
	(void)s;
}

/* What curl prints as "STATUS EXIT". */
static void curl(uint16_t port, const char *scheme, const char *options,
		 const char *path, const char *want)
{
	char command[1024], got[64] = "";
	FILE *f;
	int n;

	snprintf(command, sizeof(command),
		 "cd %s && curl -s -o out -m 10 -w '%%{http_code} ' %s "
		 "%s://localhost:%u%s; printf $?",
		 dir, options, scheme, port, path);
	f = popen(command, "r");
	n = (int)fread(got, 1, sizeof(got) - 1, f);
	pclose(f);
	assert_true(n > 0);
	if (strcmp(got, want))
		fail_msg("%s: \"%s\", not \"%s\"", command, got, want);
}

static uint16_t start(struct web **w, const char *config)
{
	const char *listen[] = { "127.0.0.1:0" };
	struct web_options o = { .listen = listen,
				 .n_listen = 1,
				 .config_file = config,
				 .take = take,
				 .rele = rele };

	assert_int_equal(web_start(w, &o), 0);
	return web_port(*w, 0);
}

static void every_page_asks_for_the_password(void **state)
{
	static const char *const page[] = { "/", "/metrics", "/-/healthy",
					    "/nothing", "/api/v1/windows" };
	static const char *const with[] = { "200 0", "200 0", "200 0", "404 0",
					    "501 0" };
	struct web *w;
	char text[512];
	uint16_t port;

	(void)state;
	snprintf(text, sizeof(text), "basic_auth_users:\n  alice: %s\n",
		 bcrypt("secret"));
	port = start(&w, write_file("web.yml", text));
	for (size_t i = 0; i < 5; i++) {
		curl(port, "http", "", page[i], "401 0");
		curl(port, "http", "-u alice:wrong", page[i], "401 0");
		curl(port, "http", "-u alice:secret", page[i], with[i]);
		curl(port, "http", "-u alice:secret", page[i], with[i]);
	}
	web_stop(w);
}

static void run(const char *fmt, const char *arg)
{
	char command[1024];
	int n = snprintf(command, sizeof(command), "cd %s && ", dir);

	snprintf(command + n, sizeof(command) - (size_t)n, "%s%s >log 2>&1",
		 fmt, arg);
	if (system(command))
		fail_msg("%s", command);
}

#define NEW_KEY                                                                \
	"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "  \
	"-nodes -days 2 -addext subjectAltName=DNS:localhost -subj /CN="

static void tls_serves_and_takes_a_renewed_certificate(void **state)
{
	struct web *w;
	uint16_t port;

	(void)state;
	run(NEW_KEY, "localhost -keyout s.key -out s.crt");
	port = start(&w, write_file("tls.yml", "tls_server_config:\n"
					       "  cert_file: s.crt\n"
					       "  key_file: s.key\n"));
	curl(port, "https", "--cacert s.crt", "/metrics", "200 0");
	curl(port, "https", "--cacert s.crt --tls-max 1.2", "/metrics",
	     "200 0");
	curl(port, "https", "--cacert s.crt --tls-max 1.1", "/metrics",
	     "000 35");
	curl(port, "https", "", "/metrics", "000 60");
	/* Renewed in place: the next handshake has it. */
	run("cp s.crt old.crt; " NEW_KEY, "localhost -keyout s.key -out s.crt");
	curl(port, "https", "--cacert s.crt", "/metrics", "200 0");
	curl(port, "https", "--cacert old.crt", "/metrics", "000 60");
	web_stop(w);
}

static void client_certificates_are_verified(void **state)
{
	struct web *w;
	uint16_t port;

	(void)state;
	run(NEW_KEY, "localhost -keyout s.key -out s.crt");
	run(NEW_KEY, "friend -keyout friend.key -out friend.crt");
	run(NEW_KEY, "stranger -keyout stranger.key -out stranger.crt");
	port = start(&w, write_file("mtls.yml",
				    "tls_server_config:\n  cert_file: s.crt\n"
				    "  key_file: s.key\n  client_ca_file: "
				    "friend.crt\n  client_auth_type: "
				    "RequireAndVerifyClientCert\n"));
	curl(port, "https", "--cacert s.crt", "/metrics", "403 0");
	curl(port, "https", "--cacert s.crt --cert friend.crt --key friend.key",
	     "/metrics", "200 0");
	curl(port, "https",
	     "--cacert s.crt --cert stranger.crt --key stranger.key",
	     "/metrics", "403 0");
	web_stop(w);
}

static void a_wrong_file_does_not_start(void **state)
{
	const char *listen[] = { "127.0.0.1:0" };
	struct web_options o = {
		.listen = listen, .n_listen = 1, .take = take, .rele = rele
	};
	struct web *w;

	(void)state;
	o.config_file = write_file("w.yml", "basic_auth_users: 7\n");
	assert_int_equal(web_start(&w, &o), -EINVAL);
	o.config_file = "/nonexistent/web.yml";
	assert_int_equal(web_start(&w, &o), -ENOENT);
}

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/redtap-web-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_file_is_read_whole),
		cmocka_unit_test(what_is_wrong_is_told_by_line_and_column),
		cmocka_unit_test(passwords_are_checked_and_remembered),
		cmocka_unit_test(every_page_asks_for_the_password),
		cmocka_unit_test(tls_serves_and_takes_a_renewed_certificate),
		cmocka_unit_test(client_certificates_are_verified),
		cmocka_unit_test(a_wrong_file_does_not_start),
	};

	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	return cmocka_run_group_tests_name("web_config", tests, make_dir,
					   remove_dir);
}
