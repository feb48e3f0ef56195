/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/filter.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cli.h"
#include "common/log.h"

struct port_range {
	uint16_t first, last;
};

struct match {
	struct port_range *ports;
	unsigned n_ports;
	char **executables;
	unsigned n_executables;
	char **containers;
	unsigned n_containers;
};

struct filter_rules {
	struct match include, exclude;
	bool report_self;
};

static int parse_port(const char *text, struct port_range *out)
{
	char a[8], b[8], rest;
	uint64_t first, last;
	int n = sscanf(text, "%5[0-9]-%5[0-9]%c", a, b, &rest);

	/* A single number must be the whole text. */
	if (n == 1 && strlen(a) != strlen(text))
		return -EINVAL;
	if ((n != 1 && n != 2) || cli_parse_u64(a, 1, 65535, &first) ||
	    (n == 2 && cli_parse_u64(b, first, 65535, &last)))
		return -EINVAL;
	out->first = (uint16_t)first;
	out->last = n == 2 ? (uint16_t)last : (uint16_t)first;
	return 0;
}

static int copy_texts(char ***out, unsigned *n, char *const *from,
		      unsigned count)
{
	if (!count)
		return 0;
	*out = calloc(count, sizeof(char *));
	if (!*out)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		(*out)[i] = strdup(from[i]);
		if (!(*out)[i])
			return -ENOMEM;
		*n = i + 1;
	}
	return 0;
}

static int match_init(struct match *m, const struct filter_match *from)
{
	int err;

	if (from->ports_count) {
		m->ports = calloc(from->ports_count, sizeof(*m->ports));
		if (!m->ports)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < from->ports_count; i++) {
		err = parse_port(from->ports[i], &m->ports[i]);
		if (err) {
			log_error("malformed port in select value=\"%s\"",
				  from->ports[i]);
			return err;
		}
		m->n_ports++;
	}
	err = copy_texts(&m->executables, &m->n_executables, from->executables,
			 from->executables_count);
	if (!err)
		err = copy_texts(&m->containers, &m->n_containers,
				 from->containers, from->containers_count);
	return err;
}

static void free_texts(char **list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

static void match_fini(struct match *m)
{
	free(m->ports);
	free_texts(m->executables, m->n_executables);
	free_texts(m->containers, m->n_containers);
}

bool filter_check_port(const char *text)
{
	struct port_range range;

	return parse_port(text, &range) == 0;
}

int filter_new(struct filter_rules **out, const struct filter_options *opt)
{
	struct filter_rules *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->report_self = opt->report_self;
	err = match_init(&s->include, &opt->include);
	if (!err)
		err = match_init(&s->exclude, &opt->exclude);
	if (err) {
		filter_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void filter_free(struct filter_rules *s)
{
	if (!s)
		return;
	match_fini(&s->include);
	match_fini(&s->exclude);
	free(s);
}

/* Either port: the service's is local on a server, remote on a client. */
static bool port_matches(const struct match *m, const struct endpoint *end)
{
	for (unsigned i = 0; i < m->n_ports; i++) {
		const struct port_range *r = &m->ports[i];

		if (end->local_port >= r->first && end->local_port <= r->last)
			return true;
		if (end->remote_port >= r->first && end->remote_port <= r->last)
			return true;
	}
	return false;
}

static bool executable_matches(const struct match *m, const struct identity *id)
{
	for (unsigned i = 0; i < m->n_executables; i++) {
		const char *glob = m->executables[i];

		if (!fnmatch(glob,
			     strchr(glob, '/') ? id->path : id->executable, 0))
			return true;
	}
	return false;
}

/* "*" matches every container id, but not a process outside of containers. */
static bool container_matches(const struct match *m, const struct identity *id)
{
	for (unsigned i = 0; i < m->n_containers; i++) {
		const char *glob = m->containers[i];

		if (!*id->container)
			continue;
		/* A prefix that is as long as a short id matches too. */
		if (!fnmatch(glob, id->container, 0) ||
		    (strlen(glob) >= 12 &&
		     !strncmp(glob, id->container, strlen(glob))))
			return true;
	}
	return false;
}

bool filter_follows(const struct filter_rules *s, const struct endpoint *end,
		    const struct identity *id)
{
	const struct match *in = &s->include, *ex = &s->exclude;

	if (id->self && !s->report_self)
		return false;
	if (port_matches(ex, end) || executable_matches(ex, id) ||
	    container_matches(ex, id))
		return false;
	return (!in->n_ports || port_matches(in, end)) &&
	       (!in->n_executables || executable_matches(in, id)) &&
	       (!in->n_containers || container_matches(in, id));
}
