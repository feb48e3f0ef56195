/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_PRIVILEGES_H
#define AGGREGATOR_PRIVILEGES_H

/*
 * Gives up all capabilities and the right to ever gain any, for this thread
 * and those it starts later: call it before any thread is started. Whoever
 * starts the aggregator as root needs a store and files that root owns. 0 or
 * negative errno, said in the log.
 */
int privileges_drop_all(void);

#endif /* AGGREGATOR_PRIVILEGES_H */
