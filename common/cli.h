/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CLI_H
#define COMMON_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The parts of a command line that both programs share: the table of
 * subcommands, the flags of every subcommand, and the parsing of amounts. Main
 * thread only.
 */

/* Keys of options without a short form; each argp counts from its own base. */
enum {
	CLI_KEY = 0x100, /* cli_argp */
	CLI_KEY_CONFIG = 0x200, /* the programs' config.c */
	CLI_KEY_COMMAND = 0x300, /* a subcommand's own */
};

struct cli_command {
	const char *name;
	/* NULL: not in this build, and not listed. */
	int (*run)(int argc, char **argv);
	const char *help;
};

/*
 * Runs the subcommand that argv[1] names, else the first of the table, and
 * returns its exit status. argv[0] becomes "program command". -h/--help and
 * --version in place of a subcommand are handled here. Returns 2: no such
 * subcommand.
 */
int cli_main(const struct cli_command *table, size_t n, int argc, char **argv);

/* Filled by cli_argp; strings are borrowed from argv. */
struct cli_flags {
	const char *config_file; /* NULL: none */
	bool config_check;
};

/*
 * --config.file --config.check --log.level --log.format --version, as a child
 * of a subcommand's argp; its input is a struct cli_flags. Sets up the log
 * when parsing ends. --help and errors exit the program, as usual in argp.
 */
extern const struct argp cli_argp;

/*
 * The flags of a subcommand that has a configuration: those of cli_argp, and
 * the settings of the command line in order, which override the file. Filled by
 * an argp of the program with this parser and these children; its keys are at
 * least CLI_KEY_CONFIG and below CLI_KEY_COMMAND.
 */
#define CLI_SETTINGS_MAX 128
struct cli_settings {
	struct cli_flags cli;
	unsigned n;
	struct {
		int key;
		const char *value; /* borrowed from argv */
	} set[CLI_SETTINGS_MAX];
};
error_t cli_settings_parse(int key, char *arg, struct argp_state *state);
extern const struct argp_child cli_settings_children[];

/* Returns the name of the option with a key. "?": none. */
const char *cli_option_name(const struct argp_option *of, int key);

/* Only the log flags and --version: for subcommands without configuration. */
extern const struct argp cli_log_argp;

/* True if --log.level was given: then the file must not change the level. */
bool cli_log_level_said(void);

/* "90s" "15m" "36h" "7d" "250ms", a plain number is seconds. -EINVAL. */
int cli_parse_duration_ms(const char *text, uint64_t *out);
/* "4096" "64KiB" "512MB" "2GiB" (K, M, G, T; KB is 1000). -EINVAL. */
int cli_parse_bytes(const char *text, uint64_t *out);
/* Decimal, within min and max. -EINVAL. */
int cli_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif /* COMMON_CLI_H */
