/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PROBE_AGENT_TLS_ELF_IMAGE_H
#define TESTS_UNIT_PROBE_AGENT_TLS_ELF_IMAGE_H

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/buf.h"

/*
 * Makes small ELF files: one segment of code, and a table of symbols with its
 * strings.
 *
 *	0 header | 64 segment | 120 sections | strings | symbols | code …
 */
struct elf_image {
	Elf64_Ehdr head;
	Elf64_Phdr segment;
	Elf64_Shdr section[3]; /* 0: none, 1: strings, 2: symbols */
	struct buf strings, symbols;
};

#define ELF_IMAGE_CODE_AT 0x10000u /* address of the code */
#define ELF_IMAGE_CODE_OFFSET 0x8000u /* in the file */

static inline void elf_image_init(struct elf_image *m, uint32_t kind)
{
	*m = (struct elf_image){
		.head = { .e_type = ET_DYN,
			  .e_machine = EM_X86_64,
			  .e_version = 1,
			  .e_phoff = 64,
			  .e_shoff = 120,
			  .e_ehsize = 64,
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = 1,
			  .e_shentsize = sizeof(Elf64_Shdr),
			  .e_shnum = 3 },
		.segment = { .p_type = PT_LOAD,
			     .p_flags = PF_R | PF_X,
			     .p_offset = ELF_IMAGE_CODE_OFFSET,
			     .p_vaddr = ELF_IMAGE_CODE_AT,
			     .p_filesz = 0x1000,
			     .p_memsz = 0x1000 },
		.section = { { 0 },
			     { .sh_type = SHT_STRTAB },
			     { .sh_type = kind, .sh_link = 1 } },
	};
	memcpy(m->head.e_ident, ELFMAG, SELFMAG);
	m->head.e_ident[EI_CLASS] = ELFCLASS64;
	m->head.e_ident[EI_DATA] = ELFDATA2LSB;
	m->head.e_ident[EI_VERSION] = 1;
	buf_append(&m->strings, "", 1);
	buf_append(&m->symbols, &(Elf64_Sym){ 0 }, sizeof(Elf64_Sym));
}

/* Adds a symbol whose name is at that place in the strings. */
static inline void elf_image_symbol(struct elf_image *m, uint32_t name,
				    uint64_t address, unsigned type)
{
	Elf64_Sym s = { .st_name = name,
			.st_info =
				(unsigned char)ELF64_ST_INFO(STB_GLOBAL, type),
			.st_shndx = 1,
			.st_value = address };

	buf_append(&m->symbols, &s, sizeof(s));
}

/* Adds a string, returns its place. */
static inline uint32_t elf_image_string(struct elf_image *m, const char *text)
{
	uint32_t at = (uint32_t)m->strings.len;

	buf_append(&m->strings, text, strlen(text) + 1);
	return at;
}

static inline void elf_image_function(struct elf_image *m, const char *name,
				      uint64_t offset)
{
	elf_image_symbol(m, elf_image_string(m, name),
			 ELF_IMAGE_CODE_AT + offset, STT_FUNC);
}

/* Appends the file to out, and empties the image. */
static inline void elf_image_write(struct elf_image *m, struct buf *out)
{
	m->section[1].sh_offset = 120 + sizeof(m->section);
	m->section[1].sh_size = m->strings.len;
	m->section[2].sh_offset = m->section[1].sh_offset + m->strings.len;
	m->section[2].sh_size = m->symbols.len;
	buf_append(out, &m->head, sizeof(m->head));
	buf_append(out, &m->segment, sizeof(m->segment));
	buf_append(out, m->section, sizeof(m->section));
	buf_append(out, m->strings.data, m->strings.len);
	buf_append(out, m->symbols.data, m->symbols.len);
	buf_fini(&m->strings);
	buf_fini(&m->symbols);
}

/* A file in memory with these bytes; the caller closes it. */
static inline int elf_image_file(const void *data, size_t len)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	return fd;
}

#endif /* TESTS_UNIT_PROBE_AGENT_TLS_ELF_IMAGE_H */
