/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/reload.h"

#include <stdbool.h>
#include <string.h>

#include "common/clock.h"
#include "common/conffile.h"
#include "common/file_stamp.h"
#include "common/log.h"
#include "probe-agent/outbox/uplink.h"

static uint64_t certificates(const struct agent_config *cfg)
{
	const char *const files[] = { cfg->tls.ca_file, cfg->tls.cert_file,
				      cfg->tls.key_file, cfg->token_file };

	return file_stamp(files, sizeof(files) / sizeof(*files));
}

static struct uplink_options options_of(const struct agent_config *cfg)
{
	return (struct uplink_options){
		.url = cfg->to,
		.ca_file = cfg->tls.ca_file,
		.cert_file = cfg->tls.cert_file,
		.key_file = cfg->tls.key_file,
		.token_file = cfg->token_file,
	};
}

void reload_init(struct reload *r, struct agent_config *cfg,
		 const struct cli_settings *flags)
{
	*r = (struct reload){ .cfg = cfg, .first = cfg, .flags = flags };
}

static void forget_config(struct reload *r)
{
	if (r->cfg != r->first)
		agent_config_free(r->cfg);
	r->cfg = NULL;
}

void reload_fini(struct reload *r)
{
	forget_config(r);
}

static int start_uplink(struct reload *r)
{
	struct uplink_options uo = options_of(r->cfg);

	uo.last_words = r->last_words;
	r->certificates = certificates(r->cfg);
	return uplink_start(&r->uplink, &uo, r->outbox);
}

int reload_start(struct reload *r, struct outbox *ob, struct last_words *lw)
{
	r->outbox = ob;
	r->last_words = lw;
	return start_uplink(r);
}

void reload_stop(struct reload *r, uint32_t drain_ms)
{
	uplink_stop(r->uplink, drain_ms);
	r->uplink = NULL;
}

int reload_try(const struct agent_config *cfg)
{
	struct uplink_options uo = options_of(cfg);
	struct uplink *up = NULL;
	int err = uplink_open(&up, &uo);

	uplink_close(up);
	if (err)
		log_error("cannot use the address or its certificates to=%s "
			  "ca_file=%s cert_file=%s key_file=%s error=\"%s\"",
			  cfg->to, cfg->tls.ca_file ? cfg->tls.ca_file : "",
			  cfg->tls.cert_file ? cfg->tls.cert_file : "",
			  cfg->tls.key_file ? cfg->tls.key_file : "",
			  strerror(-err));
	return err;
}

/* A batch that was on its way is sent again, and not counted twice. */
static void renew(struct reload *r)
{
	int err;

	reload_stop(r, 0);
	err = start_uplink(r);
	if (err)
		log_error("no uplink until the next try error=\"%s\"",
			  strerror(-err));
	else
		log_info("uplink renewed to=%s", r->cfg->to);
}

void reload_now(struct reload *r)
{
	const char *file = conffile_present(r->flags->cli.config_file);
	struct agent_config *next = NULL;
	char restart[256];
	int err = agent_config_load(&next, r->flags);

	if (!err)
		err = reload_try(next);
	if (err) {
		log_error("reload failed, the old configuration stays file=%s",
			  file ? file : "");
		agent_config_free(next);
		return;
	}
	agent_config_needs_restart(r->first, next, restart, sizeof(restart));
	if (*restart)
		log_warn("these changes need a restart keys=\"%s\" file=%s",
			 restart, file ? file : "");
	forget_config(r);
	r->cfg = next;
	log_info("configuration loaded file=%s", file ? file : "");
	renew(r);
}

void reload_check(struct reload *r, uint64_t now_ns)
{
	uint64_t stamp;

	if (r->uplink && now_ns - r->stamped_ns < FILE_STAMP_S * CLOCK_NS_PER_S)
		return;
	r->stamped_ns = now_ns;
	stamp = certificates(r->cfg);
	if (!r->uplink) {
		renew(r);
	} else if (stamp && stamp != r->certificates) {
		/* Wrong ones are tried once; the old ones stay in use. */
		r->certificates = stamp;
		if (!reload_try(r->cfg))
			renew(r);
	}
}
