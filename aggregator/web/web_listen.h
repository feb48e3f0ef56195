/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_LISTEN_H
#define AGGREGATOR_WEB_WEB_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Opens a TCP socket that listens on "host:port", "[::1]:9470" or ":9470" (all
 * addresses of both families). The caller must close *fd; *port is the actual
 * port. Errors are logged. -EINVAL: wrong address. Else the error of the
 * socket, like -EADDRINUSE or -EACCES.
 */
int web_listen(const char *address, int *fd, uint16_t *port);

/* Whether a is in 127.0.0.0/8 or ::ffff:127.0.0.0/104, or is ::1. */
bool web_is_loopback(const struct sockaddr *a);

#endif /* AGGREGATOR_WEB_WEB_LISTEN_H */
