/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/series/labelset.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/series/labelset_state.h"

static void set_label(const struct labels *l, struct series_label *out,
		      const char *data, size_t len)
{
	out->data = data;
	out->len = len;
	out->hash = intern_hash(l->intern, data, len);
	out->interned = NULL;
}

static void set_text(const struct labels *l, struct series_label *out,
		     const char *s)
{
	set_label(l, out, s, strlen(s));
}

/* All statuses as text, for labels that are static. */
static char status_names[STATUS_MAX][4];
static pthread_once_t status_names_once = PTHREAD_ONCE_INIT;

static void make_status_names(void)
{
	for (unsigned i = 0; i < STATUS_MAX; i++)
		snprintf(status_names[i], sizeof(status_names[i]), "%u",
			 i % STATUS_MAX);
}

static void make_constants(struct labels *l)
{
	set_text(l, &l->role[0], "unknown");
	set_text(l, &l->role[ROLE_SERVER], "server");
	set_text(l, &l->role[ROLE_CLIENT], "client");
	set_text(l, &l->version[0], "1.0");
	set_text(l, &l->version[1], "1.1");
	set_text(l, &l->version[2], "2");
	set_text(l, &l->version[3], "3");
	set_text(l, &l->other_method, "_OTHER");
	l->other_method_id = ID_NONE;
	set_text(l, &l->other_outcome, "_OTHER");
	set_text(l, &l->unknown_service, "unknown_service");
	for (size_t i = 1; i < OUTCOMES; i++)
		set_text(l, &l->outcome[i], outcome_name(i));
	pthread_once(&status_names_once, make_status_names);
	for (unsigned i = 0; i < STATUS_MAX; i++)
		set_text(l, &l->status[i], status_names[i]);
	for (unsigned i = 1; i < RPC_SYSTEMS; i++)
		set_text(l, &l->rpc_system[i], rpc_system_name(i));
	for (unsigned i = 0; i < RPC_CODES; i++) {
		set_text(l, &l->rpc_code[i], rpc_code_name(i));
		set_text(l, &l->rpc_number[i], status_names[i]);
	}
}

int labels_new(struct labels **out, struct intern *intern,
	       const uint32_t used[LABELS_ROLES], size_t n_slots)
{
	struct labels *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->intern = intern;
	memcpy(l->used, used, sizeof(l->used));
	l->n_slots = n_slots;
	l->stride = KEY_WORDS + n_slots;
	if (l->stride < LINE_WORDS)
		l->stride = LINE_WORDS;
	l->scratch = calloc(n_slots + 1, sizeof(*l->scratch));
	if (hash_index_init(&l->index, 1024) || !l->scratch) {
		labels_free(l);
		return -ENOMEM;
	}
	make_constants(l);
	*out = l;
	return 0;
}

void labels_free(struct labels *l)
{
	if (!l)
		return;
	free(l->string);
	free(l->seen);
	free(l->id);
	free(l->job);
	free(l->instance);
	free(l->job_id);
	free(l->instance_id);
	free(l->text);
	free(l->entry);
	hash_index_fini(&l->index);
	free(l->scratch);
	free(l);
}

/* --- a batch --- */

static int make_room(struct labels *l, const struct batch *b, size_t text)
{
	if (b->n_strings > l->string_cap) {
		free(l->string);
		free(l->seen);
		free(l->id);
		l->string_cap = 0;
		l->string = calloc(b->n_strings, sizeof(*l->string));
		l->seen = calloc(b->n_strings, sizeof(*l->seen));
		l->id = calloc(b->n_strings, sizeof(*l->id));
		if (!l->string || !l->seen || !l->id)
			return -ENOMEM;
		l->string_cap = b->n_strings;
	}
	if (b->resources.n > l->resource_cap) {
		free(l->job);
		free(l->instance);
		free(l->job_id);
		free(l->instance_id);
		l->resource_cap = 0;
		l->job = calloc(b->resources.n, sizeof(*l->job));
		l->instance = calloc(b->resources.n, sizeof(*l->instance));
		l->job_id = calloc(b->resources.n, sizeof(*l->job_id));
		l->instance_id =
			calloc(b->resources.n, sizeof(*l->instance_id));
		if (!l->job || !l->instance || !l->job_id || !l->instance_id)
			return -ENOMEM;
		l->resource_cap = b->resources.n;
	}
	if (text > l->text_cap) {
		free(l->text);
		l->text = malloc(text);
		l->text_cap = l->text ? text : 0;
		if (!l->text)
			return -ENOMEM;
	}
	return 0;
}

