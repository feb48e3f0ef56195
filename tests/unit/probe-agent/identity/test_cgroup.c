/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/cgroup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ID "0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b"
#define ID2 "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define UID "6ff1f0a6-53c1-4f0b-8a17-3ac6c15e7b10"
#define UID_ "6ff1f0a6_53c1_4f0b_8a17_3ac6c15e7b10"
#define HASH "1f2e3d4c5b6a79881f2e3d4c5b6a7988"

static const struct known {
	const char *text;
	enum cgroup_runtime runtime;
	const char *container, *pod_uid, *unit;
} known[] = {
	/* docker: cgroupfs and systemd, v1, v2 and both at once */
	{ "0::/docker/" ID "\n", CGROUP_DOCKER, ID, "", "" },
	{ "0::/system.slice/docker-" ID ".scope\n", CGROUP_DOCKER, ID, "", "" },
	{ "12:memory:/docker/" ID "\n1:name=systemd:/docker/" ID "\n0::/\n",
	  CGROUP_DOCKER, ID, "", "" },
	{ "0::/\n1:name=systemd:/system.slice/docker-" ID ".scope\n",
	  CGROUP_DOCKER, ID, "", "" },
	/* the kubelet, with each driver and class */
	{ "0::/kubepods/burstable/pod" UID "/" ID "\n", CGROUP_PLAIN, ID, UID,
	  "" },
	{ "0::/kubepods/pod" UID "/crio-" ID "\n", CGROUP_CRIO, ID, UID, "" },
	{ "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-"
	  "pod" UID_ ".slice/cri-containerd-" ID ".scope\n",
	  CGROUP_CONTAINERD, ID, UID, "" },
	{ "0::/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope\n",
	  CGROUP_CRIO, ID, UID, "" },
	{ "0::/kubepods.slice/kubepods-pod" UID_ ".slice/docker-" ID ".scope\n",
	  CGROUP_DOCKER, ID, UID, "" },
	{ "1:name=systemd:/system.slice/containerd.service/kubepods-burstable-"
	  "pod" UID_ ".slice:cri-containerd:" ID "\n",
	  CGROUP_CONTAINERD, ID, UID, "" },
	{ "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-"
	  "pod" HASH ".slice/cri-containerd-" ID ".scope\n",
	  CGROUP_CONTAINERD, ID, HASH, "" }, /* static pod */
	{ "0::/kubepods/burstable/pod" HASH "/" ID "\n", CGROUP_PLAIN, ID, HASH,
	  "" },
	/* podman */
	{ "0::/machine.slice/libpod-" ID ".scope\n", CGROUP_PODMAN, ID, "",
	  "" },
	{ "0::/machine.slice/libpod-" ID ".scope/container\n", CGROUP_PODMAN,
	  ID, "", "" },
	{ "9:pids:/libpod_parent/libpod-" ID "\n", CGROUP_PODMAN, ID, "", "" },
	{ "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID
	  ".scope/container\n",
	  CGROUP_PODMAN, ID, "", "" },
	/* others with 64 digits */
	{ "0::/default/" ID "\n", CGROUP_PLAIN, ID, "", "" },
	{ "0::/system.slice/nerdctl-" ID ".scope\n", CGROUP_CONTAINERD, ID, "",
	  "" },
	/* one inside of another: kind, docker in docker, a cgroup namespace */
	{ "0::/docker/" ID2 "/kubelet.slice/kubelet-kubepods.slice/"
	  "kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-"
	  "pod" UID_ ".slice/cri-containerd-" ID ".scope\n",
	  CGROUP_CONTAINERD, ID, UID, "" },
	{ "0::/docker/" ID2 "/kubelet/kubepods/burstable/pod" UID "/" ID "\n",
	  CGROUP_PLAIN, ID, UID, "" },
	{ "0::/docker/" ID2 "/docker/" ID "\n", CGROUP_DOCKER, ID, "", "" },
	{ "0::/../../pod" UID "/" ID "\n", CGROUP_PLAIN, ID, UID, "" },
	{ "0::/../cri-containerd-" ID ".scope\n", CGROUP_CONTAINERD, ID, "",
	  "" },
	/* machines, and the units in them */
	{ "0::/lxc.payload.web-1/system.slice/nginx.service\n", CGROUP_MACHINE,
	  "web-1", "", "nginx" },
	{ "4:cpu:/lxc/web-1\n", CGROUP_MACHINE, "web-1", "", "" },
	{ "0::/machine.slice/machine-db\\x2d1.scope/payload/system.slice/"
	  "postgres.service\n",
	  CGROUP_MACHINE, "db-1", "", "postgres" },
	{ "0::/machine.slice/systemd-nspawn@db.service/payload\n",
	  CGROUP_MACHINE, "db", "", "" },
	{ "0::/lxc.payload.c1/docker/" ID "\n", CGROUP_DOCKER, ID, "", "" },
	/* ids without a card */
	{ "0::/ecs/" HASH "/" HASH "-1234567\n", CGROUP_OTHER, HASH "-1234567",
	  "", "" },
	{ "0::/nomad.slice/" UID ".web.scope\n", CGROUP_OTHER, UID ".web", "",
	  "" },
	{ "0::/garden/" UID "\n", CGROUP_OTHER, UID, "", "" },
	/* units */
	{ "0::/system.slice/nginx.service\n", CGROUP_NONE, "", "", "nginx" },
	{ "1:name=systemd:/system.slice/sshd.service\n0::/\n", CGROUP_NONE, "",
	  "", "sshd" },
	{ "0::/system.slice/system-getty.slice/getty@tty1.service\n",
	  CGROUP_NONE, "", "", "getty@tty1" },
	/* a container's own unit, whatever runs the container */
	{ "0::/system.slice/containerd.service/" ID "/system.slice/a.service\n",
	  CGROUP_PLAIN, ID, "", "a" },
	{ "2:cpu:/docker/" ID "\n1:name=systemd:/system.slice/docker.service\n",
	  CGROUP_DOCKER, ID, "", "" },
};

