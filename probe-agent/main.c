/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cli.h"

/*
 * Each subcommand is one file. Weak, so that a build without one of them links
 * and does not list it.
 */
int cmd_run(int argc, char **argv) __attribute__((weak));
int cmd_replay(int argc, char **argv) __attribute__((weak));
int cmd_synth(int argc, char **argv) __attribute__((weak));
int cmd_check(int argc, char **argv) __attribute__((weak));
int cmd_program(int argc, char **argv) __attribute__((weak));

int main(int argc, char **argv)
{
	const struct cli_command table[] = {
		{ "run", cmd_run, "Watch this host's HTTP and report it" },
		{ "replay", cmd_replay, "Send stored batches again" },
		{ "synth", cmd_synth, "Send synthetic load, as a fleet would" },
		{ "check", cmd_check, "Report what this host can do" },
		{ "program", cmd_program, "Programs of your own as metrics" },
	};

	return cli_main(table, sizeof(table) / sizeof(*table), argc, argv);
}
