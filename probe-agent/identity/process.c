/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe-agent/identity/procfs.h"

static char *name_executable(const char *path, const char *comm)
{
	const char *base = path ? strrchr(path, '/') : NULL;

	if (base && base[1])
		return strdup(base + 1);
	return strdup(*comm ? comm : "unknown");
}

int process_read(struct process *out, const char *proc, uint32_t pid,
		 uint64_t start_ns, const char *comm, bool script)
{
	char name[SCRIPT_NAME_LEN + 1];
	struct procfs_otel otel = { .service = NULL };
	int fd = -1;

	*out = (struct process){ .path = NULL };
	out->gone = procfs_open(proc, pid, start_ns, &fd) != 0;
	if (!out->gone) {
		procfs_cgroup(fd, &out->place);
		procfs_otel(fd, &otel);
		out->path = procfs_exe(fd);
	} else {
		out->path = strdup("");
	}
	out->env_service = otel.service;
	out->env_namespace = otel.namespace_;
	out->executable = name_executable(out->path, comm);
	if (script && fd >= 0 && out->executable &&
	    procfs_script(fd, out->executable, name))
		out->script = strdup(name);
	if (fd >= 0)
		close(fd);
	return out->path && out->executable ? 0 : -ENOMEM;
}

void process_fini(struct process *p)
{
	free(p->env_service);
	free(p->env_namespace);
	free(p->path);
	free(p->executable);
	free(p->script);
	*p = (struct process){ .path = NULL };
}

void process_facts(const struct process *p, struct naming_facts *out)
{
	out->env_service = p->env_service;
	out->env_namespace = p->env_namespace;
	out->place = &p->place;
	out->script = p->script;
	out->executable = p->executable;
}
