/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/check_gaps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "probe-agent/gaps/gaps.h"

#define LINES_MAX 200

static void print_left_out(const struct gaps *g, size_t not_printed)
{
	struct gaps_left_out left;

	gaps_left_out(g, &left);
	left.rows += not_printed;
	if (left.processes)
		printf("%-8s %-14s processes=%" PRIu64
		       " that may not be read (CAP_SYS_PTRACE)\n",
		       "note", "not inspected", left.processes);
	if (left.files || left.sockets || left.rows)
		printf("%-8s %-14s over a cap: files=%" PRIu64 " ports=%" PRIu64
		       " lines=%" PRIu64 "\n",
		       "note", "not inspected", left.files, left.sockets,
		       left.rows);
}

static void print_gaps(const struct gaps *g)
{
	const struct gaps_row *row;
	size_t n = gaps_rows(g, &row), shown = n < LINES_MAX ? n : LINES_MAX;

	for (size_t i = 0; i < shown; i++) {
		const struct unseen *why = &unseen_table[row[i].reason];

		printf("%-8s %-14s %s %s %u (pid %u): %s; %s\n", "note",
		       why->key, row[i].service,
		       row[i].role == ROLE_SERVER ? "port" : "client of port",
		       row[i].port, row[i].pid, why->what, why->advice);
	}
	if (!n)
		printf("%-8s %-14s no service with a reason that /proc shows\n",
		       "ok", "services");
	print_left_out(g, n - shown);
}

static int find_gaps(const struct agent_config *cfg, const char *front,
		     struct gaps **out)
{
	const struct identity_options io = {
		.node = cfg->node,
		.rules = cfg->services,
		.n_rules = cfg->services_count,
		.use_labels = cfg->names.labels,
		.use_scripts = cfg->names.scripts,
		.cards = { .root = cfg->names.root,
			   .labels = cfg->names.container_labels,
			   .n_labels = cfg->names.container_labels_count },
	};
	struct gaps_options opt = {
		.front = front,
		.tls_off = !strcmp(cfg->capture.tls, "off"),
	};
	struct filter_rules *filter = NULL;
	struct identity_table *identity;
	int err = identity_new(&identity, &io);

	if (err)
		return err;
	err = filter_new(&filter, &cfg->select);
	if (!err) {
		opt.filter = filter;
		opt.identity = identity;
		err = gaps_find(out, &opt);
	}
	filter_free(filter);
	identity_free(identity);
	return err;
}

void check_gaps(const struct agent_config *cfg, const char *front)
{
	struct gaps *g;
	int err = find_gaps(cfg, front, &g);

	if (err) {
		printf("%-8s %-14s %s\n", "note", "services", strerror(-err));
		return;
	}
	print_gaps(g);
	gaps_free(g);
}
