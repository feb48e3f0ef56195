/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/workload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define NOW 1795870000 /* November 2026: 29931166 minutes */

static const struct made {
	struct workload_pod pod;
	const char *name, *kind;
} made[] = {
	/* names as Kubernetes makes them */
	{ { .name = "shop-7d9f8c6b5-x2x4z" }, "shop", "Deployment" },
	{ { .name = "shop-api-5bf4d8f8c6-zzzzz" }, "shop-api", "Deployment" },
	{ { .name = "report-29931160-b7c9d" }, "report", "CronJob" },
	{ { .name = "fluent-bit-x7k2p" },
	  "fluent-bit",
	  "DaemonSet, ReplicaSet or Job" },
	{ { .name = "web-0" }, "web", "StatefulSet" },
	{ { .name = "kafka-broker-12" }, "kafka-broker", "StatefulSet" },
	{ { .name = "kube-apiserver-node-1", .node = "node-1" },
	  "kube-apiserver",
	  "static pod" },
	/* names that people gave stay themselves */
	{ { .name = "db-migrate" }, "db-migrate", "pod" },
	{ { .name = "db-migrate-x7k2p" },
	  "db-migrate",
	  "DaemonSet, ReplicaSet or Job" },
	{ { .name = "nginx" }, "nginx", "pod" },
	{ { .name = "my-worker" }, "my-worker", "pod" },
	{ { .name = "worker-svc" }, "worker-svc", "pod" },
	{ { .name = "x7k2p" }, "x7k2p", "pod" },
	{ { .name = "-x7k2p" }, "-x7k2p", "pod" },
	{ { .name = "" }, "", "pod" },
	{ { .name = "a-01" }, "a-01", "pod" },
	/* a date is no minute, nor is one that has not come */
	{ { .name = "report-20240101-b7c9d" },
	  "report-20240101",
	  "DaemonSet, ReplicaSet or Job" },
	{ { .name = "report-39931160-b7c9d" },
	  "report-39931160",
	  "DaemonSet, ReplicaSet or Job" },
	/* no hash: a vowel, a digit that none has, a zero first, over 32 bits
	 */
	{ { .name = "shop-7d9f8c6ba-x2x4z" },
	  "shop-7d9f8c6ba",
	  "DaemonSet, ReplicaSet or Job" },
	{ { .name = "shop-7d9f8c6b2-x2x4z" },
	  "shop-7d9f8c6b2",
	  "DaemonSet, ReplicaSet or Job" },
	{ { .name = "shop-4d9f8c6b5-x2x4z" },
	  "shop-4d9f8c6b5",
	  "DaemonSet, ReplicaSet or Job" },
	{ { .name = "shop-ffffffffff-x2x4z" },
	  "shop-ffffffffff",
	  "DaemonSet, ReplicaSet or Job" },
	/* labels say more than a name's form */
	{ { .name = "shop-abc-x2x4z", .template_hash = "abc" },
	  "shop",
	  "Deployment" },
	{ { .name = "shop-7d9f8c6b5-x2x4z", .template_hash = "other" },
	  "shop-7d9f8c6b5",
	  "DaemonSet, ReplicaSet or Job" },
	{ { .name = "anything", .job = "db-migrate" }, "db-migrate", "Job" },
	{ { .name = "anything", .job = "report-29931160" },
	  "report",
	  "CronJob" },
	{ { .name = "anything", .job = "report-20240101" },
	  "report-20240101",
	  "Job" },
};

static void tells_workloads_from_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++) {
		struct workload_pod pod = made[i].pod;
		char name[WORKLOAD_NAME_LEN + 1];
		const char *kind;

		pod.now_s = NOW;
		kind = workload_of(&pod, name);
		if (strcmp(name, made[i].name) != 0 ||
		    strcmp(kind, made[i].kind) != 0)
			fail_msg("%s: %s %s", pod.name, kind, name);
	}
}

/* Kubernetes' own arithmetic: FNV sums in decimal, each digit modulo 27. */
static void knows_every_hash(void **state)
{
	static const char safe[] = "bcdfghjklmnpqrstvwxz2456789";
	uint32_t sum = 1;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		char decimal[16], hash[16], pod[64],
			name[WORKLOAD_NAME_LEN + 1];
		struct workload_pod p = { .name = pod, .now_s = NOW };

		sum = sum * 1664525u + 1013904223u;
		snprintf(decimal, sizeof(decimal), "%u", sum);
		if (strlen(decimal) < 8)
			continue; /* one in 429 is too short to be sure */
		for (size_t k = 0; k <= strlen(decimal); k++)
			hash[k] = decimal[k]
					  ? safe[(unsigned char)decimal[k] % 27]
					  : '\0';
		snprintf(pod, sizeof(pod), "shop-%s-x2x4z", hash);
		assert_string_equal(workload_of(&p, name), "Deployment");
		assert_string_equal(name, "shop");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_workloads_from_names),
		cmocka_unit_test(knows_every_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
