/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/elfsym.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SEGMENTS_MAX 4096u
#define CHUNK_BYTES 65536u
#define NAME_BYTES_MAX 64u
#define PLACES_MAX 256u

/* Where a name that is looked for stands in the table of strings. */
struct place {
	uint32_t at, name;
};

struct elf {
	int fd;
	const bool *stop;
	uint64_t bytes, deadline_ns;
	Elf64_Phdr *segments;
	size_t n_segments;
	Elf64_Shdr *sections;
	size_t n_sections;
	/* What is looked for. */
	const char *const *names;
	size_t n, len[ELFSYM_NAMES_MAX];
	uint64_t *offset;
	/* Of the table that is searched. */
	struct place place[PLACES_MAX];
	size_t n_places;
	uint8_t chunk[CHUNK_BYTES];
};

/* --- reading, within the limits --- */

static uint64_t cpu_ns(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int check_limits(struct elf *e, size_t len)
{
	if (e->stop && __atomic_load_n(e->stop, __ATOMIC_RELAXED))
		return -ECANCELED;
	e->bytes += len;
	return e->bytes > ELFSYM_BYTES_MAX || cpu_ns() > e->deadline_ns ? -E2BIG
									: 0;
}

static int read_at(struct elf *e, void *to, size_t len, uint64_t at)
{
	size_t got = 0;
	ssize_t n;
	int err = check_limits(e, len);

	if (err)
		return err;
	if (at > INT64_MAX - len)
		return -EPROTO;
	while (got < len) {
		n = pread(e->fd, (char *)to + got, len - got,
			  (off_t)(at + got));
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
static int load_bytes(struct elf *e, void **out, size_t len, uint64_t at)
{
	int err;

	*out = malloc(len ? len : 1);
	if (!*out)
		return -ENOMEM;
	err = read_at(e, *out, len, at);
	if (err) {
		free(*out);
		*out = NULL;
	}
	return err;
}

/* --- headers --- */

static int load_headers(struct elf *e)
{
	Elf64_Ehdr h;
	int err = read_at(e, &h, sizeof(h), 0);

	if (err)
		return err == -EPROTO ? -ENOEXEC : err;
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_ident[EI_DATA] != ELFDATA2LSB)
		return -ENOEXEC;
	if (h.e_phnum > SEGMENTS_MAX || h.e_shnum > ELFSYM_SECTIONS_MAX)
		return -E2BIG;
	if (h.e_phentsize != sizeof(Elf64_Phdr) || !h.e_phnum)
		return -ENOEXEC;
	e->n_segments = h.e_phnum;
	err = load_bytes(e, (void **)&e->segments,
			 e->n_segments * sizeof(*e->segments), h.e_phoff);
	if (err || !h.e_shnum)
		return err; /* no sections, so no symbols */
	if (h.e_shentsize != sizeof(Elf64_Shdr))
		return -EPROTO;
	e->n_sections = h.e_shnum;
	return load_bytes(e, (void **)&e->sections,
			  e->n_sections * sizeof(*e->sections), h.e_shoff);
}

/* Linkers make one table of each kind: the first is taken. */
static const Elf64_Shdr *find_table(const struct elf *e, uint32_t kind)
{
	for (size_t i = 0; i < e->n_sections; i++)
		if (e->sections[i].sh_type == kind)
			return &e->sections[i];
	return NULL;
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

/* --- the strings: where are the names? --- */

/*
 * A string ends at data[end], which is at + end in the table. Linkers let a
 * name be the end of a longer one.
 */
static void note_names(struct elf *e, const uint8_t *data, size_t from,
		       size_t end, uint64_t at)
{
	for (size_t i = 0; i < e->n; i++) {
		size_t len = e->len[i];

		if (len > end - from || data[end - 1] != e->names[i][len - 1] ||
		    memcmp(data + end - len, e->names[i], len) != 0 ||
		    e->n_places == PLACES_MAX)
			continue;
		e->place[e->n_places++] =
			(struct place){ (uint32_t)(at + end - len),
					(uint32_t)i };
	}
}

/* Skips NULs: a sparse file may have any number of them. */
static size_t skip_nuls(const uint8_t *data, size_t from, size_t end)
{
	uint64_t word = 0;

	while (from + sizeof(word) <= end) {
		memcpy(&word, data + from, sizeof(word));
		if (word)
			break;
		from += sizeof(word);
	}
	while (from < end && data[from] == '\0')
		from++;
	return from;
}

/*
 * Reads the strings, len bytes, in chunks. A chunk begins with the last bytes
 * of the one before, so that no name is cut.
 */
static int find_names(struct elf *e, uint64_t len, uint64_t offset)
{
	size_t kept = 0, some;
	int err;

	e->n_places = 0;
	if (len > UINT32_MAX)
		return -E2BIG;
	for (uint64_t at = 0; at < len; at += some) {
		size_t from = 0, end;

		some = len - at < CHUNK_BYTES - kept ? (size_t)(len - at)
						     : CHUNK_BYTES - kept;
		err = read_at(e, e->chunk + kept, some, offset + at);
		if (err)
			return err;
		end = kept + some;
		for (const uint8_t *nul;
		     from < end &&
		     (nul = memchr(e->chunk + from, '\0', end - from));) {
			size_t to = (size_t)(nul - e->chunk);

			if (to > from)
				note_names(e, e->chunk, from, to, at - kept);
			from = skip_nuls(e->chunk, to + 1, end);
		}
		/* A string that is longer than any name needs only its end. */
		kept = end - from < NAME_BYTES_MAX ? end - from
						   : NAME_BYTES_MAX;
		memmove(e->chunk, e->chunk + end - kept, kept);
	}
	return 0;
}

/* --- the symbols: what has such a name? --- */

static bool is_function(const Elf64_Sym *s)
{
	unsigned type = ELF64_ST_TYPE(s->st_info);

	return (type == STT_FUNC || type == STT_GNU_IFUNC) && s->st_value &&
	       s->st_shndx != SHN_UNDEF;
}

static int match(struct elf *e, const Elf64_Sym *s)
{
	for (size_t i = 0; i < e->n_places; i++) {
		uint64_t *offset = &e->offset[e->place[i].name];

		if (e->place[i].at != s->st_name || *offset || !is_function(s))
			continue;
		*offset = file_offset(e, s->st_value);
		return *offset != 0;
	}
	return 0;
}

/* Searches one table of symbols. Returns the number found. */
static int walk(struct elf *e, const Elf64_Shdr *table)
{
	uint64_t left = table->sh_size / sizeof(Elf64_Sym), at = 0, some;
	const uint64_t most = CHUNK_BYTES / sizeof(Elf64_Sym);
	const Elf64_Shdr *text;
	int err, found = 0;

	if (table->sh_link >= e->n_sections)
		return -EPROTO;
	text = &e->sections[table->sh_link];
	err = find_names(e, text->sh_size, text->sh_offset);
	if (err || !e->n_places)
		return err;
	for (; left; left -= some, at += some * sizeof(Elf64_Sym)) {
		some = left < most ? left : most;
		err = read_at(e, e->chunk, some * sizeof(Elf64_Sym),
			      table->sh_offset + at);
		if (err)
			return err;
		for (uint64_t i = 0; i < some; i++) {
			Elf64_Sym s;

			memcpy(&s, e->chunk + i * sizeof(s), sizeof(s));
			found += match(e, &s);
		}
	}
	return found;
}

static int walk_all(struct elf *e)
{
	/* Exported symbols first: the other table is larger. */
	static const uint32_t kinds[] = { SHT_DYNSYM, SHT_SYMTAB };
	int found = 0;

	for (size_t k = 0; k < 2 && !found; k++) {
		const Elf64_Shdr *table = find_table(e, kinds[k]);

		if (table)
			found = walk(e, table);
	}
	return found;
}

int elfsym_find(int fd, const char *const *names, size_t n, uint64_t *offset,
		const bool *stop)
{
	struct elf *e;
	int err;

	if (!n || n > ELFSYM_NAMES_MAX)
		return -EINVAL;
	memset(offset, 0, n * sizeof(*offset));
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->fd = fd;
	e->stop = stop;
	e->names = names;
	e->n = n;
	e->offset = offset;
	e->deadline_ns = cpu_ns() + ELFSYM_CPU_NS_MAX;
	for (size_t i = 0; i < n; i++) {
		e->len[i] = strlen(names[i]);
		assert(e->len[i] > 0 && e->len[i] < NAME_BYTES_MAX);
	}
	err = load_headers(e);
	if (!err)
		err = walk_all(e);
	free(e->segments);
	free(e->sections);
	free(e);
	return err;
}
