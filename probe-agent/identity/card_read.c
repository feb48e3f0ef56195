/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/card_read.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe-agent/identity/json_skim.h"

/*
 * Bounds of what is read of a container. Larger files are some other program's,
 * or of a node with thousands of podman containers.
 */
#define CONFIG_MAX_BYTES (256u << 10)
#define LIST_MAX_BYTES (512u << 10)
#define TEXT_MAX_BYTES 1024u
#define LABELS_MAX_BYTES 2048u

/* --- texts --- */

void card_set(struct card_reader *r, enum card_field f, const char *value)
{
	if (!r->text[f] && *value && strlen(value) <= TEXT_MAX_BYTES)
		r->text[f] = strdup(value);
}

static bool is_chosen(const struct card_reader *r, const char *key)
{
	for (size_t i = 0; i < r->n_labels; i++)
		if (!fnmatch(r->labels[i], key, 0))
			return true;
	return false;
}

static void put_encoded(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (strchr("%,=", *text))
			buf_printf(b, "%%%02X", (unsigned char)*text);
		else
			buf_putc(b, *text);
	}
}

/* Is key in "key=value,…"? encoded is the key as the list has it. */
static bool has_label(const char *list, const char *encoded, size_t len)
{
	while (list && *list) {
		if (!strncmp(list, encoded, len) && list[len] == '=')
			return true;
		list = strchr(list, ',');
		if (list)
			list++;
	}
	return false;
}

static void add_chosen(struct card_reader *r, const char *key,
		       const char *value)
{
	struct buf b = { .max = LABELS_MAX_BYTES };
	const char *have = r->text[CARD_LABELS];

	put_encoded(&b, key);
	if (b.err || has_label(have, b.data, b.len))
		goto cleanup;
	buf_putc(&b, '=');
	put_encoded(&b, value);
	if (have) {
		buf_putc(&b, ',');
		buf_puts(&b, have);
	}
	if (buf_str(&b)) {
		free(r->text[CARD_LABELS]);
		r->text[CARD_LABELS] = b.data;
		b = (struct buf){ 0 };
	}
cleanup:
	buf_fini(&b);
}

void card_take_label(struct card_reader *r, const char *key, const char *value)
{
	static const struct {
		const char *key;
		enum card_field field;
	} known[] = {
		{ "io.kubernetes.container.name", CARD_NAME },
		{ "io.kubernetes.cri.container-name", CARD_NAME },
		{ "io.kubernetes.cri-o.ImageName", CARD_IMAGE },
		{ "io.kubernetes.cri.image-name", CARD_IMAGE },
		{ "io.kubernetes.pod.name", CARD_POD },
		{ "io.kubernetes.cri.sandbox-name", CARD_POD },
		{ "io.kubernetes.pod.namespace", CARD_K8S_NAMESPACE },
		{ "io.kubernetes.cri.sandbox-namespace", CARD_K8S_NAMESPACE },
		{ "io.kubernetes.pod.uid", CARD_POD_UID },
		{ "io.kubernetes.cri.sandbox-uid", CARD_POD_UID },
		{ "nerdctl/name", CARD_NAME },
		{ "com.docker.compose.project", CARD_COMPOSE_PROJECT },
		{ "com.docker.compose.service", CARD_COMPOSE_SERVICE },
		{ "resource.opentelemetry.io/service.name", CARD_OTEL_SERVICE },
		{ "resource.opentelemetry.io/service.namespace",
		  CARD_OTEL_NAMESPACE },
		{ "resource.opentelemetry.io/service.instance.id",
		  CARD_OTEL_INSTANCE },
		{ "app.kubernetes.io/instance", CARD_APP_INSTANCE },
		{ "app.kubernetes.io/name", CARD_APP_NAME },
		{ "pod-template-hash", CARD_TEMPLATE_HASH },
		{ "batch.kubernetes.io/job-name", CARD_JOB },
		{ "job-name", CARD_JOB },
		{ "kubectl.kubernetes.io/default-container", CARD_MAIN },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(key, known[i].key))
			card_set(r, known[i].field, value);
	if (is_chosen(r, key))
		add_chosen(r, key, value);
}

