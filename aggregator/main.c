/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cli.h"

/*
 * Each subcommand is one file. The symbols are weak, so a build that lacks a
 * file still links, and cli_main() does not list that subcommand.
 */
int cmd_serve(int argc, char **argv) __attribute__((weak));
int cmd_rebuild(int argc, char **argv) __attribute__((weak));
int cmd_export(int argc, char **argv) __attribute__((weak));
int cmd_verify(int argc, char **argv) __attribute__((weak));
int cmd_backup(int argc, char **argv) __attribute__((weak));
int cmd_forget(int argc, char **argv) __attribute__((weak));
int cmd_top(int argc, char **argv) __attribute__((weak));
int cmd_query(int argc, char **argv) __attribute__((weak));

int main(int argc, char **argv)
{
	const struct cli_command table[] = {
		{ "serve", cmd_serve,
		  "Receive batches from agents, expose metrics" },
		{ "rebuild", cmd_rebuild,
		  "Recompute metrics from the stored batches" },
		{ "export", cmd_export, "Write stored batches to a file" },
		{ "verify", cmd_verify,
		  "Read a whole store, say what is wrong" },
		{ "backup", cmd_backup,
		  "Copy a store, also while it is used, and verify the copy" },
		{ "forget", cmd_forget, "Forget a node that is gone" },
		{ "top", cmd_top, "Show the busiest services" },
		{ "query", cmd_query,
		  "Show rates, errors and durations over time" },
	};

	return cli_main(table, sizeof(table) / sizeof(*table), argc, argv);
}
