/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

/* The version ("1.2.3" or "0.1.0-dev") and commit of the build. Static. */
const char *version_string(void);
const char *version_revision(void);

#endif /* COMMON_VERSION_H */