/* --- files --- */

static int open_below(int root, const char *path)
{
	const struct open_how how = {
		/* A FIFO must not keep us. */
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

bool card_read_file(struct card_reader *r, const char *path, size_t max)
{
	int fd = open_below(r->root, path);
	struct stat st;
	ssize_t n = 1;

	if (fd < 0)
		return false;
	buf_reset(&r->file);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size > max) {
		close(fd);
		r->refused++;
		return false;
	}
	while (n > 0 && r->file.len <= max) {
		void *to = buf_reserve(&r->file, 16384);

		n = to ? read(fd, to, 16384) : -1;
		if (n > 0)
			r->file.len += (size_t)n;
	}
	close(fd);
	return n == 0 && r->file.len <= max;
}

static void note_source(struct card_reader *r, const char *path)
{
	if (!r->source[0])
		snprintf(r->source, sizeof(r->source), "%s", path);
}

/* --- docker: config.v2.json --- */

static bool on_docker(void *arg, const struct json_place *p, const char *value)
{
	static const char *const name[] = { "Name" };
	static const char *const image[] = { "Config", "Image" };
	struct card_reader *r = arg;

	if (json_place_is(p, 1, name))
		card_set(r, CARD_NAME, value + (*value == '/'));
	else if (json_place_is(p, 2, image))
		card_set(r, CARD_IMAGE, value);
	else if (p->depth == 3 && !strcmp(p->key[0], "Config") &&
		 !strcmp(p->key[1], "Labels"))
		card_take_label(r, p->key[2], value);
	return true;
}

/* The kubelet's shim gives each container its pod's names as labels. */
static void prefer_pod_name(struct card_reader *r)
{
	if (!r->text[CARD_POD] || !r->text[CARD_NAME] ||
	    strncmp(r->text[CARD_NAME], "k8s_", 4) != 0)
		return;
	/* k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT; names have no "_". */
	memmove(r->text[CARD_NAME], r->text[CARD_NAME] + 4,
		strlen(r->text[CARD_NAME] + 4) + 1);
	r->text[CARD_NAME][strcspn(r->text[CARD_NAME], "_")] = '\0';
}

static bool read_docker(struct card_reader *r, const char *id)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/containers/%s/config.v2.json",
		 r->docker, id);
	if (!card_read_file(r, path, CONFIG_MAX_BYTES))
		return false;
	note_source(r, path);
	if (json_skim(r->file.data, r->file.len, on_docker, r))
		r->refused++;
	prefer_pod_name(r);
	return true;
}

/* --- config.json of the Open Container Initiative --- */

static bool on_label(void *arg, const struct json_place *p, const char *value)
{
	if (p->depth == 1)
		card_take_label(arg, p->key[0], value);
	return true;
}

static bool on_oci(void *arg, const struct json_place *p, const char *value)
{
	struct card_reader *r = arg;

	if (p->depth != 2 || strcmp(p->key[0], "annotations") != 0)
		return true;
	card_take_label(r, p->key[1], value);
	/* CRI-O writes both as texts of JSON. */
	if (!strcmp(p->key[1], "io.kubernetes.cri-o.Labels") ||
	    !strcmp(p->key[1], "io.kubernetes.cri-o.Annotations"))
		json_skim(value, strlen(value), on_label, r);
	return true;
}

struct sandbox {
	struct card_reader *r;
	char id[CGROUP_ID_LEN + 1];
};

static bool on_sandbox_id(void *arg, const struct json_place *p,
			  const char *value)
{
	static const char *const key[] = { "annotations",
					   "io.kubernetes.cri-o.SandboxID" };
	struct sandbox *s = arg;

	on_oci(s->r, p, value);
	if (json_place_is(p, 2, key) && strlen(value) == CGROUP_ID_LEN &&
	    strspn(value, "0123456789abcdef") == CGROUP_ID_LEN)
		memcpy(s->id, value, CGROUP_ID_LEN);
	return true;
}

