/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/conffile_changes.h"
#include "probe-agent/config/config.h"

static bool matches_differ(const struct filter_match *a,
			   const struct filter_match *b)
{
	return conffile_changes_list(a->ports, a->ports_count, b->ports,
				     b->ports_count) ||
	       conffile_changes_list(a->executables, a->executables_count,
				     b->executables, b->executables_count) ||
	       conffile_changes_list(a->containers, a->containers_count,
				     b->containers, b->containers_count);
}

static bool services_differ(const struct agent_config *a,
			    const struct agent_config *b)
{
	if (a->services_count != b->services_count)
		return true;
	for (unsigned i = 0; i < a->services_count; i++) {
		const struct identity_rule *x = &a->services[i];
		const struct identity_rule *y = &b->services[i];

		if (x->port != y->port ||
		    conffile_changes_text(x->executable, y->executable) ||
		    conffile_changes_text(x->container, y->container) ||
		    conffile_changes_text(x->service, y->service) ||
		    conffile_changes_text(x->namespace_, y->namespace_))
			return true;
	}
	return false;
}

static bool names_differ(const struct agent_config *a,
			 const struct agent_config *b)
{
	return a->names.labels != b->names.labels ||
	       a->names.scripts != b->names.scripts ||
	       conffile_changes_text(a->names.root, b->names.root) ||
	       conffile_changes_list(a->names.container_labels,
				     a->names.container_labels_count,
				     b->names.container_labels,
				     b->names.container_labels_count);
}

/* What is in the folder of programs is read again. */
static bool programs_differ(const struct agent_config *a,
			    const struct agent_config *b)
{
	char *const x[] = { a->programs.dir,
			    a->programs.prefix,
			    a->programs.pin_dir,
			    a->programs.socket,
			    a->programs.debug_address,
			    a->programs.limits.cpu,
			    a->programs.limits.on_over,
			    a->programs.limits.interval,
			    a->programs.limits.entries,
			    a->programs.limits.series,
			    a->programs.limits.memory,
			    a->programs.limits.events };
	char *const y[] = { b->programs.dir,
			    b->programs.prefix,
			    b->programs.pin_dir,
			    b->programs.socket,
			    b->programs.debug_address,
			    b->programs.limits.cpu,
			    b->programs.limits.on_over,
			    b->programs.limits.interval,
			    b->programs.limits.entries,
			    b->programs.limits.series,
			    b->programs.limits.memory,
			    b->programs.limits.events };

	return conffile_changes_list(x, sizeof(x) / sizeof(*x), y,
				     sizeof(y) / sizeof(*y)) ||
	       conffile_changes_list(a->programs.allow, a->programs.allow_count,
				     b->programs.allow,
				     b->programs.allow_count);
}

void agent_config_needs_restart(const struct agent_config *now,
				const struct agent_config *next, char *what,
				size_t what_size)
{
	struct conffile_changes c;

	conffile_changes_init(&c, what, what_size);
	conffile_changes_add(&c, conffile_changes_text(now->node, next->node),
			     "node");
	conffile_changes_add(
		&c,
		now->outbox.cap_bytes != next->outbox.cap_bytes ||
			conffile_changes_text(now->outbox.path,
					      next->outbox.path) ||
			conffile_changes_text(now->outbox.given_up,
					      next->outbox.given_up),
		"outbox");
	conffile_changes_add(
		&c,
		now->capture.ring_bytes != next->capture.ring_bytes ||
			now->capture.max_connections !=
				next->capture.max_connections ||
			conffile_changes_text(now->capture.mode,
					      next->capture.mode) ||
			conffile_changes_text(now->capture.tls,
					      next->capture.tls),
		"capture");
	conffile_changes_add(&c,
			     now->select.report_self !=
					     next->select.report_self ||
				     matches_differ(&now->select.include,
						    &next->select.include) ||
				     matches_differ(&now->select.exclude,
						    &next->select.exclude),
			     "select");
	conffile_changes_add(
		&c,
		now->routes.cap != next->routes.cap ||
			conffile_changes_list(now->routes.patterns,
					      now->routes.patterns_count,
					      next->routes.patterns,
					      next->routes.patterns_count),
		"routes");
	conffile_changes_add(&c, names_differ(now, next), "names");
	conffile_changes_add(&c, services_differ(now, next), "services");
	conffile_changes_add(&c, programs_differ(now, next), "programs");
}
