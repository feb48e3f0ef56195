/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/commands/templates.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static const char *pick(const char *const *names, unsigned n, unsigned i)
{
	return i < n ? names[i] : NULL;
}

const char *templates_type_name(unsigned type)
{
	static const char *const names[] = { "network", "file-system" };

	return pick(names, TEMPLATES_TYPES, type);
}

const char *templates_map_name(unsigned map)
{
	static const char *const names[] = { "RingBuffer", "HashMap" };

	return pick(names, TEMPLATES_MAPS, map);
}

static const char *const output_names[] = { "print", "counter", "gauge",
					    "hist" };

const char *templates_output_name(unsigned output)
{
	return pick(output_names, TEMPLATES_OUTPUTS, output);
}

/* --- what differs between the two types --- */

struct kind {
	const char *about, *noun, *members;
	/* A function's head; its context; filling in the key. */
	const char *hook, *when, *fill;
	/* A number of it: for gauges and histograms. */
	const char *number, *number_about;
};

static const struct kind kinds[TEMPLATES_TYPES] = {
	[TEMPLATES_NETWORK] = {
		.about = "Connections that this host opens, by address.",
		.noun = "connects",
		.members = "\tipv4_addr saddr;\n"
			   "\tipv4_addr daddr;\n",
		.hook = "SEC(\"tp_btf/inet_sock_set_state\")\n"
			"int BPF_PROG(state_changed, const struct sock *sk, "
			"int from, int to)\n",
		.when = "\tif (sk->__sk_common.skc_family != 2 || to != "
			"TCP_SYN_SENT)\n"
			"\t\treturn 0; /* 2 is AF_INET */\n",
		.fill = "\tkey.saddr = sk->__sk_common.skc_rcv_saddr;\n"
			"\tkey.daddr = sk->__sk_common.skc_daddr;\n",
		.number = "sk->__sk_common.skc_dport >> 8 | "
			  "(sk->__sk_common.skc_dport & 255) << 8",
		.number_about = "the port",
	},
	[TEMPLATES_FILE_SYSTEM] = {
		.about = "Pages of files that are read into memory, by device "
			 "and process.",
		.noun = "pages",
		.members = "\tchar comm[16];\n"
			   "\t__u32 device;\n",
		.hook = "SEC(\"tp_btf/mm_filemap_add_to_page_cache\")\n"
			"int BPF_PROG(page_added, struct folio *folio)\n",
		.when = "",
		.fill = "\tbpf_get_current_comm(key.comm, sizeof(key.comm));\n"
			"\tkey.device = BPF_CORE_READ(folio, mapping, host, "
			"i_sb, s_dev);\n",
		.number = "BPF_CORE_READ(folio, index)",
		.number_about = "the page's place in its file",
	},
};

/* --- parts --- */

static void put_head(struct buf *out, const struct kind *k)
{
	buf_printf(out,
		   "/* %s */\n"
		   "#include \"vmlinux.h\"\n"
		   "#include <bpf/bpf_helpers.h>\n"
		   "#include <bpf/bpf_core_read.h>\n"
		   "#include <bpf/bpf_tracing.h>\n"
		   "#include \"solo_types.h\"\n"
		   "\n"
		   "char LICENSE[] SEC(\"license\") = \"GPL\";\n"
		   "\n",
		   k->about);
}

/* Its members are the labels. */
static void put_key(struct buf *out, const struct kind *k,
		    enum templates_map map, enum templates_output output)
{
	buf_printf(out,
		   "/* Every member is a label%s. */\nstruct dimensions {\n%s",
		   output == TEMPLATES_HIST && map == TEMPLATES_HASH_MAP
			   ? ", but for the slot"
		   : map == TEMPLATES_RING_BUFFER && output >= TEMPLATES_GAUGE
			   ? ", but for the value"
			   : "",
		   k->members);
	if (output == TEMPLATES_HIST && map == TEMPLATES_HASH_MAP)
		buf_puts(out,
			 "\t__u32 slot; /* slot k: 2^(k-1) to 2^k - 1 */\n");
	else if (map == TEMPLATES_RING_BUFFER && output >= TEMPLATES_GAUGE)
		buf_printf(out, "\t__u64 value; /* %s */\n", k->number_about);
	buf_puts(out, "};\n\n");
}

