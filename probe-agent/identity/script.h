/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_IDENTITY_SCRIPT_H
#define PROBE_AGENT_IDENTITY_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#define SCRIPT_NAME_LEN 127

/*
 * What an interpreter runs, as a name: "server" of `node /srv/server.js`,
 * "shop" of `gunicorn shop.wsgi:app`, "orders" of `java -jar orders-1.4.jar`.
 * argv is what /proc/PID/cmdline has: arguments with a NUL each. False:
 * executable is no known interpreter, or its arguments do not name a program.
 * Pure; any thread.
 */
bool script_name(const char *executable, const char *argv, size_t len,
		 char name[SCRIPT_NAME_LEN + 1]);

#endif /* PROBE_AGENT_IDENTITY_SCRIPT_H */
