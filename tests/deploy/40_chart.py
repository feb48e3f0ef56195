#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The chart and the manifests, offline, with helm and kubectl: lint, golden
renderings, Kustomize's base byte for byte, no value without effect, bad values
refused, every object valid against the schema of its kind and without a field
that the kind does not have, and the promises about privileges.
"""

import copy
import json
import re
import subprocess

from parts import KEPT, ROOT, Failure, Report, check, equal, fails, \
    node_modules, packages, run, tool

packages("python3-yaml")
import yaml  # noqa: E402

CHART = ROOT / "deploy/helm/redtap"
KUSTOMIZE = ROOT / "deploy/kustomize"
MODELS = ["kubernetes-models@5.1.0",
          "@kubernetes-models/prometheus-operator@6.0.0",
          "@kubernetes-models/cert-manager@6.0.0", "typescript@5.9"]
BASE = ["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"]

# What makes a value count that does not in the defaults.
CONTEXT = {
    "ingest.tls.secret": {"ingest.tls.mode": "secret",
                          "ingest.tls.secret.server": "a",
                          "ingest.tls.secret.agent": "b"},
    "ingest.tls.sharedName": {"ingest.tls.mode": "certManager"},
    "ingest.tls.certManager": {"ingest.tls.mode": "certManager"},
    "agent.outbox.hostPath": {"agent.outbox.type": "hostPath"},
    "agent.serviceAccount.name": {},
    "serviceMonitor": {"serviceMonitor.enabled": True},
    "prometheusRule": {"prometheusRule.enabled": True},
    "dashboard": {"dashboard.enabled": True},
}
# Another value for what is empty, or may be only one of a few.
OTHER = {
    "global.imageRegistry": "r.example", "image.registry": "r.example",
    "global.imagePullSecrets": [{"name": "pull"}],
    "image.repository": "other", "image.tag": "9",
    "image.digest": "sha256:" + "a" * 64, "image.pullPolicy": "Always",
    "nameOverride": "other", "fullnameOverride": "other",
    "ingest.tls.mode": "certManager",
    "ingest.tls.secret.server": "other", "ingest.tls.secret.agent": "other",
    "ingest.tls.sharedName": "other",
    "ingest.tls.certManager.issuerRef": {"name": "ca", "kind": "Issuer"},
    "ingest.tls.certManager.duration": "1h",
    "ingest.tls.certManager.renewBefore": "2h",
    "aggregator.service.type": "NodePort",
    "aggregator.persistence.existingClaim": "claim",
    "aggregator.persistence.storageClass": "fast",
    "aggregator.persistence.accessModes": ["ReadWriteOncePod"],
    "aggregator.persistence.size": "9Gi",
    "aggregator.webConfigSecret": "web",
    "agent.updateStrategy.type": "OnDelete",
    "agent.updateStrategy.rollingUpdate.maxUnavailable": "20%",
    "agent.appArmorProfile": "RuntimeDefault",
    "agent.outbox.type": "memory", "agent.outbox.cap": "8MiB",
    "agent.outbox.sizeLimit": "9Mi", "agent.outbox.hostPath": "/other",
    "serviceMonitor.interval": "9s", "serviceMonitor.scrapeTimeout": "8s",
    "serviceMonitor.scheme": "https",
    "serviceMonitor.tlsConfig": {"insecureSkipVerify": True},
    "serviceMonitor.basicAuth": {"username": {"name": "s", "key": "u"}},
    "serviceMonitor.metricRelabelings": [{"action": "drop"}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap",
                      "metadata": {"name": "{{ .Release.Name }}"}}],
    "extraArgs": ["--log.level=debug"], "config": {"log": {"level": "debug"}},
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraVolumes": [{"name": "v", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
    "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}],
    "affinity": {"nodeAffinity": {}}, "priorityClassName": "high",
    "serviceAccount.name": "other",
    "scrapeFrom": [{"namespaceSelector": {}}],
    "extraIngress": [{"ports": [{"port": 1}]}],
    "extraEgress": [{"ports": [{"port": 1}]}],
    "resources.requests.cpu": "1", "resources.requests.memory": "1Gi",
    "resources.limits.memory": "2Gi",
}
BAD = [  # each with a part of the sentence that refuses it
    ({"nonsense": 1}, "'nonsense' not allowed"),
    ({"agent.privileged": True}, "'privileged' not allowed"),
    ({"agent.hostNetwork": True}, "'hostNetwork' not allowed"),
    ({"image.pullPolicy": "Sometimes"}, "must be one of"),
    ({"image.digest": "sha256:xyz"}, "does not match pattern"),
    ({"image.repository": ""}, "minLength"),
    ({"ingest.tls.mode": "mtls"}, "must be one of"),
    ({"ingest.tls.mode": "secret"}, "/ingest/tls/secret/agent"),
    ({"ingest.tls.certManager.duration": "90d"}, "does not match pattern"),
    ({"aggregator.service.webPort": 70000}, "maximum"),
    ({"aggregator.service.type": "ExternalName"}, "must be one of"),
    ({"aggregator.persistence.size": "much"}, "does not match pattern"),
    ({"aggregator.persistence.accessModes": ["ReadOnlyMany"]},
     "must be one of"),
    ({"aggregator.podDisruptionBudget.maxUnavailable": "110%"}, "oneOf"),
    ({"agent.outbox.type": "disk"}, "must be one of"),
    ({"agent.outbox.cap": "64MB"}, "does not match pattern"),
    ({"agent.captureTls": "yes"}, "want boolean"),
    ({"agent.extraArgs": ["log.level=debug"]}, "does not match pattern"),
    ({"agent.terminationGracePeriodSeconds": 0}, "minimum"),
    ({"serviceMonitor.interval": "often"}, "does not match pattern"),
]


def nest(values):
    """{"a.b": c} as {"a": {"b": c}}."""
    out = {}
    for path, value in values.items():
        at = out
        *folders, last = path.split(".")
        for key in folders:
            at = at.setdefault(key, {})
        at[last] = value
    return out


def template(values=None, *argv):
    file = KEPT / "values.yaml"
    file.write_text(json.dumps(nest(values or {})))
    done = subprocess.run(
        [str(tool("helm")), "template", "redtap", str(CHART), "-n", "redtap",
         "-f", str(file), *argv], capture_output=True, text=True)
    if done.returncode:
        raise Failure(done.stderr[-1500:])
    return done.stdout


def objects(text):
    return [o for o in yaml.safe_load_all(text) if o]


def by_name(listed):
    return {(o["apiVersion"], o["kind"], o["metadata"]["name"]): o
            for o in listed}


def kustomized(folder):
    return run(tool("kubectl"), "kustomize", KUSTOMIZE / folder)


def lint():
    for values in [None, *sorted((CHART / "ci").glob("*.yaml"))]:
        said = run(tool("helm"), "lint", "--strict", CHART,
                   *(["-f", values] if values else []))
        check("0 chart(s) failed" in said, said)


def versions():
    """Of the chart: those of the next release; `make chart` takes the tag's."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    base = re.search(r"^VERSION_BASE := (\S+)$",
                     (ROOT / "Makefile").read_text(), re.M)[1]
    equal("versions", (chart["version"], chart["appVersion"]), (base, base))