struct series_label *labels_string(struct labels *l, uint32_t i)
{
	if (i == 0)
		return &l->absent;
	if (!l->seen[i]) {
		l->seen[i] = 1;
		set_label(l, &l->string[i], l->batch->strings[i].data,
			  l->batch->strings[i].len);
		if (l->string[i].len == 0)
			l->string[i] = l->absent;
	}
	return &l->string[i];
}

/* job is namespace/service, as OpenTelemetry maps resources. */
static void make_job(struct labels *l, size_t i, char **text)
{
	const struct batch *b = l->batch;
	const struct batch_string *service =
		&b->strings[b->resources.service[i]];
	const struct batch_string *ns = &b->strings[b->resources.namespace_[i]];
	char *at = *text;

	if (service->len == 0) {
		l->job[i] = l->unknown_service;
		return;
	}
	if (ns->len == 0) {
		l->job[i] = *labels_string(l, b->resources.service[i]);
		return;
	}
	memcpy(at, ns->data, ns->len);
	at[ns->len] = '/';
	memcpy(at + ns->len + 1, service->data, service->len);
	at[ns->len + 1 + service->len] = 0;
	set_label(l, &l->job[i], at, ns->len + 1 + service->len);
	*text = at + ns->len + service->len + 2;
}

int labels_begin(struct labels *l, const struct batch *b)
{
	const struct batch_resources *rs = &b->resources;
	size_t text = 0;
	char *at;
	int err;

	for (size_t i = 0; i < rs->n; i++)
		text += b->strings[rs->service[i]].len +
			b->strings[rs->namespace_[i]].len + 2;
	err = make_room(l, b, text);
	if (err < 0)
		return err;
	l->batch = b;
	memset(l->seen, 0, b->n_strings);
	memset(l->id, 0xff, b->n_strings * sizeof(*l->id));
	l->node_id = ID_NONE;
	set_text(l, &l->node, b->agent);
	at = l->text;
	for (size_t i = 0; i < rs->n; i++) {
		const struct series_label *instance =
			labels_string(l, rs->instance[i]);

		make_job(l, i, &at);
		l->instance[i] = instance->data ? *instance : l->node;
		l->job_id[i] = l->instance_id[i] = ID_NONE;
	}
	return 0;
}

const struct series_label *labels_job(const struct labels *l, size_t i)
{
	return &l->job[i];
}

const struct series_label *labels_instance(const struct labels *l, size_t i)
{
	return &l->instance[i];
}

static struct series_label *version_label(struct labels *l, uint32_t version)
{
	switch (version) {
	case 10:
		return &l->version[0];
	case 11:
		return &l->version[1];
	case 20:
		return &l->version[2];
	case 30:
		return &l->version[3];
	default:
		return &l->absent;
	}
}

static struct series_label *port_label(struct labels *l, uint32_t port)
{
	if (port == 0)
		return &l->absent;
	snprintf(l->port_text, sizeof(l->port_text), "%u", port);
	set_text(l, &l->port, l->port_text);
	return &l->port;
}

/* As OpenTelemetry has it: 4xx is an error for clients only. */
static bool is_error_status(uint32_t role, uint32_t status)
{
	return status < STATUS_MAX &&
	       status >= (role == ROLE_CLIENT ? 400u : 500u);
}

/*
 * The code of a call that ended with an error, 0 for any other row. As
 * OpenTelemetry has it: for a server, what only the caller did wrong is none.
 */
static uint32_t error_code(const struct batch_series *s, size_t i)
{
	const uint32_t of_servers =
		1u << 2 | 1u << 4 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 15;
	uint32_t code = batch_series_rpc_status(s, i);

	if (code <= 1 || code > RPC_CODES)
		return 0;
	code--;
	return s->role[i] == ROLE_CLIENT || of_servers >> code & 1 ? code : 0;
}

