/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `redtap-agent check`: what this host can do, for people. First checks what is
 * needed, so that a failure to attach has its likely reason above it; then
 * really attaches.
 */

#include <cap-ng.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "probe-agent/check_gaps.h"
#include "probe-agent/check_name.h"
#include "probe-agent/check_to.h"
#include "probe-agent/config/config.h"
#include "probe-agent/gaps/unseen.h"
#include "probe-agent/identity/card.h"
#include "probe-agent/tap/tap.h"
#include "probe-agent/tls/tls_mmap.h"

int cmd_check(int argc, char **argv);

enum mark {
	MARK_GOOD,
	MARK_NOTE, /* the agent works without it */
	MARK_BAD,
};

static void say(enum mark mark, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(enum mark mark, const char *what, const char *fmt, ...)
{
	static const char *const marks[] = { "ok", "note", "MISSING" };
	va_list ap;

	printf("%-8s %-14s ", marks[mark], what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* 5.8 brought the BPF ring buffer. */
static void check_kernel(void)
{
	unsigned major = 0, minor = 0;
	struct utsname un;

	if (uname(&un) || sscanf(un.release, "%u.%u", &major, &minor) != 2) {
		say(MARK_BAD, "kernel", "release unknown");
		return;
	}
	say(major > 5 || (major == 5 && minor >= 8) ? MARK_GOOD : MARK_BAD,
	    "kernel", "%s %s (5.8 or newer is needed)", un.release, un.machine);
}

static void check_bpf(void)
{
	/*
	 * Command 0 with no attributes: a kernel that has the call refuses it
	 * otherwise.
	 */
	long ret = syscall(SYS_bpf, 0, NULL, 0);

	if (ret < 0 && errno == ENOSYS)
		say(MARK_BAD, "bpf()", "the kernel is built without it");
	else if (ret < 0 && errno == EPERM)
		say(MARK_BAD, "bpf()", "not permitted");
	else
		say(MARK_GOOD, "bpf()", "available");
}

static void check_btf(void)
{
	if (!faccessat(AT_FDCWD, "/sys/kernel/btf/vmlinux", R_OK, AT_EACCESS))
		say(MARK_GOOD, "BTF", "/sys/kernel/btf/vmlinux");
	else
		say(MARK_BAD, "BTF",
		    "/sys/kernel/btf/vmlinux: %s (CONFIG_DEBUG_INFO_BTF)",
		    strerror(errno));
}

static void check_tracefs(void)
{
	static const char *const places[] = {
		"/sys/kernel/tracing/events/syscalls",
		"/sys/kernel/debug/tracing/events/syscalls",
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (!faccessat(AT_FDCWD, places[i], R_OK | X_OK, AT_EACCESS)) {
			say(MARK_GOOD, "tracefs", "%s", places[i]);
			return;
		}
	}
	if (!faccessat(AT_FDCWD, "/sys/kernel/tracing", F_OK, AT_EACCESS))
		say(MARK_NOTE, "tracefs",
		    "not mounted or not readable; the agent mounts it if it "
		    "may (mount -t tracefs tracefs /sys/kernel/tracing)");
	else
		say(MARK_BAD, "tracefs", "the kernel is built without it");
}

/* "none [integrity] confidentiality": the one in brackets is in force. */
static void check_lockdown(void)
{
	FILE *f = fopen("/sys/kernel/security/lockdown", "re");
	char text[128] = "", *mode;

	if (!f) {
		say(MARK_GOOD, "lockdown", "none");
		return;
	}
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	mode = strchr(text, '[');
	mode = mode ? mode + 1 : text;
	mode[strcspn(mode, "]\n")] = '\0';
	say(strcmp(mode, "confidentiality") ? MARK_GOOD : MARK_BAD, "lockdown",
	    "%s%s", mode,
	    strcmp(mode, "confidentiality")
		    ? ""
		    : " (BPF may not read kernel memory)");
}

static void check_capability(unsigned cap, unsigned instead, const char *why,
			     enum mark without)
{
	const char *name = capng_capability_to_name(cap);
	char what[40];

	snprintf(what, sizeof(what), "CAP_%s", name ? name : "?");
	for (char *c = what; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	if (capng_have_capability(CAPNG_EFFECTIVE, cap))
		say(MARK_GOOD, what, "%s", why);
	else if (instead && capng_have_capability(CAPNG_EFFECTIVE, instead))
		say(MARK_NOTE, what,
		    "not held; CAP_SYS_ADMIN allows it, too: %s", why);
	else
		say(without, what, "not held; needed to %s", why);
}

static void check_capabilities(const struct agent_config *cfg)
{
	capng_get_caps_process();
	check_capability(CAP_BPF, CAP_SYS_ADMIN, "load programs", MARK_BAD);
	check_capability(CAP_PERFMON, CAP_SYS_ADMIN, "attach to the kernel",
			 MARK_BAD);
	check_capability(CAP_SYS_PTRACE, 0,
			 "read other users' /proc/PID/environ and exe",
			 MARK_NOTE);
	check_capability(
		CAP_DAC_READ_SEARCH, 0,
		"read tracefs and what runtimes write about containers",
		MARK_NOTE);
	if (strcmp(cfg->capture.tls, "off") != 0)
		check_capability(CAP_SYS_ADMIN, 0,
				 "attach to TLS libraries (--capture.tls=off: "
				 "not needed)",
				 MARK_NOTE);
}

/* Where names of containers come from. */
static void check_node_files(const struct agent_config *cfg)
{
	const char *root = cfg->names.root ? cfg->names.root : card_root();
	char path[PATH_MAX];

	/* Every runtime and the kubelet are below one of these. */
	snprintf(path, sizeof(path), "%s/var/lib", root);
	if (faccessat(AT_FDCWD, path, R_OK | X_OK, AT_EACCESS))
		say(MARK_NOTE, "node's files",
		    "%s: %s; containers are known by their id only", path,
		    strerror(errno));
	else
		say(MARK_GOOD, "node's files", "%s",
		    *root && root[1] ? root : "this file system");
}

/* Which kinds of dynamic probes the kernel has; the agent can do without. */
static void check_probe_kinds(void)
{
	static const char *const kinds[] = { "kprobe", "uprobe" };
	char path[64];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		snprintf(path, sizeof(path), "/sys/bus/event_source/devices/%s",
			 kinds[i]);
		if (!faccessat(AT_FDCWD, path, F_OK, AT_EACCESS))
			say(MARK_GOOD, kinds[i], "offered by the kernel");
		else
			say(MARK_NOTE, kinds[i], "not in this kernel");
	}
}

/* Which ways to capture work here, and why the others do not. */
static void check_fronts(const struct agent_config *cfg)
{
	const struct tap_options opt = {
		.mode = "auto",
		.ring_bytes = cfg->capture.ring_bytes,
		.max_connections = cfg->capture.max_connections,
	};
	struct tap_trial trial[8];
	size_t n = tap_try(&opt, trial, sizeof(trial) / sizeof(*trial));

	for (size_t i = 0; i < n; i++)
		say(trial[i].err ? MARK_NOTE : MARK_GOOD, "capture", "%s%s%s",
		    trial[i].front, trial[i].err ? ": " : " can be used",
		    trial[i].err ? trial[i].why : "");
}

/* Can the agent see programs load a TLS library while they run? */
static void check_tls(const struct agent_config *cfg)
{
	struct tls_mmap *maps;
	int err;

	if (!strcmp(cfg->capture.tls, "off"))
		return;
	err = tls_mmap_open(&maps);
	tls_mmap_close(maps);
	if (!err)
		say(MARK_GOOD, "library loads", "reported by perf");
	else
		say(MARK_NOTE, "library loads",
		    "perf_event_open: %s; a TLS library loaded over 0.6 s "
		    "after its program's start is found within a minute",
		    strerror(-err));
}

/*
 * Really attaches, which is what counts, and copies the way to capture that is
 * used to front. The tap logs the reason if it can't.
 */
static int check_hooks(const struct agent_config *cfg, char *front, size_t size)
{
	const struct tap_options opt = {
		.mode = cfg->capture.mode,
		.ring_bytes = cfg->capture.ring_bytes,
		.max_connections = cfg->capture.max_connections,
	};
	const struct tap_probe *probe;
	struct tap *tap = NULL;
	int err = tap_open(&tap, &opt);
	size_t n;

	if (!err)
		err = tap_attach(tap, &opt);
	if (err) {
		tap_close(tap);
		say(MARK_BAD, "hooks", "capture=%s cannot attach: %s",
		    cfg->capture.mode, strerror(-err));
		return err;
	}
	say(MARK_GOOD, "hooks", "capture=%s uses %s", cfg->capture.mode,
	    tap_capture(tap));
	snprintf(front, size, "%s", tap_capture(tap));
	for (size_t i = 0; i < UNSEEN_REASONS; i++)
		if (unseen_with(&unseen_table[i], front))
			say(MARK_NOTE, "not seen", "%s", unseen_table[i].what);
	n = tap_probes(tap, &probe);
	for (size_t i = 0; i < n; i++)
		say(probe[i].attached ? MARK_GOOD : MARK_NOTE, "  hook",
		    "%s%s%s", probe[i].name, probe[i].attached ? "" : ": ",
		    probe[i].attached ? "" : strerror(-probe[i].err));
	tap_close(tap);
	return 0;
}

struct check_flags {
	struct cli_settings settings;
	uint64_t pid; /* 0: none */
};

enum {
	KEY_PID = CLI_KEY_COMMAND,
};

static error_t parse_flag(int key, char *arg, struct argp_state *state)
{
	struct check_flags *flags = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &flags->settings;
		return 0;
	case KEY_PID:
		if (cli_parse_u64(arg, 1, INT32_MAX, &flags->pid))
			argp_error(state, "--pid: '%s' is no process id", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* As agent_config_main(), with the flags of our own. */
static int load_flags(struct agent_config **cfg, struct check_flags *flags,
		      const char *doc, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "pid", KEY_PID, "PID", 0,
		  "Only tell what this process would be called, and why", 0 },
		{ 0 },
	};
	const struct argp_child child[] = {
		{ &agent_config_argp, 0, NULL, 0 },
		{ 0 },
	};
	const struct argp argp = { .options = options,
				   .parser = parse_flag,
				   .doc = doc,
				   .children = child };
	int err;

	*flags = (struct check_flags){ .pid = 0 };
	err = argp_parse(&argp, argc, argv, 0, NULL, flags);
	if (err)
		return -err;
	err = agent_config_load(cfg, &flags->settings);
	if (err || !flags->settings.cli.config_check)
		return err;
	agent_config_free(*cfg);
	return 1;
}

static bool was_given(const struct check_flags *flags, const char *flag)
{
	for (unsigned i = 0; i < flags->settings.n; i++)
		if (!strcmp(cli_option_name(agent_config_argp.options,
					    flags->settings.set[i].key),
			    flag))
			return true;
	return false;
}

/* What only needs one answer. Returns 1: nothing of that kind was asked. */
static int check_one(const struct agent_config *cfg,
		     const struct check_flags *flags)
{
	if (flags->pid)
		return check_name(cfg, (uint32_t)flags->pid);
	return was_given(flags, "to") ? check_to(cfg, true) : 1;
}

int cmd_check(int argc, char **argv)
{
	struct agent_config *cfg;
	struct check_flags flags;
	char front[32] = "";
	int err = load_flags(&cfg, &flags,
			     "Report what this host can do. Exit status "
			     "0 if the agent can capture here. With --to, "
			     "only try the conversation with that aggregator, "
			     "TLS and all, and say what to mend.",
			     argc, argv);

	if (err)
		return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	err = check_one(cfg, &flags);
	if (err <= 0) {
		agent_config_free(cfg);
		return err ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	check_kernel();
	check_bpf();
	check_btf();
	check_tracefs();
	check_lockdown();
	check_capabilities(cfg);
	check_node_files(cfg);
	check_probe_kinds();
	check_tls(cfg);
	check_to(cfg, false);
	/* Log lines of the tap go to stderr: keeps both in order. */
	fflush(stdout);
	check_fronts(cfg);
	fflush(stdout);
	err = check_hooks(cfg, front, sizeof(front));
	check_gaps(cfg, front);
	agent_config_free(cfg);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
