/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>

#include "common/log.h"

int privileges_drop(bool uprobes)
{
	static const unsigned wanted[] = { CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE,
					   CAP_DAC_READ_SEARCH };
	bool keep[sizeof(wanted) / sizeof(*wanted)], admin, bounds;

	capng_get_caps_process();
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		keep[i] = capng_have_capability(CAPNG_PERMITTED, wanted[i]);
	/* CAP_BPF and CAP_PERFMON came with Linux 5.8 (a17b53c4a4b5). */
	admin = capng_have_capability(CAPNG_PERMITTED, CAP_SYS_ADMIN) &&
		(uprobes || prctl(PR_CAPBSET_READ, CAP_BPF) < 0);
	bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);

	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		if (keep[i])
			capng_update(CAPNG_ADD,
				     CAPNG_EFFECTIVE | CAPNG_PERMITTED,
				     wanted[i]);
	if (admin)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
			     CAP_SYS_ADMIN);
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
