/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/worker/elf_code.h"

#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bpf.h>

#define MACHINE_BPF 247
#define SECTIONS_MAX 1024u
#define SYMBOLS_MAX 65536u
#define FUNCTIONS_MAX 4096u
#define MAPS_MAX 256u
#define INSNS_MAX (1u << 20) /* the kernel takes no more */

struct owner {
	Elf *elf;
	Elf_Data *symbols;
	size_t n_symbols, names; /* names: section of the symbols' names */
	/* By number of an ELF section: index in elf_code.section, + 1. */
	uint32_t *code_section;
	size_t n_elf_sections;
	size_t maps_section; /* 0: none */
	size_t map_symbol[MAPS_MAX]; /* by index of elf_code.map */
};

static void *more(void *list, size_t *n, size_t size)
{
	char *p = realloc(list, (*n + 1) * size);

	if (p)
		memset(p + (*n)++ * size, 0, size);
	return p;
}

static bool symbol_at(struct owner *o, size_t i, GElf_Sym *out,
		      const char **name)
{
	if (i >= o->n_symbols || !gelf_getsym(o->symbols, (int)i, out))
		return false;
	*name = elf_strptr(o->elf, o->names, out->st_name);
	return *name;
}

/* --- sections --- */

static bool is_maps(const char *name)
{
	return !strcmp(name, ".maps");
}

/* "maps" of old libbpf, and ".maps.counter" of old BumbleBee. */
static bool is_old_maps(const char *name)
{
	return !strcmp(name, "maps") || !strncmp(name, "maps/", 5) ||
	       !strncmp(name, ".maps.", 6);
}

static int add_section(struct elf_code *c, const char *name, Elf_Scn *scn,
		       const GElf_Shdr *sh, const char **why)
{
	struct elf_code_section *s;
	Elf_Data *data = elf_getdata(scn, NULL);
	struct owner *o = c->owner;
	const struct bpf_insn *raw;

	*why = "its code is not whole";
	if (!data || !data->d_buf || data->d_size != sh->sh_size ||
	    data->d_size % sizeof(*raw) ||
	    data->d_size / sizeof(*raw) > INSNS_MAX)
		return -EINVAL;
	s = more(c->section, &c->n_sections, sizeof(*s));
	if (!s)
		return -ENOMEM;
	c->section = s;
	s += c->n_sections - 1;
	o->code_section[elf_ndxscn(scn)] = (uint32_t)c->n_sections;
	s->name = name;
	s->n = data->d_size / sizeof(*raw);
	s->insn = calloc(s->n + 1, sizeof(*s->insn));
	if (!s->insn)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++) {
		struct bpf_insn in;

		memcpy(&in, (const char *)data->d_buf + i * sizeof(in),
		       sizeof(in));
		s->insn[i] = (struct elf_code_insn){
			.code = in.code,
			.dst = in.dst_reg,
			.src = in.src_reg,
			.off = in.off,
			.imm = in.imm,
		};
	}
	return 0;
}

static int take_symbols(struct owner *o, Elf_Scn *scn, const GElf_Shdr *sh,
			const char **why)
{
	*why = "its symbols are not whole";
	o->symbols = elf_getdata(scn, NULL);
	if (!o->symbols || sh->sh_entsize == 0)
		return -EINVAL;
	o->n_symbols = sh->sh_size / sh->sh_entsize;
	o->names = sh->sh_link;
	return o->n_symbols > SYMBOLS_MAX ? -EINVAL : 0;
}

static int take_note(struct elf_code *c, Elf_Scn *scn)
{
	Elf_Data *data = elf_getdata(scn, NULL);

	if (!data || !data->d_buf || c->note)
		return 0;
	c->note = strndup(data->d_buf, data->d_size);
	return c->note ? 0 : -ENOMEM;
}

