/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_NOTIFY_H
#define COMMON_NOTIFY_H

/*
 * Reports a state to the service manager by systemd's sd_notify protocol:
 * "READY=1", "STOPPING=1", "RELOADING=1", "STATUS=…", "WATCHDOG=1", or several
 * with newlines between. Any thread. Returns 0, also without a service manager.
 * Negative errno.
 */
int notify_send(const char *state);

#endif /* COMMON_NOTIFY_H */
