/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_WORKER_ELF_CODE_H
#define PROBE_AGENT_WORKER_ELF_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The instructions of a BPF object file as the compiler left them: sections of
 * code with their functions, and what each relocation refers to. Reads a file
 * that a stranger made: every offset is checked. Not locked; one owner.
 */

/* What an instruction's relocation refers to. */
enum elf_code_refers {
	ELF_CODE_NOTHING,
	ELF_CODE_MAP, /* index of elf_code.map */
	ELF_CODE_DATA, /* a variable, or a map that is none of ours */
	ELF_CODE_FUNCTION, /* index of elf_code.function */
	ELF_CODE_EXTERN, /* a kernel's function or variable: name */
};

struct elf_code_insn {
	uint8_t code, dst, src;
	int16_t off;
	int32_t imm;
	enum elf_code_refers refers;
	uint32_t index;
	const char *name; /* of ELF_CODE_EXTERN */
};

struct elf_code_section {
	const char *name; /* "tp_btf/sched_switch", ".text" */
	struct elf_code_insn *insn;
	size_t n;
};

struct elf_code_function {
	const char *name;
	uint32_t section; /* index */
	size_t first, n; /* instructions */
	bool global; /* the loader takes those of other sections than .text */
};

struct elf_code {
	struct elf_code_section *section;
	struct elf_code_function *function;
	const char **map; /* names */
	size_t n_sections, n_functions, n_maps;
	const char *old_section; /* a map section that libbpf refuses; NULL */
	char *note; /* text of section "redtap"; NULL: none */
	void *owner; /* of the file and its strings */
};

/*
 * Sets *out, released by elf_code_free(). -EINVAL: *why says what is wrong with
 * it (static); -ENOMEM. The bytes are borrowed for its life.
 */
int elf_code_read(struct elf_code **out, const void *data, size_t len,
		  const char **why);
void elf_code_free(struct elf_code *c); /* NULL is fine */

#endif /* PROBE_AGENT_WORKER_ELF_CODE_H */
