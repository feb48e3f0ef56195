/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_PRIVILEGES_H
#define AGGREGATOR_PRIVILEGES_H

/*
 * Drops all capabilities, and the right to gain any, for this thread and the
 * threads that it creates later; so call it before creating any. Without
 * CAP_DAC_OVERRIDE an aggregator that runs as root can use only a store and
 * files that belong to root. Returns 0 or a negative errno, which is logged.
 */
int privileges_drop_all(void);

#endif /* AGGREGATOR_PRIVILEGES_H */
