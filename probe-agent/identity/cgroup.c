/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define UUID_LEN 36
#define HASH_LEN 32 /* uid of a static pod; half of an ECS id */

/* A component of a path, or a part of one. */
struct part {
	const char *s;
	size_t len;
};

/* The same "text" both times, for prefixes and ends of parts. */
#define IS(p, text) part_is(p, text, sizeof(text) - 1)
#define STARTS(p, text) part_starts(p, text, sizeof(text) - 1)
#define ENDS(p, text) part_ends(p, text, sizeof(text) - 1)

static bool part_is(struct part p, const char *text, size_t n)
{
	return p.len == n && !memcmp(p.s, text, n);
}

static bool part_starts(struct part p, const char *text, size_t n)
{
	return p.len > n && !memcmp(p.s, text, n);
}

static bool part_ends(struct part p, const char *text, size_t n)
{
	return p.len > n && !memcmp(p.s + p.len - n, text, n);
}

static struct part skip_part(struct part p, size_t n)
{
	return (struct part){ p.s + n, p.len - n };
}

static struct part cut_part(struct part p, size_t n)
{
	return (struct part){ p.s, p.len - n };
}

static void copy_part(char *out, size_t size, struct part p)
{
	size_t n = p.len < size ? p.len : size - 1;

	memcpy(out, p.s, n);
	out[n] = '\0';
}

/* Runtimes write small letters only. */
static bool is_hex(struct part p, size_t len)
{
	if (p.len != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((p.s[i] >= '0' && p.s[i] <= '9') ||
		      (p.s[i] >= 'a' && p.s[i] <= 'f')))
			return false;
	return true;
}

/* 8-4-4-4-12, with dashes or, in the name of a slice, underscores. */
static bool is_uuid(struct part p)
{
	if (p.len != UUID_LEN)
		return false;
	for (size_t i = 0; i < UUID_LEN; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (p.s[i] != '-' && p.s[i] != '_')
				return false;
		} else if (!is_hex((struct part){ p.s + i, 1 }, 1)) {
			return false;
		}
	}
	return true;
}

static void set_container(struct cgroup_place *out, enum cgroup_runtime runtime,
			  struct part id)
{
	out->runtime = runtime;
	copy_part(out->container, sizeof(out->container), id);
	out->unit[0] = '\0'; /* what came before runs the container */
}

/* --- pods --- */

/* The kubelet's slices; kind puts its own before. */
static bool is_kubepods(struct part p)
{
	return STARTS(p, "kubepods") || STARTS(p, "kubelet-kubepods");
}

/* "pod<uid>", at the end of "kubepods-burstable-pod<uid>" too. */
static bool take_pod(struct part p, struct cgroup_place *out)
{
	struct part uid = p;

	if (ENDS(uid, ".slice"))
		uid = cut_part(uid, 6);
	if (uid.len > UUID_LEN + 3 &&
	    is_uuid(skip_part(uid, uid.len - UUID_LEN)))
		uid = skip_part(uid, uid.len - UUID_LEN - 3);
	else if (uid.len > HASH_LEN + 3 && is_kubepods(p))
		uid = skip_part(uid, uid.len - HASH_LEN - 3);
	if (!STARTS(uid, "pod"))
		return false;
	uid = skip_part(uid, 3);
	if (!is_uuid(uid) && !is_hex(uid, HASH_LEN))
		return false;
	if (uid.s > p.s + 3 && !is_kubepods(p))
		return false;
	copy_part(out->pod_uid, sizeof(out->pod_uid), uid);
	for (char *c = out->pod_uid; *c; c++)
		if (*c == '_')
			*c = '-';
	out->runtime = CGROUP_NONE;
	out->container[0] = out->unit[0] = '\0';
	return true;
}

/* --- containers with 64 digits --- */

static enum cgroup_runtime runtime_of(struct part dress, struct part parent)
{
	if (IS(dress, "docker") || (!dress.len && IS(parent, "docker")))
		return CGROUP_DOCKER;
	if (IS(dress, "cri-containerd") || IS(dress, "nerdctl"))
		return CGROUP_CONTAINERD;
	if (IS(dress, "crio"))
		return CGROUP_CRIO;
	if (IS(dress, "libpod"))
		return CGROUP_PODMAN;
	return CGROUP_PLAIN;
}

/* ID, DRESS-ID, DRESS-ID.scope, kubepods…:DRESS:ID. */
static bool take_hex(struct part p, struct part parent,
		     struct cgroup_place *out)
{
	struct part id = ENDS(p, ".scope") ? cut_part(p, 6) : p,
		    dress = { p.s, 0 };
	const char *colon;

	if (id.len < CGROUP_ID_LEN ||
	    !is_hex(skip_part(id, id.len - CGROUP_ID_LEN), CGROUP_ID_LEN))
		return false;
	if (id.len > CGROUP_ID_LEN) {
		dress = cut_part(id, CGROUP_ID_LEN + 1);
		id = skip_part(id, dress.len);
		if (*id.s != '-' && *id.s != ':')
			return false;
		id = skip_part(id, 1);
	}
	colon = memrchr(dress.s, ':', dress.len);
	if (colon) {
		struct part slice = { dress.s, (size_t)(colon - dress.s) };

		take_pod(slice, out);
		dress = skip_part(dress, slice.len + 1);
	}
	/* What watches a container is none. */
	if (IS(dress, "conmon") || ENDS(dress, "-conmon"))
		return false;
	set_container(out, runtime_of(dress, parent), id);
	return true;
}

