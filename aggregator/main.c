/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cli.h"

/*
 * Each subcommand is one file. Weak, so that a build without one of them links
 * and does not list it.
 */
int cmd_serve(int argc, char **argv) __attribute__((weak));
int cmd_rebuild(int argc, char **argv) __attribute__((weak));
int cmd_export(int argc, char **argv) __attribute__((weak));
int cmd_top(int argc, char **argv) __attribute__((weak));
int cmd_query(int argc, char **argv) __attribute__((weak));

int main(int argc, char **argv)
{
	const struct cli_command table[] = {
		{ "serve", cmd_serve, "Count what agents send, expose it" },
		{ "rebuild", cmd_rebuild, "Fold the log again" },
		{ "export", cmd_export, "Write stored batches to a file" },
		{ "top", cmd_top, "Show the busiest services" },
		{ "query", cmd_query, "RED per window from the store" },
	};

	return cli_main(table, sizeof(table) / sizeof(*table), argc, argv);
}
