/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/elfsym.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENTS_MAX 4096u
#define SYMBOLS_BYTES_MAX (64u << 20)
#define STRINGS_BYTES_MAX (64u << 20)
#define CHUNK_SYMBOLS 4096u
#define NAMES_MAX 32u

struct elf {
	int fd;
	Elf64_Phdr *segments;
	size_t n_segments;
	Elf64_Shdr *sections;
	size_t n_sections;
	char *strings; /* of the table that is searched */
	size_t strings_len;
};

static int read_at(int fd, void *to, size_t len, uint64_t at)
{
	size_t got = 0;
	ssize_t n;

	if (at > INT64_MAX - len)
		return -EPROTO;
	while (got < len) {
		n = pread(fd, (char *)to + got, len - got, (off_t)(at + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPROTO;
		got += (size_t)n;
	}
	return 0;
}

/* Sets *out to len bytes of the file, released by free(). */
static int load_bytes(int fd, void **out, uint64_t len, uint64_t at)
{
	int err;

	*out = malloc(len ? len : 1);
	if (!*out)
		return -ENOMEM;
	err = read_at(fd, *out, len, at);
	if (err) {
		free(*out);
		*out = NULL;
	}
	return err;
}

static int load_headers(struct elf *e)
{
	Elf64_Ehdr h;
	int err = read_at(e->fd, &h, sizeof(h), 0);

	if (err)
		return err == -EPROTO ? -ENOEXEC : err;
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_ident[EI_DATA] != ELFDATA2LSB)
		return -ENOEXEC;
	if (h.e_phnum > SEGMENTS_MAX)
		return -E2BIG;
	if (h.e_phentsize != sizeof(Elf64_Phdr) || !h.e_phnum)
		return -ENOEXEC;
	e->n_segments = h.e_phnum;
	err = load_bytes(e->fd, (void **)&e->segments,
			 e->n_segments * sizeof(*e->segments), h.e_phoff);
	if (err || !h.e_shnum)
		return err; /* no sections, so no symbols */
	if (h.e_shentsize != sizeof(Elf64_Shdr))
		return -EPROTO;
	e->n_sections = h.e_shnum;
	return load_bytes(e->fd, (void **)&e->sections,
			  e->n_sections * sizeof(*e->sections), h.e_shoff);
}

/* Offset in the file of the code at an address; 0: not in the file. */
static uint64_t file_offset(const struct elf *e, uint64_t address)
{
	for (size_t i = 0; i < e->n_segments; i++) {
		const Elf64_Phdr *p = &e->segments[i];

		if (p->p_type == PT_LOAD && p->p_flags & PF_X &&
		    address >= p->p_vaddr && address - p->p_vaddr < p->p_filesz)
			return address - p->p_vaddr + p->p_offset;
	}
	return 0;
}

static bool is_function(const Elf64_Sym *s)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);

	return (type == STT_FUNC || type == STT_GNU_IFUNC) && s->st_value &&
	       s->st_shndx != SHN_UNDEF;
}

static int match(const struct elf *e, const Elf64_Sym *s,
		 const char *const *names, size_t n, uint64_t *offset)
{
	const char *name = e->strings + s->st_name;

	/* The table ends in a NUL: see walk(). */
	if (s->st_name >= e->strings_len || !is_function(s))
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (offset[i] || strcmp(names[i], name))
			continue;
		offset[i] = file_offset(e, s->st_value);
		return offset[i] != 0;
	}
	return 0;
}

/* Searches one symbol table, a chunk at a time. Returns the number found. */
static int walk(struct elf *e, const Elf64_Shdr *table,
		const char *const *names, size_t n, uint64_t *offset)
{
	uint64_t left = table->sh_size / sizeof(Elf64_Sym), at = 0, i, some;
	const Elf64_Shdr *text;
	Elf64_Sym *chunk;
	int err, found = 0;

	if (table->sh_link >= e->n_sections)
		return -EPROTO;
	text = &e->sections[table->sh_link];
	if (table->sh_size > SYMBOLS_BYTES_MAX ||
	    text->sh_size > STRINGS_BYTES_MAX)
		return -E2BIG;
	if (!text->sh_size)
		return 0;
	err = load_bytes(e->fd, (void **)&e->strings, text->sh_size,
			 text->sh_offset);
	if (err)
		return err;
	e->strings[text->sh_size - 1] = '\0';
	e->strings_len = text->sh_size;
	chunk = calloc(CHUNK_SYMBOLS, sizeof(*chunk));
	if (!chunk)
		err = -ENOMEM;
	for (; !err && left; left -= some, at += some * sizeof(*chunk)) {
		some = left < CHUNK_SYMBOLS ? left : CHUNK_SYMBOLS;
		err = read_at(e->fd, chunk, some * sizeof(*chunk),
			      table->sh_offset + at);
		for (i = 0; !err && i < some; i++)
			found += match(e, &chunk[i], names, n, offset);
	}
	free(chunk);
	free(e->strings);
	e->strings = NULL;
	return err ? err : found;
}

static int walk_all(struct elf *e, const char *const *names, size_t n,
		    uint64_t *offset)
{
	/* Exported symbols first: the other table is larger. */
	static const uint32_t kinds[] = { SHT_DYNSYM, SHT_SYMTAB };
	int got, found = 0;

	for (size_t k = 0; k < 2 && !found; k++) {
		for (size_t i = 0; i < e->n_sections; i++) {
			if (e->sections[i].sh_type != kinds[k])
				continue;
			got = walk(e, &e->sections[i], names, n, offset);
			if (got < 0)
				return got;
			found += got;
		}
	}
	return found;
}

int elfsym_find(int fd, const char *const *names, size_t n, uint64_t *offset)
{
	struct elf e = { .fd = fd };
	int err;

	if (!n || n > NAMES_MAX)
		return -EINVAL;
	memset(offset, 0, n * sizeof(*offset));
	err = load_headers(&e);
	if (!err)
		err = walk_all(&e, names, n, offset);
	free(e.segments);
	free(e.sections);
	return err;
}
