#!/usr/bin/env python3
"""Writes the learners of a class into `learners/`, which `class/` and `hundreds/` add to the labs.

    deploy/kubernetes/learners.py 30
    deploy/kubernetes/learners.py --names names.txt --domain lab.example.org

For each learner: a Service, a secret token for the desk and a name, which every span of the lab carries. Without a list
the names are lab-0, lab-1 and so on. With a domain there is an Ingress too, and learner 7's desk is
http://lab-7.lab.example.org.

`learners/learners.csv` has each learner's token and address. Run the script again with more names: learners who are listed
keep their place and their token. The tokens are secrets: do not commit `learners/`.
"""

import argparse
import csv
import json
import re
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "learners"
COLUMNS = ["pod", "name", "token", "desk"]
# What `insurewatch up --lab-name` takes.
NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
DOMAIN = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
MOST = 1000


def main():
    options = arguments()
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    handout = FOLDER / "learners.csv"
    known = list(csv.DictReader(handout.open())) if handout.exists() else []
    names = options.names or [f"lab-{ordinal}" for ordinal in range(options.count)]
    # A learner is a replica by its number: who is there already keeps it.
    kept = [row["name"] for row in known]
    names = kept + [name for name in names if name not in kept]
    if len(names) > MOST:
        sys.exit(f"{len(names)} learners: at most {MOST}")
    tokens = {row["name"]: row["token"] for row in known}
    learners = [learner(ordinal, name, tokens.get(name), options.domain) for ordinal, name in enumerate(names)]

    write(handout, lambda file: write_csv(file, learners))
    objects = [secret(learners), *map(service, learners)] + ([ingress(learners)] if options.domain else [])
    # JSON is YAML.
    write(FOLDER / "learners.yaml", lambda file: file.writelines(f"---\n{json.dumps(it, indent=1)}\n" for it in objects))
    write(FOLDER / "kustomization.yaml", lambda file: json.dump(component(learners, options.domain), file, indent=1))
    print(f"{len(learners)} learners, {len(learners) - len(known)} of them new: {handout}")


def arguments():
    parser = argparse.ArgumentParser(description="Writes the learners of a class.")
    parser.add_argument("count", nargs="?", type=int, help="how many, if they have no names")
    parser.add_argument("--names", type=Path, help="a file with one name a line")
    parser.add_argument("--domain", help="the domain whose subdomains lead to the cluster's Ingress")
    options = parser.parse_args()
    if (options.count is None) == (options.names is None):
        parser.error("either COUNT or --names")
    if options.count is not None and not 1 <= options.count <= MOST:
        parser.error(f"COUNT must be 1 to {MOST}")
    if options.domain and not DOMAIN.fullmatch(options.domain):
        parser.error(f"--domain: `{options.domain}` is no domain")
    if options.names:
        options.names = [line.strip() for line in options.names.read_text().splitlines() if line.strip()]
        for name in options.names:
            if not NAME.fullmatch(name):
                parser.error(f"--names: `{name}` must be 1 to 63 ASCII letters, digits, dots, dashes and underscores")
        if len(set(options.names)) < len(options.names) or not options.names:
            parser.error("--names: no name, or one twice")
    return options


def learner(ordinal, name, token, domain):
    pod = f"lab-{ordinal}"
    # Without an Ingress: kubectl port-forward.
    desk = f"http://{pod}.{domain}/" if domain else "http://127.0.0.1:7700/"
    return dict(zip(COLUMNS, [pod, name, token or secrets.token_urlsafe(16), desk]))


def secret(learners):
    data = {f"{it['pod']}.{key}": it[key] for it in learners for key in ("name", "token")}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "learners"}, "type": "Opaque", "stringData": data}


def service(learner):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": learner["pod"]},
            "spec": {"selector": {"statefulset.kubernetes.io/pod-name": learner["pod"]},
                     "ports": [{"name": "desk", "port": 7700, "targetPort": "desk"}]}}


def ingress(learners):
    def rule(it):
        backend = {"service": {"name": it["pod"], "port": {"name": "desk"}}}
        return {"host": it["desk"].split("/")[2], "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "lab"},
            "spec": {"rules": [rule(it) for it in learners]}}


def component(learners, domain):
    patches = [{"op": "replace", "path": "/spec/replicas", "value": len(learners)}]
    if domain:
        # By its place in the list: a merge would put it before POD_NAME, which it uses.
        env = "/spec/template/spec/containers/0/env/1"
        patches += [{"op": "test", "path": f"{env}/name", "value": "INSUREWATCH_ALLOWED_HOSTS"},
                    {"op": "replace", "path": f"{env}/value", "value": f"$(POD_NAME),$(POD_NAME).{domain}"}]
    return {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "namespace": "insurewatch",
            "resources": ["learners.yaml"],
            "patches": [{"target": {"kind": "StatefulSet", "name": "lab"}, "patch": json.dumps(patches)}]}


def write_csv(file, learners):
    rows = csv.DictWriter(file, COLUMNS)
    rows.writeheader()
    rows.writerows(learners)


def write(path, fill):
    """A file that only its owner can read."""
    path.touch(mode=0o600)
    with path.open("w", newline="") as file:
        fill(file)


if __name__ == "__main__":
    main()
