/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "probe-agent/config/config.h"

#define PEM "for people\n-----BEGIN CERTIFICATE-----\n"

struct fixture {
	char path[64];
	char pem[64]; /* a file that passes for a certificate */
	struct agent_config *cfg;
	char said[1024]; /* what went to stderr */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	assert_non_null(f);
	snprintf(f->path, sizeof(f->path), "/tmp/redtap-config.XXXXXX");
	fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	snprintf(f->pem, sizeof(f->pem), "/tmp/redtap-pem.XXXXXX");
	fd = mkstemp(f->pem);
	assert_int_equal(write(fd, PEM, strlen(PEM)), strlen(PEM));
	close(fd);
	setenv("REDTAP_CA", f->pem, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	agent_config_free(f->cfg);
	unlink(f->path);
	unlink(f->pem);
	free(f);
	return 0;
}

/* One call site logs LOG_BURST lines a second: wait for a fresh second. */
static void spare_the_limit(void)
{
	static unsigned calls;

	if (++calls % (LOG_BURST - 1) == 0)
		usleep(1100000);
}

/* Loads text as the file, with flags; stderr goes to f->said. */
static int load(struct fixture *f, const char *text, unsigned n,
		const char *const *args)
{
	struct cli_settings flags = { .n = 0 };
	int saved = dup(STDERR_FILENO), pair[2], err;
	FILE *out = fopen(f->path, "w");
	char *argv[16], file[96];
	ssize_t got;

	assert_non_null(out);
	spare_the_limit();
	fputs(text, out);
	fclose(out);
	snprintf(file, sizeof(file), "--config.file=%s", f->path);
	argv[0] = file;
	argv[1] = file;
	for (unsigned i = 0; i < n; i++)
		argv[2 + i] = (char *)(uintptr_t)args[i];
	argv[2 + n] = NULL;
	agent_config_free(f->cfg);
	f->cfg = NULL;
	assert_int_equal(argp_parse(&agent_config_argp, (int)n + 2, argv, 0,
				    NULL, &flags),
			 0);
	assert_int_equal(pipe(pair), 0);
	dup2(pair[1], STDERR_FILENO);
	close(pair[1]);
	err = agent_config_load(&f->cfg, &flags);
	dup2(saved, STDERR_FILENO);
	close(saved);
	got = read(pair[0], f->said, sizeof(f->said) - 1);
	f->said[got > 0 ? got : 0] = '\0';
	close(pair[0]);
	return err;
}

static void is_complete_without_a_word(void **state)
{
	struct fixture *f = *state;
	char host[256];

	assert_int_equal(gethostname(host, sizeof(host)), 0);
	assert_int_equal(load(f, "", 0, NULL), 0);
	assert_string_equal(f->cfg->node, host);
	assert_string_equal(f->cfg->to, "tcp://127.0.0.1:9471");
	assert_string_equal(f->cfg->capture.mode, "auto");
	assert_int_equal(f->cfg->flush_ms, 500);
	assert_int_equal(f->cfg->outbox.cap_bytes, 64 << 20);
	assert_int_equal(f->cfg->capture.ring_bytes, 4 << 20);
	assert_int_equal(f->cfg->capture.max_connections, 65536);
	assert_int_equal(f->cfg->routes.cap, 1000);
	assert_null(f->cfg->outbox.path);
	assert_false(f->cfg->select.report_self);
	assert_int_equal(f->cfg->select.include.ports_count, 0);
}

static const char full[] =
	"# all of it, ${NOT_SET} in a comment\n"
	"node: n${REDTAP_T}\n"
	"to: tls+tcp://agg:9471\n"
	"flush_ms: 250\n"
	"tls: {ca_file: ${REDTAP_CA}, cert_file: ${REDTAP_CA},"
	" key_file: '${REDTAP_CA}'}\n"
	"outbox:\n"
	"  cap_bytes: 9000000000\n"
	"  path: ${REDTAP_UNSET:-/tmp}/o\n"
	"capture:\n"
	"  mode: syscall\n"
	"  ring_bytes: 65536\n"
	"  max_connections: 7\n"
	"select:\n"
	"  include:\n"
	"    ports: [80, 8000-8999]\n"
	"    executables: [nginx]\n"
	"  exclude:\n"
	"    containers:\n"
	"      - abc\n"
	"  report_self: true\n"
	"routes:\n"
	"  patterns: ['/a/{id}', '/$${x}']\n"
	"  cap: 9\n"
	"services:\n"
	"  - {executable: py*, port: 80, service: web}\n"
	"  - {container: '*', service: b, namespace: n}\n";

static void reads_every_key(void **state)
{
	struct fixture *f = *state;
	const struct agent_config *c;

	setenv("REDTAP_T", "42", 1);
	unsetenv("REDTAP_UNSET");
	assert_int_equal(load(f, full, 0, NULL), 0);
	c = f->cfg;
	assert_string_equal(c->node, "n42");
	assert_string_equal(c->to, "tls+tcp://agg:9471");
	assert_int_equal(c->flush_ms, 250);
	assert_string_equal(c->tls.ca_file, f->pem);
	assert_string_equal(c->tls.cert_file, f->pem);
	assert_string_equal(c->tls.key_file, f->pem);
	assert_true(c->outbox.cap_bytes == UINT64_C(9000000000));
	assert_string_equal(c->outbox.path, "/tmp/o");
	assert_string_equal(c->capture.mode, "syscall");
	assert_int_equal(c->capture.ring_bytes, 65536);
	assert_int_equal(c->capture.max_connections, 7);
	assert_int_equal(c->select.include.ports_count, 2);
	assert_string_equal(c->select.include.ports[0], "80");
	assert_string_equal(c->select.include.ports[1], "8000-8999");
	assert_int_equal(c->select.include.executables_count, 1);
	assert_string_equal(c->select.include.executables[0], "nginx");
	assert_int_equal(c->select.exclude.containers_count, 1);
	assert_string_equal(c->select.exclude.containers[0], "abc");
	assert_true(c->select.report_self);
	assert_int_equal(c->routes.patterns_count, 2);
	assert_string_equal(c->routes.patterns[1], "/${x}");
	assert_int_equal(c->routes.cap, 9);
	assert_int_equal(c->services_count, 2);
	assert_string_equal(c->services[0].executable, "py*");
	assert_int_equal(c->services[0].port, 80);
	assert_string_equal(c->services[0].service, "web");
	assert_null(c->services[0].namespace_);
	assert_string_equal(c->services[1].container, "*");
	assert_string_equal(c->services[1].namespace_, "n");
}

static void lets_flags_win_and_lists_add_up(void **state)
{
	static const char *const args[] = {
		"--node=x",
		"--include.port",
		"443",
		"--no-report-self",
		"--exclude.executable=sh",
		"--capture.ring=128KiB",
		"--flush=1s",
		"--route=/b",
	};
	struct fixture *f = *state;

	setenv("REDTAP_T", "42", 1);
	assert_int_equal(load(f, full, 8, args), 0);
	assert_string_equal(f->cfg->node, "x");
	assert_int_equal(f->cfg->select.include.ports_count, 3);
	assert_string_equal(f->cfg->select.include.ports[2], "443");
	assert_string_equal(f->cfg->select.exclude.executables[0], "sh");
	assert_false(f->cfg->select.report_self);
	assert_int_equal(f->cfg->capture.ring_bytes, 131072);
	assert_int_equal(f->cfg->flush_ms, 1000);
	assert_string_equal(f->cfg->routes.patterns[2], "/b");
}

struct refusal {
	const char *text, *place, *what;
};

static void refuses_and_says_where(void **state)
{
	static const struct refusal cases[] = {
		{ "capture:\n  mode: auto\n  bogus: 1\n",
		  ":3:3:", "unknown key 'bogus'" },
		{ "bogus: 1\n", ":1:1:", "unknown key 'bogus'" },
		{ "node: bogus\nto: tcp://x:1\n\n# bogus: no\nbogus: 1\n",
		  ":5:1:", "unknown key 'bogus'" },
		{ "node: a\nnodes: b\n", ":2:1:", "unknown key 'nodes'" },
		{ "select: {include: {portz: [1]}}\n",
		  ":1:20:", "unknown key 'portz'" },
		{ "services:\n  - {service: a, bogus: 1}\n",
		  ":2:18:", "unknown key 'bogus'" },
		{ "node: a\nflush_ms: soon\n", ":2:11:", "soon" },
		{ "flush_ms: -5\n", ":1:11:", "-5" },
		{ "services: [{port: 1}]\n", ":1:", "service" },
		{ "node: ${REDTAP_UNSET}\n",
		  ":1:9:", "variable REDTAP_UNSET is not set" },
		{ "a: 1\nnode: ${X\n", ":2:7:", "${ without }" },
		{ "node: ${a-b}\n", ":1:9:", "not the name" },
		{ "node: [\n", ":", "" },
		{ "flush_ms: 5000\n", ":1:11:", "from 10 to 1000" },
		{ "capture: {mode: magic}\n", ":1:17: capture.mode: 'magic'",
		  "none of auto, fentry, socket, syscall, kprobe" },
		{ "capture: {tls: maybe}\n", ":1:16:", "none of auto, off" },
		{ "capture: {ring_bytes: 100000}\n", ":1:23:", "power of two" },
		{ "to: udp://x\n", ":1:5: to: 'udp://x'",
		  "not tcp://HOST:PORT or tls+tcp" },
		{ "to: tcp://x\n", ":1:5:", "not tcp://HOST:PORT" },
		{ "node: ''\n", ":1:7:", "a name of 1 to 253 bytes" },
		{ "services:\n  - {service: x, port: 1}\n  - {service: y}\n",
		  ":3:15: services.service", "a rule needs" },
		{ "tls: {cert_file: '${REDTAP_CA}'}\n",
		  ":1:18:", "go together" },
		{ "tls: {ca_file: /nonexistent}\n",
		  ":1:16:", "'/nonexistent' is not a file that exists" },
		{ "tls: {ca_file: /}\n", ":1:16:", "but a folder" },
		{ "tls: {ca_file: /proc/version}\n",
		  ":1:16:", "no -----BEGIN in it" },
		{ "to: tls+tcp://x:1\n", ":1:5: to:", "needs tls.ca_file" },
		{ "select: {include: {ports: [80, foo]}}\n",
		  ":1:32:", "'foo' is not a port or a range" },
		{ "select: {exclude: {ports: [99999]}}\n",
		  ":1:28:", "'99999' is not" },
		{ "select: {include: {ports: [80-70]}}\n",
		  ":1:28:", "'80-70' is not" },
		{ "select: {include: {executables: ['a[b']}}\n",
		  ":1:34:", "'a[b' is not a glob" },
		{ "services: [{service: a, executable: 'x\\'}]\n",
		  ":1:37:", "is not a glob" },
		{ "names: {container_labels: ['']}\n", ":1:28:", "" },
		{ "names: {labels: off}\n", ":1:17:", "true or false" },
		{ "names: {root: /nonexistent}\n",
		  ":1:15:", "not a folder that exists" },
		{ "outbox: {path: /nonexistent/x}\n",
		  ":1:16:", "a file in a folder that exists" },
		{ "routes: {patterns: [/a, b]}\n",
		  ":1:25:", "'b' is not a route like /users/{id}" },
		{ "flush_ms: 5m\n", ":1:11:",
		  "'5m' is not a whole number "
		  "from 10 to 1000, or a duration" },
		{ "outbox: {cap_bytes: 64MiB, bogus: 1}\n",
		  ":1:28:", "unknown key 'bogus'" },
		{ "node: \"ä ö\"\noutbox: {cap_bytes: 1GiB, cap: 1}\n",
		  ":2:27:", "unknown key 'cap'" },
	};
	struct fixture *f = *state;

	unsetenv("REDTAP_UNSET");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(load(f, cases[i].text, 0, NULL), -EINVAL);
		assert_null(f->cfg);
		if (!strstr(f->said, cases[i].what) ||
		    !strstr(f->said, cases[i].place))
			fail_msg("case %u said: %s", i, f->said);
	}
}

