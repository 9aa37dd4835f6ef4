#!/usr/bin/env python3
"""Checks deploy/kubernetes offline: every object against the strict schemas of Kubernetes, and against its documentation.

    tests/class/kubernetes.py

Needs PyYAML and kubernetes-validate (tests/interop/requirements.txt). With `kustomize` on PATH (or $KUSTOMIZE) the objects
are those that it renders, with three learners, for a class and for hundreds; without it they are those of the files,
and the output says so.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUSTOMIZE = os.environ.get("KUSTOMIZE") or shutil.which("kustomize")
# The oldest minor version that this is held to, and the newest that the schemas know.
VERSIONS = ["1.31", "1.37"]
NAMES = ["ada", "grace.h", "lab_3"]
DOMAIN = "lab.example.org"
PODS = {"StatefulSet", "Deployment"}


def main():
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "insurewatch"
        for part in ["deploy", "grafana"]:
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("learners"))
        handout = learners(copy)
        if KUSTOMIZE:
            sets = {overlay: rendered(copy, overlay) for overlay in ["class", "hundreds"]}
        else:
            print("without kustomize: the files are checked, not what becomes of them")
            sets = {"files": from_files(copy)}
        for name, objects in sets.items():
            for check in CHECKS:
                check(objects)
            if KUSTOMIZE:
                for check in RENDERED_CHECKS:
                    check(objects, handout)
            print(f"{name}: {len(objects)} objects are valid for Kubernetes {' and '.join(VERSIONS)}")
        if KUSTOMIZE:
            one_tempo_or_its_parts(sets)
    files_are_listed()


def learners(copy):
    """What `learners.py` writes; a learner who joins later changes nothing for the others."""
    script, names = copy / "deploy/kubernetes/learners.py", copy / "names.txt"
    for count in [2, 3]:
        names.write_text("\n".join(NAMES[:count]))
        before = handed_out(copy) if count > 2 else []
        subprocess.run([sys.executable, script, "--names", names, "--domain", DOMAIN], check=True, stdout=subprocess.PIPE)
        now = handed_out(copy)
        same(now[:len(before)], before, "who is there keeps place and token")
    same([row["name"] for row in now], NAMES, "each name is a learner")
    same(len({row["token"] for row in now}), 3, "each has its own token")
    assert all(len(row["token"]) >= 20 for row in now), "a token cannot be guessed"
    for path in (copy / "deploy/kubernetes/learners").iterdir():
        same(path.stat().st_mode & 0o077, 0, f"{path.name} holds secrets: its owner alone reads it")
    return now


def handed_out(copy):
    with (copy / "deploy/kubernetes/learners/learners.csv").open() as file:
        return list(csv.DictReader(file))


def rendered(copy, overlay):
    output = subprocess.run([KUSTOMIZE, "build", copy / "deploy/kubernetes" / overlay], check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    return list(yaml.safe_load_all(output))


def from_files(copy):
    folder = copy / "deploy/kubernetes"
    texts = [path.read_text() for path in [*folder.glob("base/*.yaml"), folder / "learners/learners.yaml"]
             if path.name not in ("kustomization.yaml", "otel-collector-class.yaml")]
    return [it for text in texts for it in yaml.safe_load_all(text) if it]


def valid(objects):
    for it in objects:
        # `stringData` of a Secret and the like are in the schemas; what is not is a mistake in spelling.
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(it, version, strict=True)
            except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
                raise SystemExit(f"{name(it)}, Kubernetes {version}: {error}") from None


def restricted(objects):
    """Pod Security Standards, level restricted: https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    for it, pod in pods(objects):
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), f"{name(it)} stays in its pod"
        same(pod["securityContext"]["runAsNonRoot"], True, f"{name(it)} is not root")
        assert pod["securityContext"]["runAsUser"] > 0, f"{name(it)} is not root"
        same(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}, f"{name(it)}: system calls")
        same(pod["automountServiceAccountToken"], False, f"{name(it)} has no business with the API server")
        allowed = {"configMap", "emptyDir", "secret"}
        for volume in pod.get("volumes", []):
            assert volume.keys() - {"name"} <= allowed, f"{name(it)} mounts {volume}"
        for container in pod.get("initContainers", []) + pod["containers"]:
            same(container["securityContext"], {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                "capabilities": {"drop": ["ALL"]}}, f"{name(it)}: privileges")
            assert not any("hostPort" in port for port in container["ports"]), f"{name(it)} takes no port of its node"


def bounded(objects):
    for it, pod in pods(objects):
        for container in pod["containers"]:
            asked = container["resources"]
            assert asked["requests"].keys() == {"cpu", "memory"}, f"{name(it)} says what it needs"
            assert "memory" in asked["limits"], f"{name(it)} says what it takes at most"
            assert "readinessProbe" in container, f"{name(it)} says when it is ready"
        for volume in pod.get("volumes", []):
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], f"{name(it)}: {volume} is bounded"


