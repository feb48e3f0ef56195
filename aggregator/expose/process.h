/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_PROCESS_H
#define AGGREGATOR_EXPOSE_PROCESS_H

#include "aggregator/expose/metrics.h"

/*
 * Fills the process_* fields of *self from /proc/self; what cannot be read
 * stays 0. About 50 µs; any thread.
 */
void process_read(struct metrics_self *self);

#endif /* AGGREGATOR_EXPOSE_PROCESS_H */
