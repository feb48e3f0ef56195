#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Containers by name: real ones in the cgroups of every runtime, what looks like a
container and is none, one case for each step of the order of names, sidecars,
containers that live for a moment. REDTAP_EACH is how many requests each gets.
"""

import os
import shutil
import subprocess

from boxes import Box, SERVER, Server, cri, kubelet_logs, need_runc, running
from harness import AGENT, AGGREGATOR, FAMILY, Redtap, Report, check, equal, \
    eventually, http_get, note, now, port_open

EACH = int(os.environ.get("REDTAP_EACH", "101"))
PORT = 21540
PYTHON = os.path.basename(os.path.realpath("/usr/bin/python3"))
UID = "6ff1f0a6-53c1-4f0b-8a17-3ac6c15e7b10"
UID_ = UID.replace("-", "_")
HASH = "1f2e3d4c5b6a79881f2e3d4c5b6a7988"

# A cgroup path of each kind; the container's name is its only difference.
PATHS = {
    "docker-cgroupfs": "/docker/{id}",
    "docker-systemd": "/system.slice/docker-{id}.scope",
    "kubelet-cgroupfs": f"/kubepods/burstable/pod{UID}/{{id}}",
    "kubelet-systemd": "/kubepods.slice/kubepods-burstable.slice/kubepods-"
    f"burstable-pod{UID_}.slice/cri-containerd-{{id}}.scope",
    "containerd-no-slice": "/system.slice/containerd.service/kubepods-"
    f"burstable-pod{UID_}.slice:cri-containerd:{{id}}",
    "static-pod": f"/kubepods/burstable/pod{HASH}/{{id}}",
    "crio-systemd": f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-{{id}}"
    ".scope",
    "crio-cgroupfs": f"/kubepods/pod{UID}/crio-{{id}}",
    "podman-systemd": "/machine.slice/libpod-{id}.scope",
    "podman-split": "/machine.slice/libpod-{id}.scope/container",
    "podman-cgroupfs": "/libpod_parent/libpod-{id}",
    "containerd-plain": "/default/{id}",
    "nerdctl": "/system.slice/nerdctl-{id}.scope",
    "kind": f"/docker/{'f' * 64}/kubelet.slice/kubelet-kubepods.slice/"
    f"kubelet-kubepods-burstable-pod{UID_}.slice/cri-containerd-{{id}}.scope",
    "docker-in-docker": f"/docker/{'e' * 64}/docker/{{id}}",
}
# Likewise; the name is in the path, and what it holds is a unit of its own.
MACHINES = {
    "lxc": ("/lxc.payload.web1/system.slice/it-lxc.service", "web1", "it-lxc"),
    "lxc-v1": ("/lxc/web2", "web2", "web2"),
    "machined": ("/machine.slice/machine-web\\x2d3.scope/payload", "web-3",
                 "web-3"),
    "nspawn": ("/machine.slice/systemd-nspawn@web4.service/payload/"
               "system.slice/it-nspawn.service", "web4", "it-nspawn"),
}
ALIKE = [
    "/user.slice/user-1000.slice/session-12.scope",
    "/user.slice/user-1000.slice/session-c1.scope",
    "/user.slice/user-1000.slice/user@1000.service/init.scope",
    "/user.slice/user-1000.slice/user@1000.service/app.slice/"
    "app-gnome-firefox-4321.scope",
    f"/user.slice/user-1000.slice/vte-spawn-{UID}.scope",
    f"/system.slice/run-r{HASH}.scope",
    "/machine.slice/libpod-conmon-{id}.scope",
    "/system.slice/crio-conmon-{id}.scope",
    "/lxc.monitor.web1",
    "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
    f"/kubepods/burstable/pod{UID}",
    "/system.slice/docker-{id}0.scope",
]


def served(m):
    """{(job, instance): requests served}."""
    out = {}
    for labels, n in m.select(FAMILY["server"] + "_count").items():
        labels = dict(labels)
        key = labels["job"], labels["instance"]
        out[key] = out.get(key, 0) + int(n)
    return {key: n for key, n in out.items() if n}


def told(m, job):
    """The attributes of the one target_info of a job."""
    found = [dict(k) for k in m.select("target_info", job=job)]
    equal(f"target_info of {job}", len(found), 1)
    return {k: v for k, v in found[0].items()
            if k not in ("job", "instance", "host_name",
                         "process_executable_name")}


def count(rt, servers):
    """Asks each EACH times; the difference that it makes."""
    before = rt.metrics()
    for server in servers:
        server.ask(EACH)
    m = rt.quiet()
    return m, m.minus(before)


def by_path(rt):
    boxes = [Server(rt.dir, path, PORT + i, env={"OTEL_SERVICE_NAME": name})
             for i, (name, path) in enumerate(PATHS.items())]
    with running(boxes):
        m, delta = count(rt, boxes)
    equal("requests by job and instance", served(delta), {
        (name, f"{rt.NODE}/{box.id[:12]}"): EACH
        for name, box in zip(PATHS, boxes)})
    for name, box in zip(PATHS, boxes):
        equal(f"container of {name}", told(m, name)["container_id"], box.id)


def machines(rt):
    boxes = [Server(rt.dir, path, PORT + i)
             for i, (path, _, _) in enumerate(MACHINES.values())]
    with running(boxes):
        m, delta = count(rt, boxes)
    equal("requests by job and instance", served(delta), {
        (job, f"{rt.NODE}/{name}"): EACH
        for _, name, job in MACHINES.values()})
    for _, name, job in MACHINES.values():
        equal(f"attributes of {job}", told(m, job),
              {"container_id": name, "container_name": name})


def look_alikes(rt):
    boxes = [Server(rt.dir, path, PORT + i) for i, path in enumerate(ALIKE)]
    with running(boxes):
        m, delta = count(rt, boxes)
    equal("requests by job and instance", served(delta),
          {(PYTHON, rt.NODE): EACH * len(ALIKE)})
    equal("attributes", told(m, PYTHON), {})


def shown(web):
    """The lines that say what was counted, and for whom."""
    body = http_get(web, "/metrics")[2].decode()
    names = "http_", "target_info", "redtap_http_"
    # Exemplars and own traffic aside, which a text of this format has none of.
    return [line for line in body.splitlines() if line.startswith(names)]


def replayed(rt):
    """What another aggregator shows that knows only the exported log."""
    trace = rt.dir / "log.trace"
    subprocess.run([AGGREGATOR, "export", "-o", trace, f"--store.dir={rt.store}",
                    "--from=1h"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    second = rt.spawn([AGGREGATOR, "serve", f"--store.dir={rt.dir}/second",
                       f"--web.listen-address=127.0.0.1:{PORT + 40}",
                       f"--ingest.listen=tcp://127.0.0.1:{PORT + 41}"],
                      "second")
    eventually("it listens", lambda: port_open(PORT + 41))
    done = subprocess.run([AGENT, "replay", f"--to=tcp://127.0.0.1:{PORT + 41}",
                           trace], capture_output=True, text=True)
    check(done.returncode == 0, "replay: " + done.stderr)
    out = shown(PORT + 40)
    equal("status", second.stop(), 0)
    return out


def pod(name):
    return f"/kubepods/burstable/pod{UID}/{{id}}", {"cri": True,
                                                    "annotations": name}


def order(rt):
    """One case for each step; the step before it says nothing."""
    deployment = "shop-7d9f8c6b5-x2x4z"
    key = "resource.opentelemetry.io/service."
    cases = [
        # expected job, expected instance ({id}: its first 12), path, arguments
        ("by-rule", None, "/docker/{id}", {"port": PORT}),
        ("eu/by-env", None, "/docker/{id}",
         {"env": {"OTEL_SERVICE_NAME": "by-env",
                  "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=eu"}}),
        ("told-ns/by-annotation", "told-id",
         *pod(cri(deployment, "prod", "app", **{
             key + "name": "by-annotation", key + "namespace": "told-ns",
             key + "instance.id": "told-id"}))),
        ("prod/shop", f"prod.{deployment}.app",
         *pod(cri(deployment, "prod", "app", **{
             "app.kubernetes.io/name": "not-asked-for"}))),
        ("prod/db-migrate", "prod.db-migrate-x7k2p.app",
         *pod(cri("db-migrate-x7k2p", "prod", "app"))),
        ("batch/report", "batch.report-29931160-b7c9d.app",
         *pod(cri("report-29931160-b7c9d", "batch", "app"))),
        ("prod/kafka", "prod.kafka-0.app", *pod(cri("kafka-0", "prod", "app"))),
        ("prod/bare-pod", "prod.bare-pod.app",
         *pod(cri("bare-pod", "prod", "app"))),
        ("by-name", None, "/default/{id}",
         {"cri": True, "annotations": {"nerdctl/name": "by-name"}}),
        ("by-unit", rt.NODE, "/system.slice/by-unit.service", {}),
        (PYTHON, rt.NODE, "/redtap-it", {}),
    ]
    boxes = []
    for i, (_, _, path, more) in enumerate(cases):
        more = dict(more)
        boxes.append(Server(rt.dir, path, more.pop("port", PORT + i), **more))
    with running(boxes):
        m, delta = count(rt, boxes)
        want = {}
        for (job, instance, _, _), box in zip(cases, boxes):
            want[job, instance or f"{rt.NODE}/{box.id[:12]}"] = EACH
        equal("requests by job and instance", served(delta), want)
        equal("attributes of shop", told(m, "prod/shop"), {
            "container_id": boxes[3].id, "k8s_pod_uid": UID,
            "k8s_pod_name": deployment, "k8s_namespace_name": "prod",
            "k8s_container_name": "app",
            "container_image_name": "registry.example/app:1"})
        before = shown(rt.web)
        equal("the aggregator's status", rt.aggregator.stop(), 0)
        rt.start_aggregator()
        equal("exposition after a restart", shown(rt.web), before)
        equal("exposition of a replay", replayed(rt), shown(rt.web))


def sidecar(rt):
    """A proxy and the application behind it, in one pod."""
    proxy = "import sys, http.client, http.server as h\n" \
        "class H(h.BaseHTTPRequestHandler):\n" \
        " protocol_version = 'HTTP/1.1'\n" \
        " def do_GET(self):\n" \
        "  c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[2]))\n" \
        "  c.request('GET', self.path)\n" \
        "  self.send_response(c.getresponse().status)\n" \
        "  self.end_headers()\n" \
        " def log_message(self, *a): pass\n" \
        "h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H)" \
        ".serve_forever()"
    name = "pay-5bf4d8f8c6-zzzzz"
    path = f"/kubepods/burstable/pod{UID}/{{id}}"
    app = Server(rt.dir, path, PORT, cri=True,
                 annotations=cri(name, "prod", "app"))
    front = Server(rt.dir, path, PORT + 1, cri=True,
                   argv=["/usr/bin/python3", "-c", proxy, PORT + 1, PORT],
                   annotations=cri(name, "prod", "front"))
    with kubelet_logs("prod", name, UID,
                      [("app", app.id), ("front", front.id)]), \
            running([app, front]):
        m, delta = count(rt, [front])
    equal("requests by job and instance", served(delta), {
        ("prod/pay", f"prod.{name}.app"): EACH,
        ("prod/pay/front", f"prod.{name}.front"): EACH})


def short_lived(rt):
    """A client that has gone when its requests are counted."""
    client = "import sys, time, http.client\n" \
        "t = time.monotonic()\n" \
        "c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))\n" \
        "for _ in range(7):\n" \
        " c.request('GET', '/')\n" \
        " c.getresponse().read()\n" \
        "time.sleep(max(0, 0.2 - time.monotonic() + t))"
    path = f"/kubepods/burstable/pod{UID}/{{id}}"
    server = Server(rt.dir, "/redtap-it", PORT)
    with running([server]):
        before, took = rt.metrics(), []
        for i in range(11):
            box = Box(rt.dir, path, ["/usr/bin/python3", "-c", client, PORT],
                      cri=True, annotations=cri(f"blink-{i}", "prod", "app"))
            began = now()
            box.run()
            took.append(now() - began)
            box.stop()
        delta = rt.quiet().minus(before)
    got = {}
    for labels, n in delta.select(FAMILY["client"] + "_count").items():
        labels = dict(labels)
        got[labels["job"], labels["instance"]] = int(n)
    got = {k: n for k, n in got.items() if n}
    equal("requests by job and instance", got,
          {("prod/blink", f"prod.blink-{i}.app"): 7 for i in range(11)})


def opted_in(rt):
    """The steps that are off unless asked for."""
    script = rt.dir / "orders.py"
    script.write_text(SERVER)
    script.chmod(0o644)
    labels = {"app.kubernetes.io/name": "by-label", "team": "blue, and red"}
    boxes = [
        Server(rt.dir, f"/kubepods/burstable/pod{UID}/{{id}}", PORT, cri=True,
               annotations=cri("shop-0", "prod", "app", **labels)),
        Server(rt.dir, "/redtap-it", PORT + 1,
               argv=["/usr/bin/python3", script, PORT + 1]),
    ]
    with running(boxes):
        m, delta = count(rt, boxes)
    equal("requests by job and instance", served(delta), {
        ("prod/by-label", "prod.shop-0.app"): EACH,
        ("orders", rt.NODE): EACH})
    equal("the chosen label", told(m, "prod/by-label")["k8s_pod_label_team"],
          "blue, and red")


def main():
    report = Report()
    with Redtap(web=21408) as rt:
        rt.config = ["routes: {cap: 1000}", "services:",
                     f"  - {{port: {PORT}, container: '*', executable: "
                     f"'{PYTHON}', service: by-rule}}"]
        with report.case("agent and aggregator start"):
            need_runc()
            rt.start()
        if report.failed or not shutil.which("runc"):
            report.exit()
        with report.case("each step of the order of names names its service, "
                         "and a restart keeps them: exact"):
            order(rt)
        rt.finish(report)
    with Redtap(web=21408) as rt:
        with report.case("they start without a rule"):
            rt.start()
        for sentence, case in [
                (f"{len(PATHS)} containers in the cgroups of every runtime "
                 "are known by their id: exact", by_path),
                (f"{len(MACHINES)} machines are known by their name, and "
                 "services in them by their unit: exact", machines),
                (f"{len(ALIKE)} look-alikes are no containers: exact",
                 look_alikes),
                ("proxy and application of a pod have a name each: N and N",
                 sidecar),
                ("a container that lives 200 ms is named: exact", short_lived)]:
            with report.case(sentence):
                case(rt)
        with report.case("no file of a runtime is refused"):
            m = rt.agents()
            # The loop may lose its CPU to others; test_card has the bound.
            note(f"{m.sum('redtap_agent_cards_slow_total'):.0f} of "
                 f"{m.sum('redtap_agent_cards_read_total'):.0f} cards took "
                 "over 1 ms")
            equal("files refused",
                  m.sum("redtap_agent_cards_refused_total"), 0)
        rt.finish(report)
    with Redtap(web=21408, agent_flags=[
            "--names.labels", "--names.scripts",
            "--names.container-label=team"]) as rt:
        with report.case("they start with labels and scripts"):
            rt.start()
        with report.case("labels and scripts name services where that is asked "
                         "for: exact"):
            opted_in(rt)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()
