/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of tracepoints, as the kernel's format files tell them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probe-agent/commands/build.h"

struct field {
	char type[96], name[64], array[32];
	unsigned offset, size;
};

/* "char comm[16]", "__data_loc char[] name", "unsigned long nr" */
static bool split_declaration(char *text, struct field *f)
{
	char *bracket = strrchr(text, '['), *blank;

	f->array[0] = '\0';
	if (bracket && strrchr(text, ' ') < bracket) {
		snprintf(f->array, sizeof(f->array), "%s", bracket);
		*bracket = '\0';
	}
	blank = strrchr(text, ' ');
	if (!blank)
		return false;
	snprintf(f->name, sizeof(f->name), "%s", blank + 1);
	*blank = '\0';
	if (!strncmp(text, "__data_loc", 10) ||
	    !strncmp(text, "__rel_loc", 9)) {
		char plain[64];

		/* Where its text is, within the record. */
		snprintf(plain, sizeof(plain), "%s", f->name);
		snprintf(f->name, sizeof(f->name), "data_loc_%.50s", plain);
		strcpy(f->type, "unsigned int");
		f->array[0] = '\0';
		return true;
	}
	snprintf(f->type, sizeof(f->type), "%s", text);
	return true;
}

/* "\tfield:TYPE NAME;\toffset:8;\tsize:4;\tsigned:1;" */
static bool parse_field(char *line, struct field *f)
{
	char *from = strstr(line, "field:"), *end, *rest;

	if (!from)
		return false;
	from += strlen("field:");
	end = strchr(from, ';');
	if (!end)
		return false;
	*end = '\0';
	rest = strstr(end + 1, "offset:");
	return rest &&
	       sscanf(rest, "offset:%u; size:%u;", &f->offset, &f->size) == 2 &&
	       split_declaration(from, f);
}

/* Types that C has; others are known by their size alone. */
static const char *type_of(const struct field *f)
{
	static const char *const known[] = {
		"char",
		"signed char",
		"unsigned char",
		"short",
		"unsigned short",
		"int",
		"unsigned int",
		"long",
		"unsigned long",
		"long long",
		"unsigned long long",
		"u8",
		"u16",
		"u32",
		"u64",
		"s8",
		"s16",
		"s32",
		"s64",
		"bool",
		"pid_t",
		"size_t",
		"__u8",
		"__u16",
		"__u32",
		"__u64",
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(f->type, known[i]))
			return f->type;
	if (strchr(f->type, '*'))
		return "void *";
	switch (f->size) {
	case 1:
		return "u8";
	case 2:
		return "u16";
	case 4:
		return "u32";
	case 8:
		return "u64";
	default:
		return NULL;
	}
}

static void put_field(struct buf *out, const struct field *f, unsigned *at)
{
	const char *type = type_of(f);

	if (f->offset > *at)
		buf_printf(out, "char redtap_pad_%u[%u]; ", *at,
			   f->offset - *at);
	if (!type || (f->array[0] && !strcmp(type, "void *")))
		buf_printf(out, "char %s[%u]; ", f->name, f->size);
	else
		buf_printf(out, "%s %s%s; ", type, f->name, f->array);
	*at = f->offset + f->size;
}

static FILE *open_format(const char *category, const char *event)
{
	static const char *const roots[] = { "/sys/kernel/tracing",
					     "/sys/kernel/debug/tracing" };
	char path[256];
	FILE *f = NULL;

	for (size_t i = 0; i < 2 && !f; i++) {
		snprintf(path, sizeof(path), "%s/events/%s/%s/format", roots[i],
			 category, event);
		f = fopen(path, "re");
	}
	return f;
}

int build_put_tracepoint(struct buf *out, const char *struct_name,
			 const char *category, const char *event)
{
	FILE *f = open_format(category, event);
	struct field field;
	unsigned at = 0;
	char line[512];

	if (!f)
		return -ENOENT;
	buf_printf(out, "struct %s { ", struct_name);
	while (fgets(line, sizeof(line), f))
		if (parse_field(line, &field))
			put_field(out, &field, &at);
	buf_puts(out, "};\n");
	fclose(f);
	return out->err;
}
