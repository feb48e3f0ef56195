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

#include "aggregator/config/config.h"

#define PEM "-----BEGIN CERTIFICATE-----\n"

struct fixture {
	char path[64];
	char pem[64]; /* a file that passes for a certificate */
	struct aggregator_config *cfg;
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
	setenv("REDTAP_PEM", f->pem, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	aggregator_config_free(f->cfg);
	unlink(f->path);
	unlink(f->pem);
	free(f);
	return 0;
}

static int load(struct fixture *f, const char *text, unsigned n,
		const char *const *args)
{
	struct cli_settings flags = { .n = 0 };
	FILE *out = fopen(f->path, "w");
	char *argv[16], file[96];

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	snprintf(file, sizeof(file), "--config.file=%s", f->path);
	argv[0] = file;
	argv[1] = file;
	for (unsigned i = 0; i < n; i++)
		argv[2 + i] = (char *)(uintptr_t)args[i];
	argv[2 + n] = NULL;
	aggregator_config_free(f->cfg);
	f->cfg = NULL;
	assert_int_equal(argp_parse(&aggregator_config_argp, (int)n + 2, argv,
				    0, NULL, &flags),
			 0);
	return aggregator_config_load(&f->cfg, &flags);
}

static void is_complete_without_a_word(void **state)
{
	struct fixture *f = *state;
	const struct aggregator_config *c;

	assert_int_equal(load(f, "", 0, NULL), 0);
	c = f->cfg;
	assert_string_equal(c->store.dir, "/var/lib/redtap");
	assert_int_equal(c->store.commit_ms, 50);
	assert_int_equal(c->store.checkpoint_s, 60);
	assert_int_equal(c->retention.raw_age_s, 86400);
	assert_int_equal(c->retention.windows_age_s, 15 * 86400);
	assert_int_equal(c->web.listen_count, 1);
	assert_string_equal(c->web.listen[0], ":9470");
	assert_string_equal(c->web.telemetry_path, "/metrics");
	assert_false(c->web.lifecycle);
	assert_int_equal(c->ingest.listen_count, 1);
	assert_string_equal(c->ingest.listen[0], "tcp://127.0.0.1:9471");
	assert_int_equal(c->ingest.queue_bytes, 64 << 20);
	assert_int_equal(c->ingest.max_agents, 10000);
}

static const char full[] =
	"store: {dir: /s, commit_ms: 20, checkpoint_s: 5}\n"
	"retention: {raw_age_s: 1, raw_bytes: 2000000, windows_age_s: 3,\n"
	"            windows_bytes: 40000000000}\n"
	"web:\n"
	"  listen: ['127.0.0.1:1', '[::1]:2']\n"
	"  telemetry_path: /m\n"
	"  config_file: ${REDTAP_PEM}\n"
	"  lifecycle: true\n"
	"ingest:\n"
	"  listen: ['tcp://localhost:3', 'tls+tcp://0.0.0.0:4']\n"
	"  ca_file: ${REDTAP_PEM}\n"
	"  cert_file: ${REDTAP_PEM}\n"
	"  key_file: ${REDTAP_PEM}\n"
	"  queue_bytes: 10000000\n"
	"  max_agents: 3\n";

static void reads_every_key(void **state)
{
	struct fixture *f = *state;
	const struct aggregator_config *c;

	assert_int_equal(load(f, full, 0, NULL), 0);
	c = f->cfg;
	assert_string_equal(c->store.dir, "/s");
	assert_int_equal(c->store.commit_ms, 20);
	assert_int_equal(c->store.checkpoint_s, 5);
	assert_int_equal(c->retention.raw_age_s, 1);
	assert_int_equal(c->retention.raw_bytes, 2000000);
	assert_int_equal(c->retention.windows_age_s, 3);
	assert_true(c->retention.windows_bytes == UINT64_C(40000000000));
	assert_int_equal(c->web.listen_count, 2);
	assert_string_equal(c->web.listen[1], "[::1]:2");
	assert_string_equal(c->web.telemetry_path, "/m");
	assert_string_equal(c->web.config_file, f->pem);
	assert_true(c->web.lifecycle);
	assert_int_equal(c->ingest.listen_count, 2);
	assert_string_equal(c->ingest.listen[1], "tls+tcp://0.0.0.0:4");
	assert_string_equal(c->ingest.ca_file, f->pem);
	assert_string_equal(c->ingest.cert_file, f->pem);
	assert_string_equal(c->ingest.key_file, f->pem);
	assert_int_equal(c->ingest.queue_bytes, 10000000);
	assert_int_equal(c->ingest.max_agents, 3);
}

static void flags_stand_in_for_the_files_addresses(void **state)
{
	static const char *const args[] = {
		"--web.listen-address=:7",
		"--web.listen-address=:8",
		"--ingest.listen",
		"tcp://127.0.0.1:9",
		"--no-web.enable-lifecycle",
		"--retention.raw-age=2h",
		"--retention.raw-bytes=3MiB",
	};
	struct fixture *f = *state;

	assert_int_equal(load(f, full, 7, args), 0);
	assert_int_equal(f->cfg->web.listen_count, 2);
	assert_string_equal(f->cfg->web.listen[0], ":7");
	assert_string_equal(f->cfg->web.listen[1], ":8");
	assert_int_equal(f->cfg->ingest.listen_count, 1);
	assert_string_equal(f->cfg->ingest.listen[0], "tcp://127.0.0.1:9");
	assert_false(f->cfg->web.lifecycle);
	assert_int_equal(f->cfg->retention.raw_age_s, 7200);
	assert_int_equal(f->cfg->retention.raw_bytes, 3 << 20);
}

static void refuses_what_would_be_unsafe_or_wrong(void **state)
{
	static const char *const bad[] = {
		"ingest: {listen: ['tcp://0.0.0.0:9471']}\n",
		"ingest: {listen: ['tcp://10.0.0.1:9471']}\n",
		"ingest: {listen: ['tls+tcp://0.0.0.0:9471']}\n",
		"ingest: {listen: ['http://127.0.0.1:1']}\n",
		"ingest: {cert_file: /x}\n",
		"ingest: {queue_bytes: 1000}\n",
		"web: {telemetry_path: metrics}\n",
		"web: {telemetry_path: /}\n",
		"web: {listen: ['9470']}\n",
		"web: {listen: ['127.0.0.1:99999']}\n",
		"store: {commit_ms: 60000}\n",
		"store: {dri: /x}\n",
		"store: {checkpoint_s: 1500ms}\n",
		"web: {lifecycle: off}\n",
		"web: {page: perhaps}\n",
		"web: {config_file: /nonexistent}\n",
		"ingest: {ca_file: /nonexistent}\n",
		"log: {level: loud}\n",
		"views: [{name: x, measure: height}]\n",
		"views: [{name: x, measure: requests, labels: [shoe]}]\n",
	};
	static const char *const allowed[] = { "--ingest.allow-plaintext" };
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(load(f, bad[i], 0, NULL), -EINVAL);
	assert_int_equal(load(f, bad[0], 1, allowed), 0);
	assert_true(f->cfg->ingest.allow_plaintext);
}

/* The same texts as those of flags. */
static void reads_amounts_with_their_units(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f,
			      "store: {checkpoint_s: 5m, commit_ms: 1s}\n"
			      "retention: {raw_age_s: '1d', raw_bytes: 2GiB}\n"
			      "series: {idle_s: 2w}\n",
			      0, NULL),
			 0);
	assert_int_equal(f->cfg->store.checkpoint_s, 300);
	assert_int_equal(f->cfg->store.commit_ms, 1000);
	assert_int_equal(f->cfg->retention.raw_age_s, 86400);
	assert_true(f->cfg->retention.raw_bytes == UINT64_C(2) << 30);
	assert_int_equal(f->cfg->series.idle_s, 14 * 86400);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(is_complete_without_a_word),
		T(reads_every_key),
		T(flags_stand_in_for_the_files_addresses),
		T(refuses_what_would_be_unsafe_or_wrong),
		T(reads_amounts_with_their_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
