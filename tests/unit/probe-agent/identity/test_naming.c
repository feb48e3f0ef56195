/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/naming.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define ID "0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b"

static struct cgroup_place place;
static struct card card;
static struct naming_facts facts;
static struct naming name;

/* Every step has something to say. */
static int everything(void **state)
{
	(void)state;
	place = (struct cgroup_place){ .runtime = CGROUP_CONTAINERD,
				       .container = ID,
				       .unit = "unit" };
	card = (struct card){ .first = true };
	card.text[CARD_NAME] = "web";
	card.text[CARD_POD] = "shop-7d9f8c6b5-x2x4z";
	card.text[CARD_K8S_NAMESPACE] = "prod";
	card.text[CARD_COMPOSE_PROJECT] = "project";
	card.text[CARD_COMPOSE_SERVICE] = "compose";
	card.text[CARD_OTEL_SERVICE] = "annotated";
	card.text[CARD_OTEL_NAMESPACE] = "annotated-ns";
	card.text[CARD_OTEL_INSTANCE] = "annotated-id";
	card.text[CARD_APP_INSTANCE] = "app-instance";
	card.text[CARD_APP_NAME] = "app-name";
	facts = (struct naming_facts){
		.rule_service = "rule",
		.rule_namespace = "rule-ns",
		.env_service = "env",
		.env_namespace = "env-ns",
		.place = &place,
		.card = &card,
		.script = "script",
		.executable = "python3.11",
		.node = "node-1",
		.use_labels = true,
		.now_s = 1795870000,
	};
	return 0;
}

static const char *service(void)
{
	naming_decide(&name, &facts, NULL, NULL);
	return name.service;
}

static const char *namespace_(void)
{
	naming_decide(&name, &facts, NULL, NULL);
	return name.namespace_;
}

static void goes_down_the_order_step_by_step(void **state)
{
	(void)state;
	assert_string_equal(service(), "rule");
	facts.rule_service = NULL;
	assert_string_equal(service(), "env");
	facts.env_service = "";
	assert_string_equal(service(), "annotated");
	card.text[CARD_OTEL_SERVICE] = NULL;
	assert_string_equal(service(), "app-instance");
	card.text[CARD_APP_INSTANCE] = NULL;
	assert_string_equal(service(), "app-name");
	facts.use_labels = false;
	assert_string_equal(service(), "shop");
	card.text[CARD_POD] = NULL;
	assert_string_equal(service(), "compose");
	card.text[CARD_COMPOSE_SERVICE] = NULL;
	assert_string_equal(service(), "web");
	facts.card = NULL;
	assert_string_equal(service(), "unit");
	place.unit[0] = '\0';
	assert_string_equal(service(), "script");
	facts.script = NULL;
	assert_string_equal(service(), "python3.11");
	facts.executable = NULL;
	assert_string_equal(service(), "unknown");
}

static void takes_the_namespace_from_the_same_places(void **state)
{
	(void)state;
	assert_string_equal(namespace_(), "rule-ns");
	facts.rule_namespace = NULL;
	assert_string_equal(namespace_(), "env-ns");
	facts.env_namespace = NULL;
	assert_string_equal(namespace_(), "annotated-ns");
	card.text[CARD_OTEL_NAMESPACE] = NULL;
	assert_string_equal(namespace_(), "prod");
	card.text[CARD_K8S_NAMESPACE] = NULL;
	assert_string_equal(namespace_(), "project");
	card.text[CARD_COMPOSE_PROJECT] = NULL;
	assert_string_equal(namespace_(), "");
}

static void tells_instances_apart(void **state)
{
	(void)state;
	service();
	assert_string_equal(name.instance, "annotated-id");
	card.text[CARD_OTEL_INSTANCE] = NULL;
	service();
	assert_string_equal(name.instance, "prod.shop-7d9f8c6b5-x2x4z.web");
	card.text[CARD_POD] = NULL;
	service();
	assert_string_equal(name.instance, "node-1/0a1b0a1b0a1b");
	place = (struct cgroup_place){ .runtime = CGROUP_MACHINE,
				       .container = "a-long-machine-name" };
	service();
	assert_string_equal(name.instance, "node-1/a-long-machine-name");
	place = (struct cgroup_place){ .runtime = CGROUP_NONE };
	service();
	assert_string_equal(name.instance, "node-1");
}

