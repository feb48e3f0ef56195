/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Follows values through the code, to learn which maps lose what is added to
 * them: a value that is loaded from a map, added to and stored again without an
 * atomic instruction; and which maps lose keys. Where it cannot know, it says
 * the worse. Each function is walked with what its callers pass, until nothing
 * new turns up.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bpf.h>

#include "probe-agent/worker/inspect.h"

#define REGISTERS 11
#define FRAME 10 /* the register that holds the frame's end */
#define SLOTS (512 / 8)
#define MAPS_MAX 64 /* more share the last bit */
#define ROUNDS 8
#define TARGETS_MAX 8192 /* of jumps in one function: 30 MB of states */

#define ATOMIC 0xc0 /* mode of BPF_STX */
#define FETCH 0x01

/* What a register or a stack slot may hold; bit n is map n. */
struct value {
	uint64_t map; /* the map itself */
	uint64_t inside; /* a pointer to one of its values */
	uint64_t loaded; /* what was read from one */
	uint64_t changed; /* that, with something added */
	bool frame; /* a pointer into the stack, off bytes from its end */
	int32_t off;
};

struct state {
	bool reached;
	struct value reg[REGISTERS];
	struct value slot[SLOTS];
};

struct function_state {
	struct state entry;
	struct value result;
};

struct flow {
	struct inspect *out;
	const struct elf_code *c;
	struct function_state *function;
	bool changed;
};

/* --- values --- */

static bool join_value(struct value *to, const struct value *from)
{
	struct value was = *to;

	to->map |= from->map;
	to->inside |= from->inside;
	to->loaded |= from->loaded;
	to->changed |= from->changed;
	if (from->frame) {
		to->frame = true;
		to->off = from->off;
	}
	return was.map != to->map || was.inside != to->inside ||
	       was.loaded != to->loaded || was.changed != to->changed ||
	       was.frame != to->frame;
}

static bool join_state(struct state *to, const struct state *from)
{
	bool changed = !to->reached;

	if (changed) {
		*to = *from;
		to->reached = true;
		return true;
	}
	for (unsigned i = 0; i < REGISTERS; i++)
		changed |= join_value(&to->reg[i], &from->reg[i]);
	for (unsigned i = 0; i < SLOTS; i++)
		changed |= join_value(&to->slot[i], &from->slot[i]);
	return changed;
}

static uint64_t bit(uint32_t map)
{
	return UINT64_C(1) << (map < MAPS_MAX ? map : MAPS_MAX - 1);
}

static uint64_t all_maps(const struct flow *f)
{
	return f->c->n_maps == 0	  ? 0
	       : f->c->n_maps >= MAPS_MAX ? UINT64_MAX
					  : bit((uint32_t)f->c->n_maps) - 1;
}

/* The slot at off bytes of a pointer into the stack; NULL: none. */
static struct value *slot_at(struct state *s, const struct value *v, int off)
{
	int at = 512 + v->off + off;

	return v->frame && at >= 0 && at < 512 ? &s->slot[at / 8] : NULL;
}

/* --- findings about maps --- */

enum tells {
	TELLS_DELETES,
	TELLS_RACY,
	TELLS_UPDATES,
};

static void note_map(struct flow *f, uint64_t maps, enum tells what)
{
	for (size_t i = 0; i < f->out->n_maps; i++) {
		struct inspect_map *m = &f->out->map[i];

		if (!(maps & bit((uint32_t)i)))
			continue;
		if (what == TELLS_DELETES)
			m->deletes = true;
		else if (what == TELLS_RACY)
			m->adds_racily = true;
		else
			m->updates = true;
	}
}

/* --- instructions --- */

static void load(struct state *s, const struct elf_code_insn *in)
{
	const struct value from = s->reg[in->src];
	const struct value *slot = slot_at(s, &from, in->off);
	struct value *to = &s->reg[in->dst];

	if (slot)
		*to = *slot;
	else
		*to = (struct value){ .loaded = from.inside };
}

static void store(struct flow *f, struct state *s,
		  const struct elf_code_insn *in, const struct value *from)
{
	const struct value to = s->reg[in->dst];
	struct value *slot = slot_at(s, &to, in->off);

	if (slot)
		*slot = *from;
	if (to.inside & from->changed)
		note_map(f, to.inside & from->changed, TELLS_RACY);
}

