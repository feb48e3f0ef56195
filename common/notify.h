/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_NOTIFY_H
#define COMMON_NOTIFY_H

/*
 * Tells the service manager (systemd's sd_notify protocol) how we are:
 * "READY=1", "STOPPING=1", "RELOADING=1", "STATUS=…", "WATCHDOG=1", several
 * with newlines between. 0 if there is no service manager. Any thread.
 */
int notify_send(const char *state);

#endif /* COMMON_NOTIFY_H */
