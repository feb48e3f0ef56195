/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

/* What was built: "1.2.3" or "0.1.0-dev", and its commit. Static strings. */
const char *version_string(void);
const char *version_revision(void);

#endif /* COMMON_VERSION_H */
