/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_FDS_H
#define COMMON_FDS_H

/*
 * The file descriptors that this process may have, shared out among what takes
 * them for strangers, so that none keeps the others and the store from theirs.
 * Any thread.
 */

/*
 * Returns so many percent of the process's limit, at most most and at least 1.
 */
unsigned fds_share(unsigned percent, unsigned most);

#endif /* COMMON_FDS_H */