static void calculate(struct state *s, const struct elf_code_insn *in)
{
	struct value *to = &s->reg[in->dst];
	struct value from = { 0 };

	if (BPF_SRC(in->code) == BPF_X)
		from = s->reg[in->src];
	switch (BPF_OP(in->code)) {
	case BPF_MOV:
		*to = from;
		return;
	case BPF_ADD:
	case BPF_SUB:
		if (to->frame && BPF_SRC(in->code) == BPF_K)
			to->off += BPF_OP(in->code) == BPF_ADD ? in->imm
							       : -in->imm;
		if (from.frame && !to->frame) {
			to->frame = true;
			to->off = from.off;
		}
		break;
	case BPF_NEG:
	case BPF_END:
		break;
	}
	to->inside |= from.inside;
	to->changed |= to->loaded | from.loaded | from.changed;
	to->loaded |= from.loaded;
}

/* A key or a value at a pointer; maps that it was read and changed from. */
static uint64_t changed_at(struct state *s, const struct value *v)
{
	const struct value *slot = slot_at(s, v, 0);
	uint64_t maps = 0;

	/* Its size is not known here: all of the frame behind it may count. */
	for (; slot && slot < s->slot + SLOTS; slot++)
		maps |= slot->changed;
	return maps;
}

static void call_helper(struct flow *f, struct state *s, uint32_t id)
{
	uint64_t maps = s->reg[1].map;
	struct value result = { 0 };

	if (maps == 0)
		maps = all_maps(f);
	switch (id) {
	case BPF_FUNC_map_lookup_elem:
	case BPF_FUNC_map_lookup_percpu_elem:
	case BPF_FUNC_task_storage_get:
	case BPF_FUNC_sk_storage_get:
	case BPF_FUNC_inode_storage_get:
	case 210: /* cgrp_storage_get */
		result.inside = maps;
		break;
	case BPF_FUNC_map_update_elem:
		note_map(f, maps, TELLS_UPDATES);
		note_map(f, maps & changed_at(s, &s->reg[3]), TELLS_RACY);
		break;
	case BPF_FUNC_map_delete_elem:
	case BPF_FUNC_map_pop_elem:
	case BPF_FUNC_task_storage_delete:
	case BPF_FUNC_sk_storage_delete:
	case BPF_FUNC_inode_storage_delete:
	case 211: /* cgrp_storage_delete */
		note_map(f, maps, TELLS_DELETES);
		break;
	}
	s->reg[0] = result;
}

static void call_function(struct flow *f, struct state *s, uint32_t callee)
{
	struct function_state *to = &f->function[callee];
	struct state entry = { .reached = true };

	for (unsigned i = 1; i <= 5; i++) {
		entry.reg[i] = s->reg[i];
		/* A pointer into the caller's frame is nothing there. */
		entry.reg[i].frame = false;
	}
	entry.reg[FRAME] = (struct value){ .frame = true };
	f->changed |= join_state(&to->entry, &entry);
	s->reg[0] = to->result;
}

static void call(struct flow *f, struct state *s,
		 const struct elf_code_insn *in)
{
	if (in->refers == ELF_CODE_FUNCTION)
		call_function(f, s, in->index);
	else if (in->refers == ELF_CODE_NOTHING && in->src == 0)
		call_helper(f, s, (uint32_t)in->imm);
	else
		s->reg[0] = (struct value){ 0 };
	for (unsigned i = 1; i <= 5; i++)
		s->reg[i] = (struct value){ 0 };
}

static void load_constant(struct state *s, const struct elf_code_insn *in)
{
	s->reg[in->dst] = (struct value){
		.map = in->refers == ELF_CODE_MAP ? bit(in->index) : 0,
	};
}

static void step_over(struct flow *f, struct state *s,
		      const struct elf_code_insn *in)
{
	switch (BPF_CLASS(in->code)) {
	case BPF_LD:
		if (in->code == (BPF_LD | BPF_IMM | BPF_DW))
			load_constant(s, in);
		else
			s->reg[0] = (struct value){ 0 };
		break;
	case BPF_LDX:
		load(s, in);
		break;
	case BPF_ST:
		store(f, s, in, &(struct value){ 0 });
		break;
	case BPF_STX:
		if (BPF_MODE(in->code) != ATOMIC)
			store(f, s, in, &s->reg[in->src]);
		else if (in->imm & FETCH)
			s->reg[in->src] = (struct value){ 0 };
		break;
	case BPF_ALU:
	case BPF_ALU64:
		calculate(s, in);
		break;
	case BPF_JMP:
		if (BPF_OP(in->code) == BPF_CALL)
			call(f, s, in);
		break;
	}
}