static void put_map(struct buf *out, const char *name, enum templates_map map)
{
	if (map == TEMPLATES_RING_BUFFER)
		buf_printf(out,
			   "struct {\n"
			   "\t__uint(type, BPF_MAP_TYPE_RINGBUF);\n"
			   "\t__uint(max_entries, 1 << 20); /* bytes */\n"
			   "\t__type(value, struct dimensions);\n"
			   "} %s SEC(\".maps\");\n\n",
			   name);
	else
		buf_printf(out,
			   "struct {\n"
			   "\t__uint(type, BPF_MAP_TYPE_HASH);\n"
			   "\t__uint(max_entries, 8192);\n"
			   "\t__type(key, struct dimensions);\n"
			   "\t__type(value, __u64);\n"
			   "} %s SEC(\".maps\");\n\n",
			   name);
}

static void put_slot(struct buf *out)
{
	buf_puts(out, "static __always_inline __u32 slot_of(__u64 v)\n"
		      "{\n"
		      "\t__u32 slot = 0;\n"
		      "\n"
		      "\tfor (int i = 32; i > 0; i /= 2)\n"
		      "\t\tif (v >> i) {\n"
		      "\t\t\tv >>= i;\n"
		      "\t\t\tslot += i;\n"
		      "\t\t}\n"
		      "\treturn v ? slot + 1 : 0;\n"
		      "}\n\n");
}

/* Counting in a hash: made at 0, then added to by all CPUs at once. */
static void put_count(struct buf *out, const char *name)
{
	buf_printf(out,
		   "\tcount = bpf_map_lookup_elem(&%s, &key);\n"
		   "\tif (!count) {\n"
		   "\t\tbpf_map_update_elem(&%s, &key, &zero, "
		   "BPF_NOEXIST);\n"
		   "\t\tcount = bpf_map_lookup_elem(&%s, &key);\n"
		   "\t}\n"
		   "\tif (count)\n"
		   "\t\t__sync_fetch_and_add(count, 1);\n",
		   name, name, name);
}

static void put_hash_body(struct buf *out, const struct kind *k,
			  const char *name, enum templates_output output)
{
	bool sets = output == TEMPLATES_GAUGE;

	buf_printf(out, "%s{\n\tstruct dimensions key = {};\n", k->hook);
	if (sets)
		buf_puts(out, "\t__u64 value;\n");
	else
		buf_puts(out, "\t__u64 zero = 0, *count;\n");
	buf_printf(out, "\n%s%s", k->when, k->fill);
	if (output == TEMPLATES_HIST)
		buf_printf(out, "\tkey.slot = slot_of(%s);\n", k->number);
	if (sets)
		buf_printf(out,
			   "\tvalue = %s; /* %s */\n"
			   "\tbpf_map_update_elem(&%s, &key, &value, "
			   "BPF_ANY);\n",
			   k->number, k->number_about, name);
	else
		put_count(out, name);
	buf_puts(out, "\treturn 0;\n}\n");
}

static void put_ring_body(struct buf *out, const struct kind *k,
			  const char *name, enum templates_output output)
{
	buf_printf(out, "%s{\n\tstruct dimensions key = {}, *event;\n\n%s%s",
		   k->hook, k->when, k->fill);
	if (output >= TEMPLATES_GAUGE)
		buf_printf(out, "\tkey.value = %s;\n", k->number);
	buf_printf(out,
		   "\tevent = bpf_ringbuf_reserve(&%s, sizeof(*event), 0);\n"
		   "\tif (!event)\n"
		   "\t\treturn 0;\n"
		   "\t*event = key;\n"
		   "\tbpf_ringbuf_submit(event, 0);\n"
		   "\treturn 0;\n}\n",
		   name);
}

int templates_put(struct buf *out, enum templates_type type,
		  enum templates_map map, enum templates_output output)
{
	const struct kind *k = &kinds[type];
	struct buf name = { 0 };
	const char *map_name;

	buf_puts(&name, output_names[output]);
	buf_printf(&name, "_%s", k->noun);
	map_name = buf_str(&name);
	if (!map_name) {
		buf_fini(&name);
		return -ENOMEM;
	}
	put_head(out, k);
	put_key(out, k, map, output);
	put_map(out, map_name, map);
	if (output == TEMPLATES_HIST && map == TEMPLATES_HASH_MAP)
		put_slot(out);
	if (map == TEMPLATES_RING_BUFFER)
		put_ring_body(out, k, map_name, output);
	else
		put_hash_body(out, k, map_name, output);
	buf_fini(&name);
	return out->err;
}