static int read_sections(struct elf_code *c, const char **why)
{
	struct owner *o = c->owner;
	size_t names;
	Elf_Scn *scn = NULL;
	int err = 0;

	*why = "it has no sections";
	if (elf_getshdrstrndx(o->elf, &names) ||
	    elf_getshdrnum(o->elf, &o->n_elf_sections) ||
	    o->n_elf_sections > SECTIONS_MAX)
		return -EINVAL;
	o->code_section =
		calloc(o->n_elf_sections + 1, sizeof(*o->code_section));
	if (!o->code_section)
		return -ENOMEM;
	while (!err && (scn = elf_nextscn(o->elf, scn))) {
		GElf_Shdr sh;
		const char *name;

		*why = "a section has no name";
		if (!gelf_getshdr(scn, &sh))
			return -EINVAL;
		name = elf_strptr(o->elf, names, sh.sh_name);
		if (!name)
			return -EINVAL;
		if (sh.sh_type == SHT_SYMTAB)
			err = take_symbols(o, scn, &sh, why);
		else if (sh.sh_type == SHT_PROGBITS &&
			 (sh.sh_flags & SHF_EXECINSTR) && sh.sh_size > 0)
			err = add_section(c, name, scn, &sh, why);
		else if (!strcmp(name, "redtap"))
			err = take_note(c, scn);
		else if (is_maps(name))
			o->maps_section = elf_ndxscn(scn);
		else if (is_old_maps(name))
			c->old_section = name;
	}
	*why = "it has no symbols";
	return !err && !o->symbols ? -EINVAL : err;
}

/* --- functions and maps --- */

static int add_function(struct elf_code *c, const GElf_Sym *sym,
			const char *name)
{
	struct owner *o = c->owner;
	struct elf_code_function *f;
	uint32_t section = o->code_section[sym->st_shndx];
	size_t size = sizeof(struct bpf_insn);

	if (section == 0)
		return 0;
	section--;
	if (c->n_functions == FUNCTIONS_MAX || sym->st_value % size ||
	    sym->st_size % size ||
	    sym->st_value / size > c->section[section].n ||
	    sym->st_size / size > c->section[section].n - sym->st_value / size)
		return -EINVAL;
	f = more(c->function, &c->n_functions, sizeof(*f));
	if (!f)
		return -ENOMEM;
	c->function = f;
	f += c->n_functions - 1;
	f->name = name;
	f->section = section;
	f->first = sym->st_value / size;
	f->n = sym->st_size / size;
	f->global = GELF_ST_BIND(sym->st_info) == STB_GLOBAL;
	return 0;
}

static int add_map(struct elf_code *c, size_t symbol, const char *name)
{
	struct owner *o = c->owner;
	const char **map;

	if (c->n_maps == MAPS_MAX)
		return -EINVAL;
	map = more(c->map, &c->n_maps, sizeof(*map));
	if (!map)
		return -ENOMEM;
	c->map = map;
	map[c->n_maps - 1] = name;
	o->map_symbol[c->n_maps - 1] = symbol;
	return 0;
}

static int read_symbols(struct elf_code *c, const char **why)
{
	struct owner *o = c->owner;
	int err = 0;

	for (size_t i = 0; i < o->n_symbols && !err; i++) {
		GElf_Sym sym;
		const char *name;

		*why = "a symbol makes no sense";
		if (!symbol_at(o, i, &sym, &name))
			return -EINVAL;
		if (sym.st_shndx >= o->n_elf_sections)
			continue; /* absolute, or undefined elsewhere */
		if (GELF_ST_TYPE(sym.st_info) == STT_FUNC)
			err = add_function(c, &sym, name);
		else if (o->maps_section && sym.st_shndx == o->maps_section &&
			 GELF_ST_TYPE(sym.st_info) == STT_OBJECT)
			err = add_map(c, i, name);
	}
	return err;
}

/* --- relocations --- */

static bool function_at(const struct elf_code *c, uint32_t section, size_t insn,
			uint32_t *out)
{
	for (size_t i = 0; i < c->n_functions; i++)
		if (c->function[i].section == section &&
		    c->function[i].first == insn) {
			*out = (uint32_t)i;
			return true;
		}
	return false;
}

/* A call counts instructions behind a symbol or itself; an address, bytes. */
static void refer_to_code(struct elf_code *c, struct elf_code_insn *in,
			  uint32_t section, uint64_t value)
{
	const int64_t size = sizeof(struct bpf_insn);
	int64_t at = (int64_t)value / size + in->imm + 1;

	if (in->code != (BPF_JMP | BPF_CALL))
		at = ((int64_t)value + in->imm) / size;
	in->refers = at >= 0 && function_at(c, section, (size_t)at, &in->index)
			     ? ELF_CODE_FUNCTION
			     : ELF_CODE_DATA;
}

