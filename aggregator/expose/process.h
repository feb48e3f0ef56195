/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_EXPOSE_PROCESS_H
#define AGGREGATOR_EXPOSE_PROCESS_H

#include "aggregator/expose/metrics.h"

/*
 * Fills the process_* fields of *self, most of them from /proc/self. A field
 * that cannot be read stays 0. process_start_us is set only if it is 0. Takes
 * about 50 µs. Any thread.
 */
void process_read(struct metrics_self *self);

#endif /* AGGREGATOR_EXPOSE_PROCESS_H */