static bool read_oci(struct card_reader *r, const char *dir, const char *id)
{
	struct sandbox s = { .r = r };
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/config.json", dir, id);
	if (!card_read_file(r, path, CONFIG_MAX_BYTES)) {
		snprintf(path, sizeof(path), "%s/%s/userdata/config.json", dir,
			 id);
		if (!card_read_file(r, path, CONFIG_MAX_BYTES))
			return false;
	}
	note_source(r, path);
	if (json_skim(r->file.data, r->file.len, on_sandbox_id, &s))
		r->refused++;
	/* The pod's own labels and annotations are those of its sandbox. */
	if (!s.id[0] || !strcmp(s.id, id))
		return true;
	snprintf(path, sizeof(path), "%s/%s/userdata/config.json", dir, s.id);
	if (card_read_file(r, path, CONFIG_MAX_BYTES) &&
	    json_skim(r->file.data, r->file.len, on_oci, r))
		r->refused++;
	return true;
}

/* --- containers.json of containers/storage: podman, CRI-O --- */

static bool on_metadata(void *arg, const struct json_place *p,
			const char *value)
{
	static const char *const image[] = { "image-name" };

	if (json_place_is(p, 1, image))
		card_set(arg, CARD_IMAGE, value);
	return true;
}

/* One container: {"id": …, "names": […], "metadata": "{…}", …} */
static bool on_stored(void *arg, const struct json_place *p, const char *value)
{
	static const char *const names[] = { "names", "" };
	static const char *const metadata[] = { "metadata" };

	if (json_place_is(p, 2, names))
		card_set(arg, CARD_NAME, value);
	else if (json_place_is(p, 1, metadata))
		json_skim(value, strlen(value), on_metadata, arg);
	return true;
}

static void read_stored(struct card_reader *r, const char *path, const char *id)
{
	char key[CGROUP_ID_LEN + 16];
	const char *at;
	int n = snprintf(key, sizeof(key), "{\"id\":\"%s\"", id);

	if (!card_read_file(r, path, LIST_MAX_BYTES))
		return;
	at = memmem(r->file.data, r->file.len, key, (size_t)n);
	if (!at)
		return;
	note_source(r, path);
	json_skim(at, r->file.len - (size_t)(at - r->file.data), on_stored, r);
}

/* --- all of them --- */

#define CONTAINERD "io.containerd.runtime.v2.task/"
#define STORAGE "/var/lib/containers/storage/overlay-containers"

void card_read(struct card_reader *r, const struct cgroup_place *place)
{
	static const char *const bundles[] = {
		"/run/containerd/" CONTAINERD "k8s.io",
		"/run/k3s/containerd/" CONTAINERD "k8s.io",
		"/run/k0s/containerd/" CONTAINERD "k8s.io",
		"/var/snap/microk8s/common/run/containerd/" CONTAINERD "k8s.io",
		"/run/containerd/" CONTAINERD "default",
	};
	const char *id = place->container;
	bool found = false;

	r->source[0] = '\0';
	r->first = true;
	if (place->pod_uid[0])
		card_set(r, CARD_POD_UID, place->pod_uid);
	if (place->runtime == CGROUP_MACHINE)
		card_set(r, CARD_NAME, id);
	if (place->runtime == CGROUP_MACHINE || place->runtime == CGROUP_OTHER)
		return;
	if (place->runtime == CGROUP_DOCKER || place->runtime == CGROUP_PLAIN)
		found = read_docker(r, id);
	for (size_t i = 0; !found && i < sizeof(bundles) / sizeof(*bundles);
	     i++)
		found = read_oci(r, bundles[i], id);
	if (!found && read_oci(r, STORAGE, id)) {
		read_stored(r, STORAGE "/containers.json", id);
		read_stored(r, STORAGE "/volatile-containers.json", id);
	}
	if (place->pod_uid[0])
		card_read_logs(r, id);
}