/* The same texts as those of flags. */
static void reads_amounts_with_their_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t flush_ms, cap_bytes, ring_bytes;
	} cases[] = {
		{ "flush_ms: 1s\n", 1000, 64 << 20, 4 << 20 },
		{ "flush_ms: 250ms\noutbox: {cap_bytes: 2GiB}\n", 250,
		  UINT64_C(2) << 30, 4 << 20 },
		{ "outbox: { cap_bytes: '100MB' }\n"
		  "capture: {ring_bytes: 8MiB} # ä\n",
		  500, 100000000, 8 << 20 },
		{ "{flush_ms: \"1s\", capture: {ring_bytes: 128KiB}}", 1000,
		  64 << 20, 128 << 10 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(load(f, cases[i].text, 0, NULL), 0);
		assert_int_equal(f->cfg->flush_ms, cases[i].flush_ms);
		assert_true(f->cfg->outbox.cap_bytes == cases[i].cap_bytes);
		assert_int_equal(f->cfg->capture.ring_bytes,
				 cases[i].ring_bytes);
	}
}

static void refuses_a_variable_of_several_lines(void **state)
{
	struct fixture *f = *state;

	setenv("REDTAP_T", "a\nto: tcp://evil:1", 1);
	assert_int_equal(load(f, full, 0, NULL), -EINVAL);
	assert_non_null(
		strstr(f->said, ":2:10: variable REDTAP_T has several"));
}

