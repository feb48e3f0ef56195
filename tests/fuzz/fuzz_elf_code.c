/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPF objects that strangers made, as they are read before they are loaded: the
 * code, and what it does to maps.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "probe-agent/worker/elf_code.h"
#include "probe-agent/worker/inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_code(const struct elf_code *c)
{
	for (size_t s = 0; s < c->n_sections; s++)
		for (size_t i = 0; i < c->section[s].n; i++) {
			const struct elf_code_insn *x = &c->section[s].insn[i];

			if (x->refers == ELF_CODE_MAP)
				assert(x->index < c->n_maps);
			else if (x->refers == ELF_CODE_FUNCTION)
				assert(x->index < c->n_functions);
			else if (x->refers == ELF_CODE_EXTERN)
				assert(x->name);
		}
	for (size_t i = 0; i < c->n_functions; i++) {
		const struct elf_code_function *f = &c->function[i];

		assert(f->name && f->section < c->n_sections);
		assert(f->first <= c->section[f->section].n &&
		       f->n <= c->section[f->section].n - f->first);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct inspect_options opt = { .xdp = len % 2 };
	static struct inspect found;
	struct elf_code *c = NULL;
	const char *why = NULL;
	char *copy = malloc(len ? len : 1); /* a byte beyond is an error */
	int err;

	if (!copy)
		abort();
	memcpy(copy, data, len);
	err = elf_code_read(&c, copy, len, &why);
	if (err) {
		assert(why);
	} else {
		check_code(c);
		assert(inspect_code(&found, c, &opt) == 0);
		assert(found.n_maps <= 256);
		elf_code_free(c);
	}
	free(copy);
	return 0;
}