/* As the downward API leaves them when a variable does not exist. */
static void takes_no_value_that_was_never_filled_in(void **state)
{
	(void)state;
	facts.rule_service = NULL;
	facts.env_service = "$(POD_NAME)";
	facts.env_namespace = "$(NAMESPACE)";
	facts.rule_namespace = NULL;
	assert_string_equal(service(), "annotated");
	assert_string_equal(name.namespace_, "annotated-ns");
	facts.env_service = "$PRICE";
	assert_string_equal(service(), "$PRICE");
}

static void only_the_workload(void)
{
	facts.rule_service = facts.env_service = NULL;
	card.text[CARD_OTEL_SERVICE] = NULL;
	facts.use_labels = false;
}

/* A request that passes a proxy is not counted twice under one name. */
static void gives_sidecars_a_name_of_their_own(void **state)
{
	(void)state;
	only_the_workload();
	assert_string_equal(service(), "shop");
	card.text[CARD_NAME] = "istio-proxy";
	assert_string_equal(service(), "shop/istio-proxy");
	card.text[CARD_NAME] = "metrics";
	card.first = false;
	assert_string_equal(service(), "shop/metrics");
	card.text[CARD_MAIN] = "metrics";
	assert_string_equal(service(), "shop");
	card.text[CARD_NAME] = "web";
	card.first = true;
	assert_string_equal(service(), "shop/web");
	card.text[CARD_NAME] = NULL;
	assert_string_equal(service(), "shop");
}

static void leaves_jobs_as_they_are(void **state)
{
	(void)state;
	only_the_workload();
	card.text[CARD_POD] = "db-migrate-x7k2p";
	assert_string_equal(service(), "db-migrate");
	card.text[CARD_JOB] = "db-migrate";
	assert_string_equal(service(), "db-migrate");
}

/* What runs in a whole system is not called after the system. */
static void names_a_machines_services_by_their_units(void **state)
{
	(void)state;
	only_the_workload();
	card = (struct card){ .first = true };
	card.text[CARD_NAME] = "db-1";
	place = (struct cgroup_place){ .runtime = CGROUP_MACHINE,
				       .container = "db-1",
				       .unit = "postgres" };
	assert_string_equal(service(), "postgres");
	assert_string_equal(name.instance, "node-1/db-1");
	place.unit[0] = '\0';
	assert_string_equal(service(), "db-1");
}

struct notes {
	char text[2048];
};

static void note(void *arg, const char *step, const char *value,
		 const char *whence, bool taken)
{
	struct notes *n = arg;
	size_t at = strlen(n->text);

	(void)whence;
	snprintf(n->text + at, sizeof(n->text) - at, "%s%s=%s ",
		 taken ? "*" : "", step, value);
}

static void says_what_each_step_would_say(void **state)
{
	struct notes n = { "" };

	(void)state;
	facts.rule_service = NULL;
	naming_decide(&name, &facts, note, &n);
	assert_string_equal(n.text,
			    "rule= *environment=env annotation=annotated "
			    "labels=app-instance workload=shop compose=compose "
			    "container=web unit=unit script=script "
			    "executable=python3.11 ");
	assert_string_equal(name.service, "env");
}

static void cuts_what_is_too_long(void **state)
{
	static char text[2 * NAMING_LEN];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	facts.rule_service = text;
	facts.rule_namespace = text;
	facts.node = text;
	card.text[CARD_OTEL_INSTANCE] = text;
	assert_int_equal(strlen(service()), NAMING_LEN);
	assert_int_equal(strlen(name.namespace_), NAMING_LEN);
	assert_int_equal(strlen(name.instance), NAMING_LEN);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup(test, everything)
	const struct CMUnitTest tests[] = {
		T(goes_down_the_order_step_by_step),
		T(takes_the_namespace_from_the_same_places),
		T(tells_instances_apart),
		T(takes_no_value_that_was_never_filled_in),
		T(gives_sidecars_a_name_of_their_own),
		T(leaves_jobs_as_they_are),
		T(names_a_machines_services_by_their_units),
		T(says_what_each_step_would_say),
		T(cuts_what_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
