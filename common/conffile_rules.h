/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CONFFILE_RULES_H
#define COMMON_CONFFILE_RULES_H

#include <stddef.h>

#include "common/conffile.h"

/*
 * What a text in a configuration may be: one of some words, or what a function
 * accepts. Messages name the place, the key, the value and what is allowed,
 * for a file as for a flag.
 */
struct conffile_rule {
	/* "capture.mode"; in a list: "select.include.ports"; "-": none. */
	const char *key;
	int flag; /* key of its command-line option; 0: none */
	/* The words, each at the beginning of stride bytes; NULL: see check. */
	const void *words;
	size_t n, stride;
	/* NULL: accepted. Else what is allowed: "a port or a range", static. */
	const char *(*check)(const char *value);
};

/* A rule whose words are an array of strings. */
#define CONFFILE_WORDS(name, flag_key, array)                                  \
	{                                                                      \
		.key = name, .flag = (flag_key), .words = (array),             \
		.n = sizeof(array) / sizeof((array)[0]),                       \
		.stride = sizeof((array)[0])                                   \
	}
#define CONFFILE_CHECK(name, flag_key, function)                               \
	{                                                                      \
		.key = name, .flag = (flag_key), .check = (function)           \
	}

struct conffile_value;

/* Checks one value. -EINVAL: *e says what is wrong, and where. */
int conffile_check_rule(const struct conffile_rule *rule,
			const struct conffile_value *v,
			struct conffile_error *e);
/*
 * Checks every text that has a rule. -EINVAL: one is not allowed; *e says
 * which, where, and what is. -ENOMEM.
 */
int conffile_check_rules(const struct conffile_rule *rules, size_t n,
			 const char *text, size_t len,
			 struct conffile_error *e);
/* The same for the value of a flag; e->what has no key in it. */
int conffile_check_flag_rules(const struct conffile_rule *rules, size_t n,
			      int flag, const char *value,
			      struct conffile_error *e);

/* --- checks that both programs need --- */

/* A glob of fnmatch(): every [ has its ], and no \ is the last character. */
const char *conffile_glob(const char *value);
/* A file that can be read. */
const char *conffile_readable(const char *value);
/* A file of certificates or keys that can be read. */
const char *conffile_pem(const char *value);
/* tcp://HOST:PORT or tls+tcp://HOST:PORT; port 0 is one that is free. */
const char *conffile_url(const char *value);
/* The words of a boolean that the YAML library reads as it is meant. */
const char *conffile_boolean(const char *value);

#endif /* COMMON_CONFFILE_RULES_H */