def connected(objects):
    """Services lead to ports of existing pods, policies name existing pods."""
    labels = {it["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]: pod for it, pod in pods(objects)}
    for it in objects:
        if it["kind"] == "Service":
            pod = labels.get(it["spec"]["selector"].get("app.kubernetes.io/name"))
            if "statefulset.kubernetes.io/pod-name" in it["spec"]["selector"]:
                pod = labels["lab"]
            if pod:
                ports = {port["name"] for container in pod["containers"] for port in container["ports"]}
                assert all(port["targetPort"] in ports for port in it["spec"]["ports"]), f"{name(it)} leads nowhere"
    covered = {it["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/name")
               for it in objects if it["kind"] == "NetworkPolicy"}
    assert labels.keys() <= covered, f"{labels.keys() - covered} have no policy of their own"
    deny = next(it["spec"] for it in objects if it["kind"] == "NetworkPolicy" and it["metadata"]["name"] == "default-deny")
    same(deny, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, "what is not allowed is denied")


def for_each_learner(objects, handout):
    lab = one(objects, "StatefulSet", "lab")
    same(lab["spec"]["replicas"], len(NAMES), "a replica per learner")
    environment = {it["name"]: it.get("value") for it in lab["spec"]["template"]["spec"]["containers"][0]["env"]}
    same(environment["INSUREWATCH_ALLOWED_HOSTS"], f"$(POD_NAME),$(POD_NAME).{DOMAIN}", "the desk answers to its names")
    order = list(environment)
    assert order.index("POD_NAME") < order.index("INSUREWATCH_ALLOWED_HOSTS"), "a variable is known before it is used"
    secret = one(objects, "Secret", "learners")["stringData"]
    hosts = {rule["host"]: rule["http"]["paths"][0]["backend"]["service"]["name"]
             for rule in one(objects, "Ingress", "lab")["spec"]["rules"]}
    for row in handout:
        same(secret[f"{row['pod']}.token"], row["token"], "the token that is handed out is the desk's")
        same(secret[f"{row['pod']}.name"], row["name"], "so is the name")
        selector = one(objects, "Service", row["pod"])["spec"]["selector"]
        same(selector, {"statefulset.kubernetes.io/pod-name": row["pod"]}, "a Service leads to its learner's pod alone")
        same(hosts[row["desk"].split("/")[2]], row["pod"], "and so does a host of the Ingress")


def with_our_files(objects, _):
    """The ConfigMaps contain the files of the repository, and pods mount existing ConfigMaps."""
    maps = {it["metadata"]["name"]: it["data"] for it in objects if it["kind"] == "ConfigMap"}
    for start, key, path in [("otel-collector-", "config.yaml", "grafana/otel-collector.yaml"),
                             ("tempo-", "tempo.yaml", "grafana/tempo.yaml"),
                             ("grafana-datasources-", "datasources.yaml", "grafana/provisioning/datasources/datasources.yaml")]:
        texts = [data[key] for found, data in maps.items() if found.startswith(start) and key in data]
        same(texts, [(ROOT / path).read_text()], f"{path} is the one that compose mounts")
    for it, pod in pods(objects):
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps, f"{name(it)} mounts {volume}, which is not there"
    versions = dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if "_VERSION=" in line)
    images = {container["image"] for _, pod in pods(objects) for container in pod["containers"]}
    known = {f"insurewatch:{versions['INSUREWATCH_VERSION']}", f"grafana/tempo:{versions['TEMPO_VERSION']}",
             f"otel/opentelemetry-collector-contrib:{versions['COLLECTOR_VERSION']}",
             f"grafana/grafana:{versions['GRAFANA_VERSION']}"}
    assert images <= known, f"{images - known}: .env names {known}"


def one_tempo_or_its_parts(sets):
    tempo = {name: [it["kind"] for it in objects if it["metadata"]["name"] == "tempo"] for name, objects in sets.items()}
    assert "StatefulSet" in tempo["class"], "a class has one Tempo"
    assert "StatefulSet" not in tempo["hundreds"], "hundreds have that of the chart instead"
    service = one(sets["hundreds"], "Service", "tempo")["spec"]
    same(service["selector"]["app.kubernetes.io/component"], "query-frontend", "queries go to its frontend")
    same([port["port"] for port in service["ports"]], [3200], "and nothing else does")
    values = yaml.safe_load((ROOT / "deploy/kubernetes/hundreds/tempo-values.yaml").read_text())
    single = yaml.safe_load((ROOT / "grafana/tempo.yaml").read_text())
    for key, value in values["liveStore"]["config"].items():
        same(value, single["live_store"][key], f"live_store.{key} is that of grafana/tempo.yaml")
    cutoff = values["tempo"]["structuredConfig"]["query_frontend"]["query_end_cutoff"]
    same(cutoff, single["query_frontend"]["query_end_cutoff"], "fresh spans are found as fast")


def files_are_listed():
    listed = yaml.safe_load((ROOT / "grafana/kustomization.yaml").read_text())["configMapGenerator"]
    listed = {file for generator in listed for file in generator["files"]}
    for path in (ROOT / "grafana/dashboards").glob("*.json"):
        assert f"dashboards/{path.name}" in listed, f"grafana/kustomization.yaml leaves out {path.name}"


def pods(objects):
    for it in objects:
        if it["kind"] in PODS:
            yield it, it["spec"]["template"]["spec"]


def one(objects, kind, called):
    found = [it for it in objects if it["kind"] == kind and it["metadata"]["name"] == called]
    same(len(found), 1, f"{kind} {called}")
    return found[0]


def name(it):
    return f"{it['kind']} {it['metadata']['name']}"


def same(actual, expected, why):
    assert actual == expected, f"{why}: {json.dumps(actual)}, not {json.dumps(expected)}"


CHECKS = [valid, restricted, bounded, connected]
RENDERED_CHECKS = [for_each_learner, with_our_files]

if __name__ == "__main__":
    main()
