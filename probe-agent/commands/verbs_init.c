/* SPDX-License-Identifier: Apache-2.0 */
/* `program init`: asks a few questions, and writes a program to start from. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe-agent/commands/templates.h"
#include "probe-agent/commands/verbs.h"

#define UNSAID (-1)

enum {
	KEY_TYPE = 0x300,
	KEY_FORCE,
};

struct init_args {
	const char *file;
	int language, type, map, output;
	bool force;
};

typedef const char *(*name_fn)(unsigned i);

static const char *language_name(unsigned i)
{
	return i == 0 ? "C" : NULL;
}

static const struct argp_option options[] = {
	{ "language", 'l', "C", 0, "Language of the program", 0 },
	{ "program-type", KEY_TYPE, "network|file-system", 0,
	  "What it looks at", 0 },
	{ "map", 'm', "RingBuffer|HashMap", 0, "How it hands data over", 0 },
	{ "output", 'o', "print|counter|gauge|hist", 0,
	  "What becomes of the data", 0 },
	{ "file", 'f', "FILE", 0, "Where to write it (program.c)", 0 },
	{ "force", KEY_FORCE, NULL, 0, "Overwrite the file", 0 },
	{ 0 },
};

/* The choice of that name, in any case; or UNSAID. */
static int choice(name_fn name, const char *text)
{
	for (unsigned i = 0; name(i); i++)
		if (!strcasecmp(name(i), text))
			return (int)i;
	return UNSAID;
}

static void take_choice(struct argp_state *state, int *to, name_fn name,
			char *arg)
{
	*to = choice(name, arg);
	if (*to == UNSAID)
		argp_error(state, "'%s' is none of the choices", arg);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct init_args *a = state->input;

	switch (key) {
	case 'l':
		take_choice(state, &a->language, language_name, arg);
		return 0;
	case KEY_TYPE:
		take_choice(state, &a->type, templates_type_name, arg);
		return 0;
	case 'm':
		take_choice(state, &a->map, templates_map_name, arg);
		return 0;
	case 'o':
		take_choice(state, &a->output, templates_output_name, arg);
		return 0;
	case KEY_FORCE:
		a->force = true;
		return 0;
	case 'f':
	case ARGP_KEY_ARG:
		a->file = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Asks until there is an answer; no answer at all is the first choice. */
static int ask_choice(const char *question, name_fn name)
{
	char line[128];

	for (;;) {
		printf("%s\n", question);
		for (unsigned i = 0; name(i); i++)
			printf("  %u) %s\n", i + 1, name(i));
		printf("[1] ");
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		line[strcspn(line, "\n")] = '\0';
		if (!line[0])
			return 0;
		for (unsigned i = 0; name(i); i++)
			if (atoi(line) == (int)i + 1)
				return (int)i;
		if (choice(name, line) != UNSAID)
			return choice(name, line);
	}
}

static void ask_for(int *to, const char *question, name_fn name)
{
	if (*to == UNSAID)
		*to = ask_choice(question, name);
}

int verbs_init(int argc, char **argv)
{
	const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[FILE]",
		.doc = "Writes a program to start from. What flags do not say "
		       "is asked.",
	};
	struct init_args a = { NULL, UNSAID, UNSAID, UNSAID, UNSAID, false };
	struct buf text = { 0 };
	FILE *f;
	int err;

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &a);
	ask_for(&a.language, "What language do you wish to use?",
		language_name);
	ask_for(&a.type, "What type of program to initialize?",
		templates_type_name);
	ask_for(&a.map, "What type of map should it be?", templates_map_name);
	ask_for(&a.output, "What type of output would you like from your map?",
		templates_output_name);
	if (!a.file)
		a.file = "program.c";
	err = templates_put(&text, (enum templates_type)a.type,
			    (enum templates_map)a.map,
			    (enum templates_output)a.output);
	f = err ? NULL : fopen(a.file, a.force ? "we" : "wxe");
	if (!f) {
		fprintf(stderr, "%s: %s\n", a.file,
			strerror(err ? -err : errno));
		buf_fini(&text);
		return 1;
	}
	fwrite(text.data, 1, text.len, f);
	err = fclose(f);
	buf_fini(&text);
	if (err)
		return 1;
	printf("wrote %s; now: redtap-agent program run %s\n", a.file, a.file);
	return 0;
}