/* --- functions --- */

/* A function's walk: states are kept where jumps lead to. */
struct walk {
	const struct elf_code_function *fn;
	const struct elf_code_insn *insn;
	struct function_state *fs;
	uint32_t *target; /* by instruction: number of the state + 1 */
	struct state *state;
	size_t n_states;
	bool again; /* a jump back has brought something new */
};

static bool jumps(const struct elf_code_insn *in)
{
	unsigned class = BPF_CLASS(in->code), op = BPF_OP(in->code);

	return (class == BPF_JMP && op != BPF_CALL && op != BPF_EXIT) ||
	       class == BPF_JMP32;
}

static bool always_jumps(const struct elf_code_insn *in)
{
	return in->code == (BPF_JMP | BPF_JA) ||
	       in->code == (BPF_JMP32 | BPF_JA);
}

/* Where the jump at i leads to; the function's length: outside of it. */
static size_t target_of(const struct walk *w, size_t i)
{
	const struct elf_code_insn *in = &w->insn[i];
	int64_t to = (int64_t)i + 1;

	to += in->code == (BPF_JMP32 | BPF_JA) ? in->imm : in->off;
	return to < 0 || to >= (int64_t)w->fn->n ? w->fn->n : (size_t)to;
}

static size_t width(const struct elf_code_insn *in)
{
	return in->code == (BPF_LD | BPF_IMM | BPF_DW) ? 2 : 1;
}

/* -E2BIG: more jumps than are followed. */
static int find_targets(struct walk *w)
{
	w->target = calloc(w->fn->n + 1, sizeof(*w->target));
	if (!w->target)
		return -ENOMEM;
	for (size_t i = 0; i < w->fn->n; i += width(&w->insn[i])) {
		size_t to = jumps(&w->insn[i]) ? target_of(w, i) : w->fn->n;

		if (!w->target[to])
			w->target[to] = (uint32_t)++w->n_states;
	}
	if (w->n_states > TARGETS_MAX)
		return -E2BIG;
	w->state = calloc(w->n_states + 1, sizeof(*w->state));
	return w->state ? 0 : -ENOMEM;
}

static void walk_once(struct flow *f, struct walk *w)
{
	struct state now = w->fs->entry;

	w->again = false;
	for (size_t i = 0; i < w->fn->n; i += width(&w->insn[i])) {
		const struct elf_code_insn *in = &w->insn[i];

		if (w->target[i]) {
			struct state *s = &w->state[w->target[i] - 1];

			if (now.reached)
				join_state(s, &now);
			now = *s;
		}
		if (!now.reached || in->dst >= REGISTERS ||
		    in->src >= REGISTERS)
			continue;
		step_over(f, &now, in);
		if (in->code == (BPF_JMP | BPF_EXIT)) {
			f->changed |= join_value(&w->fs->result, &now.reg[0]);
			now.reached = false;
		} else if (jumps(in)) {
			size_t to = target_of(w, i);

			if (join_state(&w->state[w->target[to] - 1], &now) &&
			    to <= i)
				w->again = true;
			now.reached = !always_jumps(in);
		}
	}
}

static int walk_function(struct flow *f, size_t number)
{
	const struct elf_code_function *fn = &f->c->function[number];
	struct walk w = {
		.fn = fn,
		.insn = &f->c->section[fn->section].insn[fn->first],
		.fs = &f->function[number],
		.again = true,
	};
	int err = find_targets(&w);

	for (unsigned round = 0; !err && round < ROUNDS && w.again; round++)
		walk_once(f, &w);
	if (err == -E2BIG) {
		note_map(f, UINT64_MAX, TELLS_DELETES);
		note_map(f, UINT64_MAX, TELLS_RACY);
		err = 0;
	}
	free(w.target);
	free(w.state);
	return err;
}

int inspect_flow(struct inspect *out, const struct elf_code *c)
{
	struct flow f = { .out = out, .c = c };
	int err = 0;

	f.function = calloc(c->n_functions + 1, sizeof(*f.function));
	if (!f.function)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_functions; i++) {
		f.function[i].entry.reached = true;
		f.function[i].entry.reg[FRAME].frame = true;
	}
	f.changed = true;
	for (unsigned round = 0; round < ROUNDS && f.changed && !err; round++) {
		f.changed = false;
		for (size_t i = 0; i < c->n_functions && !err; i++)
			err = walk_function(&f, i);
	}
	free(f.function);
	return err;
}