def golden():
    out = KEPT / "rendered"
    run(ROOT / "deploy/helm/render.sh", out,
        env={"HELM": str(tool("helm")), "PATH": "/usr/bin:/bin"})
    made = [p for p in out.rglob("*.yaml")]
    check(len(made) == 5, f"{len(made)} renderings")
    for path in made:
        kept = ROOT / path.relative_to(out)
        check(kept.read_bytes() == path.read_bytes(),
              f"{kept} is not what the chart gives: make manifests")


def base():
    equal("base/redtap.yaml", (KUSTOMIZE / "base/redtap.yaml").read_text(),
          template())
    equal("objects", by_name(objects(kustomized("base"))),
          by_name(objects(template())))
    equal("objects with TLS", by_name(objects(kustomized("overlays/tls"))),
          by_name(objects(template({"ingest.tls.mode": "certManager"}))))
    added = set(by_name(objects(kustomized("overlays/namespace")))) - set(
        by_name(objects(kustomized("base"))))
    equal("what a namespace adds", added, {("v1", "Namespace", "redtap")})
    agent = [o for o in objects(kustomized("overlays/openshift"))
             if o["kind"] == "DaemonSet"][0]
    equal("SELinux", agent["spec"]["template"]["spec"]["containers"][0]
          ["securityContext"]["seLinuxOptions"], {"type": "spc_t"})


def leaves(at, path=""):
    for key, value in at.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield from leaves(value, here)
        else:
            yield here, value


def another(path, value):
    for n in range(path.count(".") + 1):
        short = path.split(".", n)[-1]
        if short in OTHER:
            return OTHER[short]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 7
    if value == {} or path.endswith(("labels", "Labels", "annotations")):
        return {"some": "thing"}
    if isinstance(value, str) and value:
        return value + "x"
    raise Failure(f"{path}: the test has no other value for {value!r}")


def no_dead_value():
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    tried = 0
    for path, value in leaves(defaults):
        context = next((dict(v) for k, v in CONTEXT.items()
                        if path.startswith(k)), {})
        if path.endswith(".enabled"):
            context.pop(path, None)
        before = template(context)
        after = template({**context, path: another(path, value)})
        check(before != after, f"{path} changes nothing")
        tried += 1
    print(f"# {tried} values", flush=True)


def bad_values():
    file = KEPT / "values.yaml"
    for values, part in BAD:
        file.write_text(json.dumps(nest(values)))
        said = fails(tool("helm"), "template", "redtap", CHART, "-f", file)
        said = said[said.find("values don't meet"):]
        check(part in said, f"{values}: {said[-400:]}")


def all_objects():
    out = []
    for values in [None, *sorted((CHART / "ci").glob("*.yaml"))]:
        out += objects(template({}, *(["-f", str(values)] if values else [])))
    for overlay in ("namespace", "tls", "openshift"):
        out += [o for o in objects(kustomized(f"overlays/{overlay}"))
                if o["kind"] != "SecurityContextConstraints"]
    return out


