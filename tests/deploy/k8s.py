#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Installs the chart in the cluster of $KUBECONFIG, in a namespace of its own that is
deleted again, and compares: requests of a client pod = counted, under the names
of the server's Deployment, pod and container. IMAGE is redtap's image, which
the cluster's nodes can pull or have; SERVER an image with python3.
"""

import contextlib
import json
import os
import re
import subprocess
import time

from parts import ROOT, Failure, Report, check, equal, eventually, run, tool
from boxes import SERVER

EACH = 1009
NS = "redtap-test-" + format(int(time.time()) % 100000, "05d")
CLIENT = "import sys, time, http.client\n" \
    "while True:\n" \
    " try:\n" \
    "  c = http.client.HTTPConnection('shop', 8080, timeout=5)\n" \
    "  c.connect()\n" \
    "  break\n" \
    " except OSError: time.sleep(0.5)\n" \
    "for _ in range(int(sys.argv[1])):\n" \
    " c.request('GET', '/')\n" \
    " assert c.getresponse().status == 204\n"


def kubectl(*argv, text=None):
    done = subprocess.run([str(tool("kubectl")), "-n", NS, *map(str, argv)],
                          input=text, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"kubectl {argv}: {done.stderr[-1500:]}")
    return done.stdout


def pod(name, argv, **more):
    return {"metadata": {"labels": {"app": name}}, "spec": {
        "containers": [{"name": "app", "command": ["python3", "-c", *argv],
                        "image": os.environ.get("SERVER",
                                                "python:3.13-slim")}],
        **more}}


def objects():
    server = SERVER.replace("127.0.0.1", "0.0.0.0")
    return {"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment",
         "metadata": {"name": "shop"}, "spec": {
             "selector": {"matchLabels": {"app": "shop"}},
             "template": pod("shop", [server, "8080"])}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
         "spec": {"selector": {"app": "shop"}, "ports": [{"port": 8080}]}}]}


def metrics():
    return kubectl("get", "--raw", f"/api/v1/namespaces/{NS}/services/"
                   "redtap-aggregator:web/proxy/metrics")


def counted(text, job):
    return sum(int(float(line.rsplit(" ", 1)[1]))
               for line in text.splitlines() if line.startswith(
                   "http_server_request_duration_seconds_count{")
               and f'job="{job}"' in line)


def install():
    image = os.environ["IMAGE"]
    name, tag = image.rsplit(":", 1)
    kubectl("create", "namespace", NS)
    kubectl("label", "namespace", NS,
            "pod-security.kubernetes.io/enforce=privileged")
    run(tool("helm"), "install", "redtap", ROOT / "deploy/helm/redtap", "-n",
        NS, "--set", f"image.repository={name},image.tag={tag}", "--set",
        "aggregator.persistence.enabled=false", "--wait", "--timeout", "3m")
    nodes = len(json.loads(kubectl("get", "nodes", "-o", "json"))["items"])
    eventually("every node's agent is up", lambda: len(re.findall(
        r"^redtap_agent_up\S* 1$", metrics(), re.M)) == nodes, 120)


def counts():
    kubectl("apply", "-f", "-", text=json.dumps(objects()))
    kubectl("rollout", "status", "deployment/shop", "--timeout=3m")
    job = {"apiVersion": "batch/v1", "kind": "Job",
           "metadata": {"name": "client"}, "spec": {
               "template": pod("client", [CLIENT, str(EACH)],
                               restartPolicy="Never"), "backoffLimit": 0}}
    kubectl("apply", "-f", "-", text=json.dumps(job))
    kubectl("wait", "--for=condition=complete", "job/client", "--timeout=3m")
    name = f"{NS}/shop"
    eventually("all are counted",
               lambda: counted(metrics(), name) >= EACH, 30)
    text = metrics()
    equal("requests", counted(text, name), EACH)
    info = next(line for line in text.splitlines()
                if line.startswith("target_info{") and f'job="{name}"' in line)
    got = json.loads(kubectl("get", "pods", "-l", "app=shop", "-o",
                             "json"))["items"][0]
    equal("pod", re.search(r'k8s_pod_name="([^"]*)"', info)[1],
          got["metadata"]["name"])
    equal("uid", re.search(r'k8s_pod_uid="([^"]*)"', info)[1],
          got["metadata"]["uid"])
    check('k8s_container_name="app"' in info, info)


def main():
    report = Report()
    file = os.environ.get("KUBECONFIG", "")
    if not file or not os.path.exists(file):
        report.skip("the chart in a cluster",
                    "none is named: make k8s KUBECONFIG=FILE IMAGE=NAME:TAG")
        report.exit()
    try:
        with report.case("the chart installs, and the agents of all nodes are "
                         "heard"):
            install()
        if not report.failed:
            with report.case(f"{EACH} requests are {EACH} counted, under "
                             "namespace, Deployment, pod and container"):
                counts()
    finally:
        with contextlib.suppress(Failure):
            kubectl("delete", "namespace", NS, "--wait=false")
    report.exit()


if __name__ == "__main__":
    main()