static void resolve(struct elf_code *c, struct elf_code_insn *in,
		    const GElf_Sym *sym, size_t number, const char *name)
{
	struct owner *o = c->owner;

	if (sym->st_shndx == SHN_UNDEF) {
		in->refers = ELF_CODE_EXTERN;
		in->name = name;
		return;
	}
	in->refers = ELF_CODE_DATA;
	if (sym->st_shndx >= o->n_elf_sections)
		return;
	if (o->code_section[sym->st_shndx]) {
		/* A function's own symbol: the call adds nothing to it. */
		struct elf_code_insn plain = *in;

		if (GELF_ST_TYPE(sym->st_info) == STT_FUNC &&
		    in->code == (BPF_JMP | BPF_CALL))
			plain.imm = -1;
		refer_to_code(c, &plain, o->code_section[sym->st_shndx] - 1,
			      sym->st_value);
		in->refers = plain.refers;
		in->index = plain.index;
		return;
	}
	for (size_t i = 0; i < c->n_maps; i++)
		if (o->map_symbol[i] == number) {
			in->refers = ELF_CODE_MAP;
			in->index = (uint32_t)i;
		}
}

static int relocate(struct elf_code *c, struct elf_code_section *s,
		    Elf_Data *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		GElf_Rel rel;
		GElf_Sym sym;
		const char *name;
		size_t at, number;

		if (!gelf_getrel(data, (int)i, &rel))
			return -EINVAL;
		at = rel.r_offset / sizeof(struct bpf_insn);
		number = GELF_R_SYM(rel.r_info);
		if (at >= s->n || !symbol_at(c->owner, number, &sym, &name))
			return -EINVAL;
		resolve(c, &s->insn[at], &sym, number, name);
	}
	return 0;
}

static int read_relocations(struct elf_code *c, const char **why)
{
	struct owner *o = c->owner;
	Elf_Scn *scn = NULL;
	int err = 0;

	while (!err && (scn = elf_nextscn(o->elf, scn))) {
		Elf_Data *data;
		GElf_Shdr sh;

		*why = "a relocation makes no sense";
		if (!gelf_getshdr(scn, &sh) || sh.sh_type != SHT_REL ||
		    sh.sh_info >= o->n_elf_sections ||
		    !o->code_section[sh.sh_info])
			continue;
		data = elf_getdata(scn, NULL);
		if (!data || sh.sh_entsize == 0)
			return -EINVAL;
		err = relocate(c, &c->section[o->code_section[sh.sh_info] - 1],
			       data, sh.sh_size / sh.sh_entsize);
	}
	return err;
}

/* Calls within a section have no relocation. */
static void link_local_calls(struct elf_code *c)
{
	for (size_t s = 0; s < c->n_sections; s++)
		for (size_t i = 0; i < c->section[s].n; i++) {
			struct elf_code_insn *in = &c->section[s].insn[i];

			if (in->code == (BPF_JMP | BPF_CALL) &&
			    in->src == BPF_PSEUDO_CALL &&
			    in->refers == ELF_CODE_NOTHING)
				refer_to_code(c, in, (uint32_t)s,
					      i * sizeof(struct bpf_insn));
		}
}

int elf_code_read(struct elf_code **out, const void *data, size_t len,
		  const char **why)
{
	struct elf_code *c = calloc(1, sizeof(*c));
	struct owner *o = calloc(1, sizeof(*o));
	GElf_Ehdr eh;
	void *bytes;
	int err = 0;

	if (!c || !o) {
		free(c);
		free(o);
		return -ENOMEM;
	}
	c->owner = o;
	elf_version(EV_CURRENT);
	memcpy(&bytes, &data, sizeof(bytes)); /* libelf only reads it */
	*why = "it is no ELF file";
	o->elf = elf_memory(bytes, len);
	if (!o->elf || elf_kind(o->elf) != ELF_K_ELF ||
	    !gelf_getehdr(o->elf, &eh))
		err = -EINVAL;
	else if (eh.e_machine != MACHINE_BPF || eh.e_type != ET_REL ||
		 eh.e_ident[EI_CLASS] != ELFCLASS64) {
		*why = "it is no BPF object";
		err = -EINVAL;
	}
	if (!err)
		err = read_sections(c, why);
	if (!err)
		err = read_symbols(c, why);
	if (!err)
		err = read_relocations(c, why);
	if (err) {
		elf_code_free(c);
		return err;
	}
	link_local_calls(c);
	*out = c;
	return 0;
}

void elf_code_free(struct elf_code *c)
{
	struct owner *o;

	if (!c)
		return;
	o = c->owner;
	for (size_t i = 0; i < c->n_sections; i++)
		free(c->section[i].insn);
	free(c->section);
	free(c->function);
	free(c->map);
	free(c->note);
	elf_end(o->elf);
	free(o->code_section);
	free(o);
	free(c);
}