const char *labels_error_name(const struct batch_series *s, size_t i)
{
	uint32_t outcome = s->outcome[i], status = s->status[i];
	uint32_t code = error_code(s, i);

	pthread_once(&status_names_once, make_status_names);
	if (code)
		return rpc_code_name(code);
	if (outcome >= OUTCOMES)
		return "_OTHER";
	if (outcome > 0)
		return outcome_name(outcome);
	return is_error_status(s->role[i], status) ? status_names[status]
						   : NULL;
}

static struct series_label *error_label(struct labels *l, size_t i)
{
	const struct batch_series *s = &l->batch->series;
	uint32_t outcome = s->outcome[i], status = s->status[i];
	uint32_t code = error_code(s, i);

	if (code)
		return &l->rpc_code[code];
	if (outcome >= OUTCOMES)
		return &l->other_outcome;
	if (outcome > 0)
		return &l->outcome[outcome];
	return is_error_status(s->role[i], status) ? &l->status[status]
						   : &l->absent;
}

/* The route of a call is its method behind a slash. */
static struct series_label *method_label(struct labels *l, uint32_t route)
{
	const struct batch_string *text = &l->batch->strings[route];

	if (text->len < 2 || text->data[0] != '/')
		return labels_string(l, route);
	set_label(l, &l->rpc_method, text->data + 1, text->len - 1);
	return &l->rpc_method;
}

static void call_labels(struct labels *l, size_t i, struct labels_row *out)
{
	const struct batch_series *s = &l->batch->series;
	uint32_t rpc = batch_series_rpc(s, i);
	uint32_t status = batch_series_rpc_status(s, i);
	struct series_label **to = out->label;
	bool known = status > 0 && status <= RPC_CODES;

	out->call = rpc != RPC_NONE;
	to[LABEL_RPC_SYSTEM] =
		rpc < RPC_SYSTEMS && rpc ? &l->rpc_system[rpc] : &l->absent;
	to[LABEL_RPC_SYSTEM_OLD] = to[LABEL_RPC_SYSTEM];
	to[LABEL_RPC_METHOD] = rpc ? method_label(l, s->route[i]) : &l->absent;
	to[LABEL_RPC_STATUS] = known ? &l->rpc_code[status - 1] : &l->absent;
	to[LABEL_RPC_NUMBER] = known ? &l->rpc_number[status - 1] : &l->absent;
}

void labels_of(struct labels *l, size_t i, struct labels_row *out)
{
	const struct batch_series *s = &l->batch->series;
	uint32_t resource = s->resource[i], role = s->role[i];
	uint32_t status = s->status[i], used = labels_used_by(l, role);
	struct series_label **to = out->label;

	out->role = role;
	out->untimed = batch_series_untimed(s, i);
	to[LABEL_JOB] = &l->job[resource];
	to[LABEL_INSTANCE] = &l->instance[resource];
	to[LABEL_NODE] = &l->node;
	to[LABEL_SERVICE] =
		labels_string(l, l->batch->resources.service[resource]);
	to[LABEL_ROLE] = &l->role[role <= ROLE_CLIENT ? role : 0];
	to[LABEL_METHOD] = labels_string(l, s->method[i]);
	if (!to[LABEL_METHOD]->data)
		to[LABEL_METHOD] = &l->other_method;
	to[LABEL_ROUTE] = labels_string(l, s->route[i]);
	to[LABEL_STATUS] = status > 0 && status < STATUS_MAX
				   ? &l->status[status]
				   : &l->absent;
	to[LABEL_ERROR] = error_label(l, i);
	to[LABEL_SCHEME] = labels_string(l, s->scheme[i]);
	to[LABEL_VERSION] = version_label(l, s->version[i]);
	to[LABEL_ADDRESS] = labels_string(l, s->address[i]);
	to[LABEL_PORT] =
		used >> LABEL_PORT & 1 ? port_label(l, s->port[i]) : &l->absent;
	call_labels(l, i, out);
	out->error = to[LABEL_ERROR]->data != NULL;
}