/* What looks like a container, and is none. */
static const char *const alikes[] = {
	"0::/user.slice/user-1000.slice/session-12.scope\n",
	"0::/user.slice/user-1000.slice/user@1000.service/init.scope\n",
	"0::/init.scope\n",
	"0::/machine.slice/libpod-conmon-" ID ".scope\n",
	"0::/system.slice/crio-conmon-" ID ".scope\n",
	"0::/user.slice/user-1000.slice/session-c1.scope\n",
	"0::/system.slice/run-r" HASH ".scope\n",
	"0::/user.slice/user-1000.slice/user@1000.service/app.slice/"
	"app-gnome-firefox-4321.scope\n",
	"0::/user.slice/user-1000.slice/user@1000.service/app.slice/"
	"vte-spawn-" UID ".scope\n",
	"0::/lxc.monitor.web\n",
	"0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope\n",
	"0::/kubepods/burstable/pod" UID "\n",
	"0::/kubepods.slice/kubepods-pod" UID_ ".slice\n",
	"0::/system.slice/docker-" ID "0.scope\n",
	"0::/system.slice/docker-0A1B0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a"
	"1b0a1b0a1b0a1b0a1b.scope\n",
	"0::/docker\n",
	"0::/" HASH "\n",
	"0::/ecs/" HASH "\n",
	"",
	"\n",
	"0::",
	"::\n",
	"0:" ID "\n",
};

static void knows_every_runtimes_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		const struct known *k = &known[i];
		struct cgroup_place p;

		cgroup_parse(k->text, strlen(k->text), &p);
		if (p.runtime != k->runtime ||
		    strcmp(p.container, k->container) != 0 ||
		    strcmp(p.unit, k->unit) != 0 ||
		    strcmp(p.pod_uid, k->pod_uid) != 0)
			fail_msg("%s: %s, container '%s', pod '%s', unit '%s'",
				 k->text, cgroup_runtime_name(p.runtime),
				 p.container, p.pod_uid, p.unit);
	}
}

static void takes_nothing_that_only_looks_alike(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(alikes) / sizeof(*alikes); i++) {
		struct cgroup_place p;

		cgroup_parse(alikes[i], strlen(alikes[i]), &p);
		if (p.container[0] || p.runtime != CGROUP_NONE)
			fail_msg("%s: container '%s'", alikes[i], p.container);
		assert_string_equal(p.unit, "");
	}
}

/* Each prefix of each text, right before memory that must not be read. */
static void reads_no_byte_too_many(void **state)
{
	long page = sysconf(_SC_PAGESIZE);
	char *at = mmap(NULL, (size_t)page * 2, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(mprotect(at + page, (size_t)page, PROT_NONE), 0);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		size_t len = strlen(known[i].text);

		for (size_t n = 0; n <= len; n++) {
			struct cgroup_place p;

			memcpy(at + page - n, known[i].text, n);
			cgroup_parse(at + page - n, n, &p);
		}
	}
	munmap(at, (size_t)page * 2);
}

static void cuts_what_is_too_long(void **state)
{
	static char text[3000];
	struct cgroup_place p;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "0::/", 4);
	memcpy(text + 2000, ".service\n", 10);
	cgroup_parse(text, strlen(text), &p);
	assert_int_equal(strlen(p.unit), sizeof(p.unit) - 1);
	memcpy(text, "0::/lxc.payload.", 16);
	cgroup_parse(text, strlen(text), &p);
	assert_int_equal(strlen(p.container), CGROUP_ID_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_every_runtimes_paths),
		cmocka_unit_test(takes_nothing_that_only_looks_alike),
		cmocka_unit_test(reads_no_byte_too_many),
		cmocka_unit_test(cuts_what_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
