/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/resource.h"

const char *const resource_name[RESOURCE_FIELDS] = {
#define RESOURCE(field, FIELD, name, need, label) [RESOURCE_##FIELD] = (name),
#include "proto/resource.def"
};

const char *const resource_label[RESOURCE_FIELDS] = {
#define RESOURCE(field, FIELD, name, need, label) [RESOURCE_##FIELD] = (label),
#include "proto/resource.def"
};
