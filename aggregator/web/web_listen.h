/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_LISTEN_H
#define AGGREGATOR_WEB_WEB_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * A listening TCP socket on "host:port", "[::1]:9470" or ":9470" (every
 * address of both families). *fd is the caller's; *port is what it got.
 * -EINVAL: not such an address; -EADDRINUSE, -EACCES … Logged.
 */
int web_listen(const char *address, int *fd, uint16_t *port);

/* 127.0.0.0/8, ::1, and the former within the latter's family. */
bool web_is_loopback(const struct sockaddr *a);

#endif /* AGGREGATOR_WEB_WEB_LISTEN_H */
