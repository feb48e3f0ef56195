/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/check_name.h"

#include <errno.h>
#include <stdio.h>

#include "common/clock.h"
#include "probe-agent/identity/process.h"

static void print_step(void *arg, const char *step, const char *value,
		       const char *whence, bool taken)
{
	(void)arg;
	printf("%-2s %-12s %s%s%s%s\n", taken ? "->" : "", step,
	       *value ? value : "-", *whence ? " (" : "", whence,
	       *whence ? ")" : "");
}

/* The rule that names the process whatever its port. NULL: none. */
static const struct identity_rule *find_rule(const struct agent_config *cfg,
					     const struct process *p)
{
	for (unsigned i = 0; i < cfg->services_count; i++) {
		const struct identity_rule *r = &cfg->services[i];

		if (!identity_rule_matches(r, p))
			continue;
		if (!r->port)
			return r;
		printf("note: on port %u a rule calls it %s\n", r->port,
		       r->service);
	}
	return NULL;
}

static void print_process(uint32_t pid, const struct process *p,
			  const struct card *card)
{
	static const struct {
		enum card_field field;
		const char *name;
	} shown[] = {
		{ CARD_NAME, "name" },
		{ CARD_IMAGE, "image" },
		{ CARD_K8S_NAMESPACE, "namespace" },
		{ CARD_POD, "pod" },
		{ CARD_POD_UID, "pod uid" },
		{ CARD_LABELS, "labels" },
	};

	printf("process      %u %s\n", pid, *p->path ? p->path : p->executable);
	if (p->place.unit[0])
		printf("unit         %s.service\n", p->place.unit);
	if (!p->place.container[0])
		return;
	printf("container    %s (%s)\n", p->place.container,
	       cgroup_runtime_name(p->place.runtime));
	for (size_t i = 0; card && i < sizeof(shown) / sizeof(*shown); i++)
		if (card->text[shown[i].field])
			printf("  %-10s %s\n", shown[i].name,
			       card->text[shown[i].field]);
	printf("  %-10s %s\n", "told by",
	       card && card->source[0] ? card->source
				       : "no file of a known runtime");
}

static void print_names(const struct agent_config *cfg, const struct process *p,
			const struct card *card)
{
	const struct identity_rule *rule = find_rule(cfg, p);
	struct naming_facts facts = {
		.rule_service = rule ? rule->service : NULL,
		.rule_namespace = rule ? rule->namespace_ : NULL,
		.card = card,
		.node = cfg->node,
		.use_labels = cfg->names.labels,
		.now_s = clock_real_us() / 1000000,
	};
	struct naming name;

	process_facts(p, &facts);
	puts("");
	naming_decide(&name, &facts, print_step, NULL);
	printf("\nservice      %s\nnamespace    %s\ninstance     %s\n",
	       name.service, *name.namespace_ ? name.namespace_ : "-",
	       name.instance);
	if (!cfg->names.scripts && !p->script)
		puts("note: names: {scripts: true} would look at what an "
		     "interpreter runs");
}

int check_name(const struct agent_config *cfg, uint32_t pid)
{
	const struct card_options opt = {
		.root = cfg->names.root,
		.labels = cfg->names.container_labels,
		.n_labels = cfg->names.container_labels_count,
	};
	const struct card *card = NULL;
	struct card_table *cards;
	struct process p;
	int err = card_new(&cards, &opt);

	if (err)
		return err;
	err = process_read(&p, "/proc", pid, 0, "", cfg->names.scripts);
	if (!err && p.gone) {
		printf("there is no process %u\n", pid);
		err = -ENOENT;
	}
	if (!err) {
		if (p.place.container[0])
			card = card_get(cards, &p.place);
		print_process(pid, &p, card);
		print_names(cfg, &p, card);
	}
	process_fini(&p);
	card_free(cards);
	return err;
}