def judged(listed):
    """What the schemas say: their values (node), their fields (TypeScript)."""
    folder = node_modules(*MODELS)
    done = subprocess.run(
        ["node", str(ROOT / "tests/deploy/validate.mjs"), str(folder)],
        input=json.dumps(listed), capture_output=True, text=True)
    said = done.stdout + (done.stderr if done.returncode else "")
    lines = []
    for i, o in enumerate(listed):
        home = "kubernetes-models"
        if o["apiVersion"].startswith("monitoring.coreos.com"):
            home = "@kubernetes-models/prometheus-operator"
        if o["apiVersion"].startswith("cert-manager.io"):
            home = "@kubernetes-models/cert-manager"
        body = {k: v for k, v in o.items() if k not in ("apiVersion", "kind")}
        lines += [f'import {{ {o["kind"]} as K{i} }} from '
                  f'"{home}/{o["apiVersion"]}";',
                  f"export const x{i} = new K{i}({json.dumps(body)});"]
    (folder / "fields.mts").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck",
         "--module", "nodenext", "--moduleResolution", "nodenext",
         "--target", "es2022", "fields.mts"], cwd=folder,
        capture_output=True, text=True)
    return said + done.stdout


def valid():
    listed = all_objects()
    equal("complaints", judged(listed), "")
    print(f"# {len(listed)} objects", flush=True)
    # And the judges are awake.
    wrong = copy.deepcopy(next(o for o in listed if o["kind"] == "DaemonSet"))
    pod = wrong["spec"]["template"]["spec"]
    pod["hostPID"] = "yes"
    check("hostPID must be boolean" in judged([wrong]), "a text for a boolean")
    pod["hostPID"], pod["hostPIDs"] = True, True
    check("hostPIDs" in judged([wrong]), "a field that does not exist")


def privileges():
    for values in ({}, {"agent.captureTls": False}):
        for o in objects(template(values)):
            text = json.dumps(o)
            check('"privileged": true' not in text, o["kind"])
            check("hostNetwork" not in text and "hostIPC" not in text,
                  o["kind"])
            if o["kind"] not in ("DaemonSet", "StatefulSet"):
                continue
            pod = o["spec"]["template"]["spec"]
            equal("token", pod["automountServiceAccountToken"], False)
            context = pod["containers"][0]["securityContext"]
            equal("read-only root", context["readOnlyRootFilesystem"], True)
            equal("escalation", context["allowPrivilegeEscalation"], False)
            want = {"drop": ["ALL"]}
            if o["kind"] == "DaemonSet":
                want["add"] = BASE + ([] if values else ["SYS_ADMIN"])
            equal("capabilities", context["capabilities"], want)
            equal("host's processes", pod.get("hostPID", False),
                  o["kind"] == "DaemonSet")
    for o in objects(template()):
        check(o["kind"] not in ("ClusterRole", "Role", "ClusterRoleBinding"),
              "nothing asks the API, so nothing needs a role")
    # Before 1.30 AppArmor is an annotation.
    old = template({}, "--kube-version", "1.28")
    check("container.apparmor.security.beta.kubernetes.io/agent: unconfined"
          in old and "appArmorProfile" not in old, "AppArmor of old clusters")


def monitoring():
    listed = by_name(objects(template({
        "serviceMonitor.enabled": True, "prometheusRule.enabled": True,
        "dashboard.enabled": True})))
    endpoint = listed["monitoring.coreos.com/v1", "ServiceMonitor",
                      "redtap-aggregator"]["spec"]["endpoints"][0]
    equal("honorLabels", endpoint["honorLabels"], True)
    groups = listed["monitoring.coreos.com/v1", "PrometheusRule",
                    "redtap"]["spec"]["groups"]
    ours = []
    for name in ("rules", "alerts"):
        ours += yaml.safe_load((ROOT / f"deploy/prometheus/redtap.{name}.yml")
                               .read_text())["groups"]
    equal("rules", groups, ours)
    board = listed["v1", "ConfigMap", "redtap-dashboard"]["data"]["redtap.json"]
    equal("dashboard", json.loads(board), json.loads(
        (ROOT / "deploy/grafana/redtap.json").read_text()))


def main():
    report = Report()
    KEPT.mkdir(parents=True, exist_ok=True)
    for sentence, test in (
            ("helm lint is silent, whatever the values", lint),
            ("the chart's version is the next release's", versions),
            ("the renderings in the repository are what the chart gives",
             golden),
            ("the base of Kustomize is helm template, byte for byte, and both "
             "make the same objects", base),
            ("every value changes the output", no_dead_value),
            (f"{len(BAD)} bad values are refused by the schema, with a "
             "sentence", bad_values),
            ("every object is valid against its schema and has no unknown "
             "field", valid),
            ("nothing is privileged, on the host's network, or has a token; "
             "capabilities are exactly those of docs/SECURITY.md", privileges),
            ("ServiceMonitor, rules and dashboard are ours", monitoring)):
        with report.case(sentence):
            test()
    report.exit()


if __name__ == "__main__":
    main()