/* --- machines --- */

/* systemd writes \x2d for a dash. */
static void take_escaped(struct part name, struct cgroup_place *out)
{
	char text[CGROUP_ID_LEN + 1];
	size_t n = 0;

	while (name.len && n < CGROUP_ID_LEN) {
		if (STARTS(name, "\\x2d") || IS(name, "\\x2d")) {
			text[n++] = '-';
			name = skip_part(name, 4);
		} else {
			text[n++] = *name.s;
			name = skip_part(name, 1);
		}
	}
	set_container(out, CGROUP_MACHINE, (struct part){ text, n });
}

static bool take_machine(struct part p, struct part parent,
			 struct cgroup_place *out)
{
	if (STARTS(p, "lxc.payload.")) {
		take_escaped(skip_part(p, 12), out);
	} else if (IS(parent, "lxc") || IS(parent, "lxc.payload")) {
		take_escaped(p, out);
	} else if (STARTS(p, "systemd-nspawn@") && ENDS(p, ".service")) {
		take_escaped(cut_part(skip_part(p, 15), 8), out);
	} else if (STARTS(p, "machine-") && ENDS(p, ".scope")) {
		p = cut_part(skip_part(p, 8), 6);
		/* libvirt's: a virtual machine is a process like any other. */
		if (STARTS(p, "qemu\\x2d") || STARTS(p, "lxc\\x2d"))
			return false;
		take_escaped(p, out);
	} else {
		return false;
	}
	return true;
}

/* --- others --- */

static bool take_other(struct part p, struct part parent, struct part above,
		       struct cgroup_place *out)
{
	struct part id = p;

	if (IS(above, "ecs") && is_hex(parent, HASH_LEN) &&
	    p.len > HASH_LEN + 1 && p.s[HASH_LEN] == '-' &&
	    is_hex((struct part){ p.s, HASH_LEN }, HASH_LEN)) {
		set_container(out, CGROUP_OTHER, id);
		return true;
	}
	if (IS(parent, "garden") && is_uuid(p)) {
		set_container(out, CGROUP_OTHER, id);
		return true;
	}
	/* Nomad: ALLOC.TASK.scope in its own slice. */
	if (STARTS(parent, "nomad") && ENDS(p, ".scope") &&
	    p.len > UUID_LEN + 1 && p.s[UUID_LEN] == '.' &&
	    is_uuid((struct part){ p.s, UUID_LEN })) {
		set_container(out, CGROUP_OTHER, cut_part(id, 6));
		return true;
	}
	return false;
}

/* "nginx.service", "getty@tty1.service"; user managers are no unit. */
static void take_unit(struct part p, struct cgroup_place *out)
{
	if (ENDS(p, ".service") && !STARTS(p, "user@"))
		copy_part(out->unit, sizeof(out->unit), cut_part(p, 8));
}

static void parse_path(struct part path, struct cgroup_place *out)
{
	struct part parent = { path.s, 0 }, above = parent;

	while (path.len) {
		const char *slash = memchr(path.s, '/', path.len);
		size_t n = slash ? (size_t)(slash - path.s) : path.len;
		struct part p = { path.s, n };

		if (n && !take_hex(p, parent, out) && !take_pod(p, out) &&
		    !take_machine(p, parent, out) &&
		    !take_other(p, parent, above, out))
			take_unit(p, out);
		if (n) {
			above = parent;
			parent = p;
		}
		path = skip_part(path, slash ? n + 1 : n);
	}
}

/*
 * "hierarchy:controllers:path" lines; v2 is "0::path". With v1 every line has
 * the container and "name=systemd" the unit, which is the container's own only
 * if its line has the container, too.
 */
void cgroup_parse(const char *text, size_t len, struct cgroup_place *out)
{
	struct part left = { text, len };

	*out = (struct cgroup_place){ .container = "" };
	while (left.len) {
		const char *newline = memchr(left.s, '\n', left.len);
		size_t n = newline ? (size_t)(newline - left.s) : left.len;
		const char *path = memchr(left.s, ':', n);
		struct cgroup_place one = { .container = "" };

		if (path)
			path = memchr(path + 1, ':',
				      n - (size_t)(path + 1 - left.s));
		if (path)
			parse_path(
				(struct part){ path + 1, n - (size_t)(path + 1 -
								      left.s) },
				&one);
		if (one.container[0] && !out->container[0])
			*out = one;
		else if (!out->unit[0] &&
			 !one.container[0] == !out->container[0])
			memcpy(out->unit, one.unit, sizeof(out->unit));
		left = skip_part(left, newline ? n + 1 : n);
	}
}

const char *cgroup_runtime_name(enum cgroup_runtime runtime)
{
	static const char *const name[] = {
		[CGROUP_NONE] = "none",
		[CGROUP_PLAIN] = "container",
		[CGROUP_DOCKER] = "docker",
		[CGROUP_CONTAINERD] = "containerd",
		[CGROUP_CRIO] = "CRI-O",
		[CGROUP_PODMAN] = "podman",
		[CGROUP_MACHINE] = "machine",
		[CGROUP_OTHER] = "other",
	};

	return name[runtime];
}
