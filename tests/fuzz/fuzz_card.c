/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other programs write about a process, as any bytes: paths of cgroups,
 * the JSON of a runtime, a command line, a pod's name. The first byte chooses.
 */
#include <stdlib.h>
#include <string.h>

#include "probe-agent/identity/cgroup.h"
#include "probe-agent/identity/json_skim.h"
#include "probe-agent/identity/script.h"
#include "probe-agent/identity/workload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_string(void *arg, const struct json_place *p, const char *value)
{
	size_t *n = arg;

	if (p->depth > JSON_SKIM_DEPTH || strlen(value) >= JSON_SKIM_VALUE)
		abort();
	for (unsigned i = 0; i < p->depth; i++)
		if (strlen(p->key[i]) >= JSON_SKIM_KEY)
			abort();
	return ++*n < 1000;
}

static void try_workload(const char *text, size_t len)
{
	char pod[WORKLOAD_NAME_LEN + 1], name[WORKLOAD_NAME_LEN + 1];
	struct workload_pod p = { .name = pod, .now_s = 1795870000 };

	if (len >= sizeof(pod))
		len = sizeof(pod) - 1;
	memcpy(pod, text, len);
	pod[len] = '\0';
	workload_of(&p, name);
	if (strncmp(pod, name, strlen(name)) != 0)
		abort(); /* a workload's name is how its pods' begin */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	char name[SCRIPT_NAME_LEN + 1];
	struct cgroup_place place;
	size_t n = 0;

	if (size == 0)
		return 0;
	size--;
	switch (*data % 4) {
	case 0:
		cgroup_parse(text, size, &place);
		if (!place.container[0] != (place.runtime == CGROUP_NONE))
			abort();
		break;
	case 1:
		json_skim(text, size, on_string, &n);
		break;
	case 2:
		script_name("python3.11", text, size, name);
		script_name("java", text, size, name);
		break;
	default:
		try_workload(text, size);
	}
	return 0;
}