static void refuses_bad_flags(void **state)
{
	static const char *const bad[] = {
		"--flush=soon", "--outbox.cap=1EiB",   "--capture.ring=-1",
		"--node=",	"--routes.cap=0",      "--to=http://x",
		"--flush=2s",	"--outbox.cap=1MiB",   "--capture=none",
		"--flush=5ms",	"--capture.ring=5GiB",
	};
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(load(f, "", 1, &bad[i]), -EINVAL);
}

static void tells_a_missing_file(void **state)
{
	struct cli_settings flags = { .cli.config_file = "/nonexistent/x.yml" };
	struct agent_config *cfg = NULL;

	(void)state;
	assert_int_equal(agent_config_load(&cfg, &flags), -ENOENT);
	assert_null(cfg);
}

/* As the units say it: what is not there is no configuration. */
static void takes_a_file_that_may_be_missing(void **state)
{
	struct fixture *f = *state;
	struct cli_settings flags = { .cli.config_file =
					      "-/nonexistent/x.yml" };
	char path[96];

	assert_int_equal(agent_config_load(&f->cfg, &flags), 0);
	assert_string_equal(f->cfg->to, "tcp://127.0.0.1:9471");
	assert_int_equal(load(f, "node: there\n", 0, NULL), 0);
	agent_config_free(f->cfg);
	f->cfg = NULL;
	snprintf(path, sizeof(path), "-%s", f->path);
	flags.cli.config_file = path;
	assert_int_equal(agent_config_load(&f->cfg, &flags), 0);
	assert_string_equal(f->cfg->node, "there");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(is_complete_without_a_word),
		T(reads_every_key),
		T(lets_flags_win_and_lists_add_up),
		T(refuses_and_says_where),
		T(reads_amounts_with_their_units),
		T(refuses_a_variable_of_several_lines),
		T(refuses_bad_flags),
		T(tells_a_missing_file),
		T(takes_a_file_that_may_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
