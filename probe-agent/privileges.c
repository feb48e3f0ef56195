/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/log.h"

/* keep[i]: the capability list[i] stays. */
static int keep_only(const unsigned *list, const bool *keep, size_t n)
{
	bool bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);

	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < n; i++)
		if (keep[i])
			capng_update(CAPNG_ADD,
				     CAPNG_EFFECTIVE | CAPNG_PERMITTED,
				     list[i]);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (capng_apply(bounds ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != 0) {
		log_error("cannot drop capabilities");
		return -EPERM;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		log_error("cannot set no_new_privs error=\"%s\"",
			  strerror(errno));
		return -errno;
	}
	return 0;
}

#define WANTED_MAX 8u

static int drop_others(const unsigned *wanted, size_t n, bool admin)
{
	bool keep[WANTED_MAX];

	capng_get_caps_process();
	for (size_t i = 0; i < n; i++)
		keep[i] = capng_have_capability(CAPNG_PERMITTED, wanted[i]);
	/* The last one is CAP_SYS_ADMIN or what only some need. */
	keep[n - 1] &= admin;
	return keep_only(wanted, keep, n);
}

int privileges_drop(bool uprobes)
{
	static const unsigned wanted[] = { CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE,
					   CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN };

	/* CAP_BPF and CAP_PERFMON came with Linux 5.8 (a17b53c4a4b5). */
	return drop_others(wanted, sizeof(wanted) / sizeof(*wanted),
			   uprobes || prctl(PR_CAPBSET_READ, CAP_BPF) < 0);
}

int privileges_keep_for_programs(bool xdp)
{
	static const unsigned wanted[] = { CAP_BPF,	   CAP_PERFMON,
					   CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH,
					   CAP_SYSLOG,	   CAP_SYS_ADMIN,
					   CAP_NET_ADMIN };

	return drop_others(wanted, sizeof(wanted) / sizeof(*wanted), xdp);
}
