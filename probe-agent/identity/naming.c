/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/naming.h"

#include <stdio.h>
#include <string.h>

#include "probe-agent/identity/workload.h"

#define SHORT_ID_LEN 12

/* What a step says. */
struct answer {
	char value[NAMING_LEN + 1];
	char whence[160];
};

static const char *card_text(const struct naming_facts *f,
			     enum card_field field)
{
	return f->card && f->card->text[field] ? f->card->text[field] : "";
}

static bool is_set(const char *value)
{
	return value && *value && strncmp(value, "$(", 2) != 0;
}

static void say(struct answer *a, const char *value, const char *whence)
{
	if (is_set(value) && !a->value[0]) {
		snprintf(a->value, sizeof(a->value), "%s", value);
		snprintf(a->whence, sizeof(a->whence), "%s", whence);
	}
}

/* --- the steps --- */

static void from_rule(const struct naming_facts *f, struct answer *a)
{
	say(a, f->rule_service, "services: of the configuration");
}

static void from_environment(const struct naming_facts *f, struct answer *a)
{
	say(a, f->env_service, "OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES");
}

static void from_annotation(const struct naming_facts *f, struct answer *a)
{
	say(a, card_text(f, CARD_OTEL_SERVICE),
	    "resource.opentelemetry.io/service.name");
}

static void from_labels(const struct naming_facts *f, struct answer *a)
{
	if (!f->use_labels) {
		snprintf(a->whence, sizeof(a->whence),
			 "not asked for (names: {labels: true})");
		return;
	}
	say(a, card_text(f, CARD_APP_INSTANCE), "app.kubernetes.io/instance");
	say(a, card_text(f, CARD_APP_NAME), "app.kubernetes.io/name");
}

/* Proxies that are put into pods by others. */
static bool is_known_sidecar(const char *container)
{
	static const char *const known[] = {
		"istio-proxy",	  "linkerd-proxy",    "envoy",
		"envoy-sidecar",  "consul-dataplane", "kuma-sidecar",
		"osm-envoy",	  "cloud-sql-proxy",  "cloudsql-proxy",
		"oauth2-proxy",	  "vault-agent",      "daprd",
		"aws-otel-agent", "kube-rbac-proxy",
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(container, known[i]))
			return true;
	return false;
}

/* Is the container the one that its pod is for? */
static bool is_main(const struct naming_facts *f)
{
	const char *name = card_text(f, CARD_NAME);
	const char *main_name = card_text(f, CARD_MAIN);

	if (*main_name || !*name)
		return !*name || !strcmp(name, main_name);
	return !is_known_sidecar(name) && f->card->first;
}

static void from_workload(const struct naming_facts *f, struct answer *a)
{
	const struct workload_pod pod = {
		.name = card_text(f, CARD_POD),
		.template_hash =
			f->card ? f->card->text[CARD_TEMPLATE_HASH] : NULL,
		.job = f->card ? f->card->text[CARD_JOB] : NULL,
		.node = f->node,
		.now_s = f->now_s,
	};
	char workload[WORKLOAD_NAME_LEN + 1], name[NAMING_LEN + 1];
	char whence[sizeof(a->whence)];
	const char *kind;

	if (!*pod.name)
		return;
	kind = workload_of(&pod, workload);
	if (is_main(f)) {
		snprintf(whence, sizeof(whence), "%s of pod %.90s", kind,
			 pod.name);
		say(a, workload, whence);
		return;
	}
	snprintf(name, sizeof(name), "%s/%.255s", workload,
		 card_text(f, CARD_NAME));
	snprintf(whence, sizeof(whence),
		 "%s of pod %.60s; this is not its main container", kind,
		 pod.name);
	say(a, name, whence);
}

static void from_compose(const struct naming_facts *f, struct answer *a)
{
	say(a, card_text(f, CARD_COMPOSE_SERVICE),
	    "com.docker.compose.service");
}

static void from_container(const struct naming_facts *f, struct answer *a)
{
	if (f->place->runtime == CGROUP_MACHINE && f->place->unit[0]) {
		snprintf(a->whence, sizeof(a->whence),
			 "a machine's units come first");
		return;
	}
	say(a, card_text(f, CARD_NAME), "name of the container");
}

static void from_unit(const struct naming_facts *f, struct answer *a)
{
	say(a, f->place->unit, "systemd unit");
}

static void from_script(const struct naming_facts *f, struct answer *a)
{
	say(a, f->script, "what the interpreter runs");
}

static void from_executable(const struct naming_facts *f, struct answer *a)
{
	say(a, f->executable, "name of the program");
}

static const struct {
	const char *name;
	void (*ask)(const struct naming_facts *f, struct answer *a);
} steps[] = {
	{ "rule", from_rule },
	{ "environment", from_environment },
	{ "annotation", from_annotation },
	{ "labels", from_labels },
	{ "workload", from_workload },
	{ "compose", from_compose },
	{ "container", from_container },
	{ "unit", from_unit },
	{ "script", from_script },
	{ "executable", from_executable },
};

/* --- namespace and instance --- */

static void decide_namespace(struct naming *out, const struct naming_facts *f)
{
	const char *const from[] = {
		f->rule_namespace,
		f->env_namespace,
		card_text(f, CARD_OTEL_NAMESPACE),
		card_text(f, CARD_K8S_NAMESPACE),
		card_text(f, CARD_COMPOSE_PROJECT),
	};

	out->namespace_[0] = '\0';
	for (size_t i = 0; i < sizeof(from) / sizeof(*from); i++) {
		if (is_set(from[i])) {
			snprintf(out->namespace_, sizeof(out->namespace_), "%s",
				 from[i]);
			return;
		}
	}
}

/* The restart count is left out: a restarted container is the same instance. */
static void decide_instance(struct naming *out, const struct naming_facts *f)
{
	const char *told = card_text(f, CARD_OTEL_INSTANCE);
	const char *pod = card_text(f, CARD_POD);
	const char *ns = card_text(f, CARD_K8S_NAMESPACE);
	const char *container = card_text(f, CARD_NAME);
	const char *id = f->place->container;
	int digits = f->place->runtime == CGROUP_MACHINE ? CGROUP_ID_LEN
							 : SHORT_ID_LEN;

	if (is_set(told))
		snprintf(out->instance, sizeof(out->instance), "%s", told);
	else if (*pod && *ns && *container)
		snprintf(out->instance, sizeof(out->instance),
			 "%.300s.%.300s.%.300s", ns, pod, container);
	else if (*id)
		snprintf(out->instance, sizeof(out->instance), "%.300s/%.*s",
			 f->node, digits, id);
	else
		snprintf(out->instance, sizeof(out->instance), "%s", f->node);
}

void naming_decide(struct naming *out, const struct naming_facts *facts,
		   naming_note_fn *note, void *arg)
{
	bool taken = false;

	out->service[0] = '\0';
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		struct answer a = { .value = "" };

		if (taken && !note)
			break;
		steps[i].ask(facts, &a);
		if (note)
			note(arg, steps[i].name, a.value, a.whence,
			     a.value[0] && !taken);
		if (a.value[0] && !taken) {
			memcpy(out->service, a.value, sizeof(a.value));
			taken = true;
		}
	}
	if (!taken)
		snprintf(out->service, sizeof(out->service), "unknown");
	decide_namespace(out, facts);
	decide_instance(out, facts);
}
