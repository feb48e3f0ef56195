/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/card.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ID "0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b"
#define ID2 "1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c1b2c"
#define SANDBOX                                                                \
	"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define UID "6ff1f0a6-53c1-4f0b-8a17-3ac6c15e7b10"
#define DOCKER "/var/lib/docker/containers/" ID "/config.v2.json"
#define TASKS "/run/containerd/io.containerd.runtime.v2.task/k8s.io/"
#define STORED "/var/lib/containers/storage/overlay-containers/"

struct fixture {
	char root[64];
	struct card_table *t;
	struct cgroup_place place;
};

static void make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
}

static void put_bytes(struct fixture *f, const char *name, const void *data,
		      size_t len)
{
	char path[512];
	FILE *out;

	snprintf(path, sizeof(path), "%s%s", f->root, name);
	make_folders(path);
	out = fopen(path, "w");
	assert_non_null(out);
	fwrite(data, 1, len, out);
	fclose(out);
}

static void put(struct fixture *f, const char *name, const char *text)
{
	put_bytes(f, name, text, strlen(text));
}

static void renew(struct fixture *f, size_t cap, char *const *labels, size_t n)
{
	const struct card_options opt = {
		.root = f->root, .cap = cap, .labels = labels, .n_labels = n
	};

	card_free(f->t);
	assert_int_equal(card_new(&f->t, &opt), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->root, "/tmp/redtap-card-XXXXXX");
	if (!mkdtemp(f->root))
		return -1;
	f->place = (struct cgroup_place){ .runtime = CGROUP_PLAIN,
					  .container = ID };
	renew(f, 0, NULL, 0);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	card_free(f->t);
	nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static const struct card *get(struct fixture *f)
{
	const struct card *c = card_get(f->t, &f->place);

	assert_non_null(c);
	return c;
}

static const char *text(struct fixture *f, enum card_field field)
{
	const char *s = get(f)->text[field];

	return s ? s : "-";
}

static struct card_stats stats(const struct fixture *f)
{
	struct card_stats s;

	card_stats(f->t, &s);
	return s;
}

#define DOCKER_TEXT                                                            \
	"{\"ID\":\"x\",\"Image\":\"sha256:0\",\"Name\":\"/shop_web_1\","       \
	"\"Config\":{\"Image\":\"nginx:1.25\",\"Labels\":"                     \
	"{\"com.docker.compose.project\":\"shop\","                            \
	"\"com.docker.compose.service\":\"web\",\"team\":\"a,b\","             \
	"\"tier\":\"1\"}}}"

static void reads_dockers(void **state)
{
	struct fixture *f = *state;

	put(f, DOCKER, DOCKER_TEXT);
	assert_string_equal(text(f, CARD_NAME), "shop_web_1");
	assert_string_equal(text(f, CARD_IMAGE), "nginx:1.25");
	assert_string_equal(text(f, CARD_COMPOSE_PROJECT), "shop");
	assert_string_equal(text(f, CARD_COMPOSE_SERVICE), "web");
	assert_string_equal(text(f, CARD_LABELS), "-");
	assert_string_equal(get(f)->source, DOCKER);
}

static void finds_docker_where_its_configuration_says(void **state)
{
	struct fixture *f = *state;

	put(f, "/etc/docker/daemon.json", "{\"data-root\": \"/data/d\"}");
	put(f, "/data/d/containers/" ID "/config.v2.json", DOCKER_TEXT);
	renew(f, 0, NULL, 0);
	assert_string_equal(text(f, CARD_NAME), "shop_web_1");
}

static void keeps_chosen_labels_encoded(void **state)
{
	char team[] = "team", t_all[] = "t*";
	char *labels[] = { team, t_all };
	struct fixture *f = *state;

	put(f, DOCKER, DOCKER_TEXT);
	renew(f, 0, labels, 1);
	assert_string_equal(text(f, CARD_LABELS), "team=a%2Cb");
	renew(f, 0, labels, 2);
	assert_string_equal(text(f, CARD_LABELS), "tier=1,team=a%2Cb");
}

static void reads_containerds(void **state)
{
	struct fixture *f = *state;

	put(f, TASKS ID "/config.json",
	    "{\"ociVersion\":\"1.0\",\"process\":{\"args\":[\"x\"]},"
	    "\"annotations\":{\"io.kubernetes.cri.container-name\":\"web\","
	    "\"io.kubernetes.cri.image-name\":\"r.example/web:1\","
	    "\"io.kubernetes.cri.sandbox-name\":\"shop-0\","
	    "\"io.kubernetes.cri.sandbox-namespace\":\"prod\","
	    "\"io.kubernetes.cri.sandbox-uid\":\"" UID "\"}}");
	assert_string_equal(text(f, CARD_NAME), "web");
	assert_string_equal(text(f, CARD_IMAGE), "r.example/web:1");
	assert_string_equal(text(f, CARD_POD), "shop-0");
	assert_string_equal(text(f, CARD_K8S_NAMESPACE), "prod");
	assert_string_equal(text(f, CARD_POD_UID), UID);
	assert_true(get(f)->first);
}

static void reads_crios_and_its_sandboxs(void **state)
{
	struct fixture *f = *state;

	put(f, STORED ID "/userdata/config.json",
	    "{\"annotations\":{\"io.kubernetes.cri-o.SandboxID\":\"" SANDBOX
	    "\",\"io.kubernetes.cri-o.ImageName\":\"r.example/web:1\","
	    "\"io.kubernetes.cri-o.Labels\":\"{\\\"io.kubernetes.container."
	    "name\\\":\\\"web\\\",\\\"io.kubernetes.pod.name\\\":\\\"shop-7d9f"
	    "8c6b5-x2x4z\\\",\\\"io.kubernetes.pod.namespace\\\":\\\"prod\\\"}"
	    "\"}}");
	put(f, STORED SANDBOX "/userdata/config.json",
	    "{\"annotations\":{\"io.kubernetes.cri-o.Labels\":\"{\\\"pod-"
	    "template-hash\\\":\\\"7d9f8c6b5\\\"}\",\"io.kubernetes.cri-o."
	    "Annotations\":\"{\\\"kubectl.kubernetes.io/default-container\\\":"
	    "\\\"web\\\",\\\"resource.opentelemetry.io/service.name\\\":"
	    "\\\"told\\\"}\"}}");
	assert_string_equal(text(f, CARD_NAME), "web");
	assert_string_equal(text(f, CARD_IMAGE), "r.example/web:1");
	assert_string_equal(text(f, CARD_POD), "shop-7d9f8c6b5-x2x4z");
	assert_string_equal(text(f, CARD_TEMPLATE_HASH), "7d9f8c6b5");
	assert_string_equal(text(f, CARD_MAIN), "web");
	assert_string_equal(text(f, CARD_OTEL_SERVICE), "told");
}

static void reads_podmans_list(void **state)
{
	struct fixture *f = *state;

	f->place.runtime = CGROUP_PODMAN;
	put(f, STORED ID "/userdata/config.json", "{\"annotations\":{}}");
	put(f, STORED "containers.json",
	    "[{\"id\":\"" ID2 "\",\"names\":[\"other\"]},"
	    "{\"id\":\"" ID "\",\"names\":[\"web\",\"alias\"],\"image\":\"1\","
	    "\"metadata\":\"{\\\"image-name\\\":\\\"localhost/web:2\\\"}\"}]");
	assert_string_equal(text(f, CARD_NAME), "web");
	assert_string_equal(text(f, CARD_IMAGE), "localhost/web:2");
}

static void link_log(struct fixture *f, const char *container, const char *id)
{
	char path[512];

	snprintf(path, sizeof(path),
		 "/var/log/pods/prod_shop-0_" UID "/%s/0.log", container);
	put(f, path, "");
	snprintf(path, sizeof(path),
		 "%s/var/log/containers/shop-0_prod_%s-%s.log", f->root,
		 container, id);
	make_folders(path);
	assert_int_equal(symlink("/nowhere", path), 0);
}

static void reads_the_kubelets_links(void **state)
{
	struct fixture *f = *state;

	strcpy(f->place.pod_uid, UID);
	link_log(f, "other-app", ID2);
	link_log(f, "web-app", ID);
	assert_string_equal(text(f, CARD_NAME), "web-app");
	assert_string_equal(text(f, CARD_POD), "shop-0");
	assert_string_equal(text(f, CARD_K8S_NAMESPACE), "prod");
	assert_string_equal(text(f, CARD_POD_UID), UID);
	/* Nothing tells that the other one runs. */
	assert_true(get(f)->first);
}

/* An init container is older and has ended; a sidecar is younger. */
static void knows_who_was_started_first(void **state)
{
	static const char annotations[] =
		"{\"annotations\":{\"io.kubernetes.cri.container-name\":\"%s\","
		"\"io.kubernetes.cri.sandbox-name\":\"shop-0\","
		"\"io.kubernetes.cri.sandbox-namespace\":\"prod\"}}";
	struct fixture *f = *state;
	char one[512];

	strcpy(f->place.pod_uid, UID);
	link_log(f, "init", SANDBOX);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	link_log(f, "web", ID);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	link_log(f, "proxy", ID2);
	snprintf(one, sizeof(one), annotations, "web");
	put(f, TASKS ID "/config.json", one);
	snprintf(one, sizeof(one), annotations, "proxy");
	put(f, TASKS ID2 "/config.json", one);
	assert_true(get(f)->first);
	strcpy(f->place.container, ID2);
	assert_false(get(f)->first);
	assert_string_equal(text(f, CARD_NAME), "proxy");
}

static void knows_machines_by_their_path(void **state)
{
	struct fixture *f = *state;

	f->place = (struct cgroup_place){ .runtime = CGROUP_MACHINE,
					  .container = "../../etc" };
	assert_string_equal(text(f, CARD_NAME), "../../etc");
	assert_string_equal(get(f)->source, "");
}

/* --- hostile files --- */

static void refuses_files_that_are_none_of_ours(void **state)
{
	struct fixture *f = *state;
	char path[512], *big = malloc(300000);

	memset(big, ' ', 300000);
	put_bytes(f, DOCKER, big, 300000);
	free(big);
	assert_string_equal(text(f, CARD_NAME), "-");
	assert_int_equal(stats(f).refused, 1);
	/* A FIFO without a writer must not stop us. */
	snprintf(path, sizeof(path), "%s%s", f->root, DOCKER);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	renew(f, 0, NULL, 0);
	assert_string_equal(text(f, CARD_NAME), "-");
	assert_int_equal(stats(f).refused, 1);
	assert_int_equal(stats(f).missing, 1);
}

static void stays_below_its_root(void **state)
{
	struct fixture *f = *state;
	char path[512], outside[128];

	snprintf(outside, sizeof(outside), "%s.outside", f->root);
	mkdir(outside, 0755);
	snprintf(path, sizeof(path), "%s/config.v2.json", outside);
	FILE *out = fopen(path, "w");
	fputs(DOCKER_TEXT, out);
	fclose(out);
	put(f, "/var/lib/docker/containers/x", "");
	snprintf(path, sizeof(path), "%s/var/lib/docker/containers/" ID,
		 f->root);
	assert_int_equal(symlink(outside, path), 0);
	assert_string_equal(text(f, CARD_NAME), "-");
	/* The same link, followed as the node would. */
	snprintf(path, sizeof(path), "%s/config.v2.json", outside);
	put(f, path, DOCKER_TEXT);
	renew(f, 0, NULL, 0);
	assert_string_equal(text(f, CARD_NAME), "shop_web_1");
	unlink(path);
	rmdir(outside);
}

static void takes_what_comes_before_the_damage(void **state)
{
	struct fixture *f = *state;

	for (size_t n = 0; n < sizeof(DOCKER_TEXT); n++) {
		put_bytes(f, DOCKER, DOCKER_TEXT, n);
		renew(f, 0, NULL, 0);
		get(f);
		assert_int_equal(stats(f).refused, n < sizeof(DOCKER_TEXT) - 1);
	}
}

/*
 * The longest that one card can keep the loop: all files as large as they may
 * be, and nothing in them. The best of some, as other programs run, too.
 */
static void reads_the_largest_files_within_its_budget(void **state)
{
	struct fixture *f = *state;
	size_t config = 256 << 10, list = 512 << 10;
	char *big = malloc(list);
	uint64_t best_ns = UINT64_MAX;

	memset(big, '"', list);
	for (size_t i = 0; i + 8 <= config; i += 8)
		memcpy(big + i, i ? "\"a\":{},\n" : "{\"b\":1,\n", 8);
	put_bytes(f, STORED ID "/userdata/config.json", big, config);
	memset(big, '{', list);
	put_bytes(f, STORED "containers.json", big, list);
	put_bytes(f, STORED "volatile-containers.json", big, list);
	free(big);
	for (int i = 0; i < 20; i++) {
		struct timespec from, to;
		uint64_t ns;

		renew(f, 0, NULL, 0);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		get(f);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 +
		     (uint64_t)to.tv_nsec - (uint64_t)from.tv_nsec;
		if (ns < best_ns)
			best_ns = ns;
	}
	print_message("%lu us\n", (unsigned long)(best_ns / 1000));
#ifndef __SANITIZE_ADDRESS__
	assert_in_range(best_ns, 0, CARD_IDLE_NS);
#endif
}

/* --- the table --- */

static void reads_each_container_once(void **state)
{
	struct fixture *f = *state;

	put(f, DOCKER, DOCKER_TEXT);
	for (int i = 0; i < 10; i++)
		get(f);
	assert_int_equal(stats(f).read, 1);
	strcpy(f->place.container, ID2);
	for (int i = 0; i < 10; i++)
		get(f);
	assert_int_equal(stats(f).missing, 1);
	assert_int_equal(stats(f).entries, 2);
}

static void forgets_what_was_unused_for_longest(void **state)
{
	struct fixture *f = *state;

	renew(f, 3, NULL, 0);
	for (int i = 0; i < 5; i++) {
		snprintf(f->place.container, sizeof(f->place.container),
			 "%064x", i);
		get(f);
		snprintf(f->place.container, sizeof(f->place.container),
			 "%064x", 0);
		get(f); /* the first is used all the time */
	}
	assert_int_equal(stats(f).entries, 3);
	assert_int_equal(stats(f).evicted, 2);
	assert_int_equal(stats(f).missing, 5);
}

static void reads_in_idle_time_what_will_be_needed(void **state)
{
	struct fixture *f = *state;

	put(f, DOCKER, DOCKER_TEXT);
	card_want(f->t, &f->place);
	card_want(f->t, &f->place);
	assert_int_equal(stats(f).read, 0);
	while (card_idle(f->t))
		;
	assert_int_equal(stats(f).read, 1);
	card_want(f->t, &f->place);
	assert_int_equal(card_idle(f->t), 0);
	for (int i = 0; i < 300; i++) {
		snprintf(f->place.container, sizeof(f->place.container),
			 "%064x", i);
		card_want(f->t, &f->place);
	}
	assert_int_equal(stats(f).unnoted, 300 - 256);
	while (card_idle(f->t))
		;
	assert_int_equal(stats(f).missing, 256);
	/* Without an id there is nothing to read. */
	f->place.container[0] = '\0';
	card_want(f->t, &f->place);
	assert_int_equal(card_idle(f->t), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(reads_dockers),
		T(finds_docker_where_its_configuration_says),
		T(keeps_chosen_labels_encoded),
		T(reads_containerds),
		T(reads_crios_and_its_sandboxs),
		T(reads_podmans_list),
		T(reads_the_kubelets_links),
		T(knows_who_was_started_first),
		T(knows_machines_by_their_path),
		T(refuses_files_that_are_none_of_ours),
		T(stays_below_its_root),
		T(takes_what_comes_before_the_damage),
		T(reads_the_largest_files_within_its_budget),
		T(reads_each_container_once),
		T(forgets_what_was_unused_for_longest),
		T(reads_in_idle_time_what_will_be_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
