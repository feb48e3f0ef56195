/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/version.h"

enum {
	KEY_CONFIG_FILE = CLI_KEY,
	KEY_CONFIG_CHECK,
	KEY_LOG_LEVEL,
	KEY_LOG_FORMAT,
	KEY_VERSION,
};

/* Values of the --log flags; log_init() applies them when parsing ends. */
static enum log_level wanted_level = LOG_LEVEL_INFO;
static bool level_said;
static enum log_format wanted_format = LOG_FORMAT_LOGFMT;

static void print_version(FILE *f, const char *program)
{
	fprintf(f, "%s %s (revision %s)\n", program, version_string(),
		version_revision());
}

static error_t parse_log_option(int key, char *arg, struct argp_state *state)
{
	char program[64];

	switch (key) {
	case KEY_LOG_LEVEL:
		if (log_level_parse(arg, &wanted_level))
			argp_error(state,
				   "--log.level: '%s' is none of debug, "
				   "info, warn, error",
				   arg);
		level_said = true;
		break;
	case KEY_LOG_FORMAT:
		if (log_format_parse(arg, &wanted_format))
			argp_error(state,
				   "--log.format: '%s' is neither "
				   "logfmt nor json",
				   arg);
		break;
	case 'h':
		argp_state_help(state, state->out_stream, ARGP_HELP_STD_HELP);
		break;
	case KEY_VERSION:
		snprintf(program, sizeof(program), "%s", state->name);
		program[strcspn(program, " ")] = '\0';
		print_version(state->out_stream, program);
		exit(0);
	case ARGP_KEY_END:
		log_init(wanted_level, wanted_format);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

bool cli_log_level_said(void)
{
	return level_said;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct cli_flags *flags = state->input;

	switch (key) {
	case KEY_CONFIG_FILE:
		flags->config_file = arg;
		return 0;
	case KEY_CONFIG_CHECK:
		flags->config_check = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option log_options[] = {
	{ "log.level", KEY_LOG_LEVEL, "LEVEL", 0,
	  "debug, info (default), warn or error", -2 },
	{ "log.format", KEY_LOG_FORMAT, "FORMAT", 0, "logfmt (default) or json",
	  -2 },
	{ "version", KEY_VERSION, NULL, 0, "Print the version", -1 },
	/* argp adds --help and -? on its own. */
	{ NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1 },
	{ 0 },
};

const struct argp cli_log_argp = {
	.options = log_options,
	.parser = parse_log_option,
};

static const struct argp_option options[] = {
	{ "config.file", KEY_CONFIG_FILE, "FILE", 0,
	  "YAML configuration file; -FILE: if it exists", -2 },
	{ "config.check", KEY_CONFIG_CHECK, NULL, 0,
	  "Check the configuration and exit", -2 },
	{ 0 },
};

static const struct argp_child children[] = {
	{ &cli_log_argp, 0, NULL, 0 },
	{ 0 },
};

const struct argp cli_argp = {
	.options = options,
	.parser = parse_option,
	.children = children,
};

static void print_commands(FILE *f, const char *program,
			   const struct cli_command *table, size_t n)
{
	bool first = true;

	fprintf(f, "Usage: %s [COMMAND] [FLAG...]\n\n", program);
	for (size_t i = 0; i < n; i++) {
		if (!table[i].run)
			continue;
		fprintf(f, "  %-10s %s%s\n", table[i].name, table[i].help,
			first ? " (default)" : "");
		first = false;
	}
	fprintf(f, "  %-10s Print the version\n", "version");
	fprintf(f, "\n%s COMMAND --help shows the flags of a command.\n",
		program);
}

static const struct cli_command *find_command(const struct cli_command *table,
					      size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (table[i].run && (!name || !strcmp(table[i].name, name)))
			return &table[i];
	return NULL;
}

static bool is_help(const char *arg)
{
	return !strcmp(arg, "-h") || !strcmp(arg, "--help") ||
	       !strcmp(arg, "help");
}

int cli_main(const struct cli_command *table, size_t n, int argc, char **argv)
{
	const char *base = argc ? strrchr(argv[0], '/') : NULL;
	const char *program = base ? base + 1 : argc ? argv[0] : "redtap";
	const struct cli_command *command;
	static char name[128];

	if (argc < 1)
		return 2;
	if (argc > 1 && is_help(argv[1])) {
		print_commands(stdout, program, table, n);
		return EXIT_SUCCESS;
	}
	if (argc > 1 &&
	    (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version"))) {
		print_version(stdout, program);
		return EXIT_SUCCESS;
	}
	if (argc > 1 && argv[1][0] != '-') {
		command = find_command(table, n, argv[1]);
		argv++;
		argc--;
	} else {
		command = find_command(table, n, NULL);
	}
	if (!command) {
		fprintf(stderr, "%s: no such command: %s\n", program, argv[0]);
		print_commands(stderr, program, table, n);
		return 2;
	}
	snprintf(name, sizeof(name), "%s %s", program, command->name);
	argv[0] = name;
	return command->run(argc, argv);
}

int cli_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	unsigned long long v;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || v < min || v > max)
		return -EINVAL;
	*out = v;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* Parses a whole number followed by one of the units. */
static int parse_with_unit(const char *text, const struct unit *units, size_t n,
			   uint64_t *out)
{
	unsigned long long v;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		uint64_t product;

		if (strcmp(end, units[i].name))
			continue;
		if (__builtin_mul_overflow((uint64_t)v, units[i].factor,
					   &product))
			return -EINVAL;
		*out = product;
		return 0;
	}
	return -EINVAL;
}

error_t cli_settings_parse(int key, char *arg, struct argp_state *state)
{
	struct cli_settings *s = state->input;

	if (key == ARGP_KEY_INIT) {
		state->child_inputs[0] = &s->cli;
		return 0;
	}
	if (key < CLI_KEY_CONFIG || key >= CLI_KEY_COMMAND)
		return ARGP_ERR_UNKNOWN;
	if (s->n == CLI_SETTINGS_MAX)
		argp_failure(state, 2, 0, "more than %d flags",
			     CLI_SETTINGS_MAX);
	s->set[s->n].key = key;
	s->set[s->n].value = arg;
	s->n++;
	return 0;
}

const struct argp_child cli_settings_children[] = {
	{ &cli_argp, 0, NULL, 0 },
	{ 0 },
};

const char *cli_option_name(const struct argp_option *of, int key)
{
	for (; of->name; of++)
		if (of->key == key)
			return of->name;
	return "?";
}

int cli_parse_duration_ms(const char *text, uint64_t *out)
{
	static const struct unit units[] = {
		{ "", 1000 },	    { "ms", 1 },
		{ "s", 1000 },	    { "m", 60000 },
		{ "h", 3600000 },   { "d", 86400000 },
		{ "w", 604800000 }, { "y", UINT64_C(31536000000) },
	};

	return parse_with_unit(text, units, sizeof(units) / sizeof(*units),
			       out);
}

int cli_parse_bytes(const char *text, uint64_t *out)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "KB", 1000 },
		{ "MB", 1000000 },
		{ "GB", 1000000000 },
		{ "TB", UINT64_C(1000000000000) },
		{ "KiB", 1 << 10 },
		{ "MiB", 1 << 20 },
		{ "GiB", 1 << 30 },
		{ "TiB", UINT64_C(1) << 40 },
	};

	return parse_with_unit(text, units, sizeof(units) / sizeof(*units),
			       out);
}
