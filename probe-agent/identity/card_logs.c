/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the kubelet's folders of logs tell: a pod's names, whatever its runtime,
 * and which of its containers was started first.
 *
 *   /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log   a link for each
 * container /var/log/pods/NAMESPACE_POD_UID/CONTAINER            made at its
 * first start
 */

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe-agent/identity/card_read.h"

#define LINKS_MAX 4096 /* of a node: 110 pods are usual */

struct link {
	char pod[254], k8s_namespace[64], container[64];
	char id[CGROUP_ID_LEN + 1];
};

static int open_path(int root, const char *path, uint64_t flags)
{
	const struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* Copies up to the separator and returns what follows it; NULL: no room. */
static const char *copy_until(const char *s, char separator, char *out,
			      size_t size)
{
	const char *end = strchr(s, separator);

	if (!end || (size_t)(end - s) >= size || end == s)
		return NULL;
	memcpy(out, s, (size_t)(end - s));
	out[end - s] = '\0';
	return end + 1;
}

static bool parse_link(const char *name, struct link *out)
{
	size_t len = strlen(name), tail = CGROUP_ID_LEN + 5;
	const char *id = name + len - tail + 1;

	if (len <= tail || strcmp(name + len - 4, ".log") != 0 || id[-1] != '-')
		return false;
	memcpy(out->id, id, CGROUP_ID_LEN);
	out->id[CGROUP_ID_LEN] = '\0';
	if (strspn(out->id, "0123456789abcdef") != CGROUP_ID_LEN)
		return false;
	name = copy_until(name, '_', out->pod, sizeof(out->pod));
	if (name)
		name = copy_until(name, '_', out->k8s_namespace,
				  sizeof(out->k8s_namespace));
	if (!name || (size_t)(id - 1 - name) >= sizeof(out->container))
		return false;
	memcpy(out->container, name, (size_t)(id - 1 - name));
	out->container[id - 1 - name] = '\0';
	return out->container[0] != '\0';
}

/* When the container was started for the first time. 0: not known. */
static int64_t born_ns(const struct card_reader *r, const struct link *l)
{
	char path[512];
	struct statx st;
	int64_t at = 0;
	int fd;

	snprintf(path, sizeof(path), "/var/log/pods/%s_%s_%s/%s",
		 l->k8s_namespace, l->pod, r->text[CARD_POD_UID], l->container);
	fd = open_path(r->root, path, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return 0;
	if (!statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &st) &&
	    (st.stx_mask & STATX_BTIME))
		at = st.stx_btime.tv_sec * INT64_C(1000000000) +
		     st.stx_btime.tv_nsec;
	close(fd);
	return at;
}

/* containerd keeps a container's folder for as long as it runs. */
static bool is_running(const struct card_reader *r, const char *own_id,
		       const char *id)
{
	char path[sizeof(r->source)];
	char *at;
	int fd;

	memcpy(path, r->source, sizeof(path));
	at = strstr(path, own_id);
	if (!at)
		return false;
	memcpy(at, id, CGROUP_ID_LEN);
	fd = open_path(r->root, path, O_PATH);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void take_own(struct card_reader *r, const struct link *l)
{
	card_set(r, CARD_POD, l->pod);
	card_set(r, CARD_K8S_NAMESPACE, l->k8s_namespace);
	card_set(r, CARD_NAME, l->container);
	if (!r->source[0])
		snprintf(r->source, sizeof(r->source),
			 "/var/log/containers/*-%.12s….log", l->id);
}

/* One link: names of our own in the first pass, those of our pod in the next.
 */
static void see_link(struct card_reader *r, const struct link *l,
		     const char *id, bool siblings)
{
	bool own = !strcmp(l->id, id);
	struct link mine = *l;
	int64_t at, mine_at;

	if (!siblings) {
		if (own)
			take_own(r, l);
		return;
	}
	if (own || !r->first || !r->text[CARD_NAME] || !r->text[CARD_POD] ||
	    !r->text[CARD_K8S_NAMESPACE] ||
	    strcmp(l->pod, r->text[CARD_POD]) != 0 ||
	    strcmp(l->k8s_namespace, r->text[CARD_K8S_NAMESPACE]) != 0 ||
	    !strcmp(l->container, r->text[CARD_NAME]) ||
	    !is_running(r, id, l->id))
		return;
	snprintf(mine.container, sizeof(mine.container), "%s",
		 r->text[CARD_NAME]);
	at = born_ns(r, l);
	mine_at = born_ns(r, &mine);
	/* File systems count in ticks: of two of one tick, one is the first. */
	r->first = !at || at > mine_at ||
		   (at == mine_at && strcmp(l->container, mine.container) > 0);
}

void card_read_logs(struct card_reader *r, const char *id)
{
	int fd = open_path(r->root, "/var/log/containers",
			   O_RDONLY | O_DIRECTORY);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (int pass = 0; pass < 2; pass++) {
		struct dirent *e;

		rewinddir(dir);
		for (int i = 0; i < LINKS_MAX && (e = readdir(dir)); i++) {
			struct link l;

			if (parse_link(e->d_name, &l))
				see_link(r, &l, id, pass == 1);
		}
	}
	closedir(dir);
}
