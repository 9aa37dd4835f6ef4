#!/usr/bin/env python3
"""Checks compose.yaml and grafana/ against the binary. Needs PyYAML and the binary, but neither Docker nor a network.

    tests/interop/stack_files.py

$INSUREWATCH names the binary (default: target/debug/insurewatch). $OTELCOL (default: `otelcol-contrib` or `otelcol` on
PATH) validates the Collector's files; without it that one test is skipped, and says so.
"""

import json
import os
import re
import shutil
import subprocess
import unittest
import urllib.parse
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
INSUREWATCH = os.environ.get("INSUREWATCH", str(ROOT / "target/debug/insurewatch"))
OTELCOL = os.environ.get("OTELCOL") or shutil.which("otelcol-contrib") or shutil.which("otelcol")
ENV = dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if line and line[0] != "#")
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text()
LOGS_TEXT = (ROOT / "compose.logs.yaml").read_text()
ORIGINALS_TEXT = (ROOT / "compose.originals.yaml").read_text()


def filled(text):
    return yaml.safe_load(re.sub(r"\$\{(\w+)\}", lambda found: ENV[found[1]], text))


def merged(base, over):
    """One service of both files, as compose puts them together: environment, what is waited for and volumes add up."""
    added = {key: base.get(key, {}) | over.get(key, {}) for key in ("environment", "depends_on", "healthcheck")}
    return base | over | added | {"volumes": base.get("volumes", []) + over.get("volumes", [])}


LOGGED = filled(LOGS_TEXT)
SERVICES = filled(COMPOSE_TEXT)["services"]
REAL = filled(ORIGINALS_TEXT)
REAL_STACK = SERVICES | {name: merged(SERVICES[name], over) for name, over in REAL["services"].items()}
LANGUAGES = {"python-api": "python", "java-claims": "java", "node-policy-store": "node"}
# The second file adds services to the first, and has ours log elsewhere.
SERVICES |= {name: service for name, service in LOGGED["services"].items() if name not in SERVICES}
VOLUMES = set(filled(COMPOSE_TEXT)["volumes"]) | set(LOGGED["volumes"])
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("insurewatch:")}
BUILT = {name: service for name, service in SERVICES.items() if service["image"].startswith("insurewatch")}
DASHBOARDS = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "grafana/dashboards").glob("*.json"))}
SEAT_PORTS = {name: OURS[name]["command"][-1].rpartition(":")[2] for name in LANGUAGES}
SEAT_URL = "http://{}:{}/healthz"
VERSION = re.compile(r"v?\d+\.\d+\.\d+(-alpine)?")


def rust_sources():
    return "".join(path.read_text() for path in ROOT.glob("crates/*/src/**/*.rs"))


def environment(service):
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def mounts(service):
    """Source, target and mode of every mount."""
    return [(mount + ":rw").split(":")[:3] for mount in service.get("volumes", [])]


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


class Compose(unittest.TestCase):
    def test_every_command_parses(self):
        """--help comes last: arguments before it are checked first."""
        def code(command):
            return subprocess.run([INSUREWATCH, *command, "--help"], capture_output=True).returncode
        self.assertNotEqual(code(["serve", "nobody"]), 0, "a wrong command must not pass this test")
        self.assertNotEqual(code(["serve", "desk", "--listen", "0.0.0.0:many"]), 0, "nor a wrong option")
        for name, service in OURS.items():
            self.assertEqual(code(service["command"]), 0, f"{name}: {service['command']}")
            health = service["healthcheck"]["test"]
            self.assertEqual(health[:2], ["CMD", "insurewatch"], f"{name}: the image has no shell")
            self.assertEqual(code(health[2:]), 0, f"{name}: {health}")
            self.assertEqual(service["command"][:2], ["serve", name], "one spelling each, everywhere")

    def test_every_mounted_file_exists(self):
        named = VOLUMES
        for name, service in SERVICES.items():
            for source, _, _ in mounts(service):
                if source.startswith("./"):
                    self.assertTrue((ROOT / source).exists(), f"{name} mounts {source}")
                elif not source.startswith("/"):
                    self.assertIn(source, named, f"{name} mounts {source}")
        used = {source for service in SERVICES.values() for source, _, _ in mounts(service)}
        self.assertEqual(named - used, set(), "a volume that nobody mounts")

    def test_every_variable_is_read(self):
        sources = rust_sources()
        for name, service in SERVICES.items():
            mounted = [ROOT / source for source, _, _ in mounts(service) if source.startswith("./")]
            configuration = "".join(path.read_text() for path in mounted if path.is_file())
            for variable in environment(service):
                if name in OURS:
                    self.assertIn(f'"{variable}"', sources, f"{name}: no source of ours reads {variable}")
                elif name == "grafana":
                    self.assertRegex(variable, r"^GF_[A-Z]+_[A-Z_]+$", "Grafana reads GF_SECTION_KEY")
                else:
                    self.assertRegex(configuration, r"\$\{(env:)?" + variable + r"\b", f"{name}: {variable} is not read")

    def test_env_file_and_compose_agree(self):
        asked = set(re.findall(r"\$\{(\w+)", COMPOSE_TEXT + LOGS_TEXT + ORIGINALS_TEXT))
        self.assertEqual(asked - set(ENV), set(), "compose.yaml asks for what .env does not have")
        self.assertEqual(set(ENV) - asked, set(), ".env has what compose.yaml does not ask for")
        arguments = dict(re.findall(r"^ARG (\w+)=(\S+)", (ROOT / "Dockerfile").read_text(), re.M))
        for name, value in arguments.items():
            self.assertEqual(value, ENV[name], f"the default of {name} in the Dockerfile")

    def test_every_image_is_pinned(self):
        for name, service in SERVICES.items():
            tag = service["image"].rpartition(":")[2]
            self.assertRegex(tag, f"^{VERSION.pattern}$", f"{name}: {service['image']}")
        stages = {"scratch"}
        for image, stage in re.findall(r"^FROM (\S+)(?: AS (\S+))?", (ROOT / "Dockerfile").read_text(), re.M):
            if image not in stages:
                self.assertRegex(image, r":\$\{\w+_VERSION\}", "every base image is pinned in .env")
            stages.add(stage)

    def test_every_tag_is_built_once(self):
        """Services that build one tag side by side fail with the containerd image store: it "already exists"."""
        building = [service["image"] for service in SERVICES.values() if "build" in service]
        self.assertEqual(sorted(building), sorted({service["image"] for service in BUILT.values()}))
        for name, service in BUILT.items():
            self.assertEqual(service["pull_policy"], "never", f"no registry has {name}'s image")
        for name in OURS.keys() - {"desk"}:
            self.assertIn("desk", self.waited_for(name), f"{name} must wait for who builds its image")

    def test_the_image_is_built_from_all_that_the_binary_is(self):
        """The context of the build leaves out what .dockerignore does not name, and a file that is included is then missing."""
        kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        included = set()
        for source in ROOT.glob("crates/*/src/**/*.rs"):
            # Tests come last in a file, and are not in the image.
            for path in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text().split("#[cfg(test)]")[0]):
                included.add(os.path.relpath(source.parent / path, ROOT))
        self.assertIn("docs/glossary.md", included, "the desk's glossary is in the binary")
        missing = [path for path in included if not any(path == name or path.startswith(f"{name}/") for name in kept)]
        self.assertEqual(missing, [], "the build of the image does not get them")

    def waited_for(self, name):
        needed = SERVICES[name].get("depends_on", {})
        return set(needed).union(*map(self.waited_for, needed))

    def test_up_can_tell_who_does_not_start(self):
        for name, service in SERVICES.items():
            self.assertIn("healthcheck", service, f"`up --wait` takes {name} for started while it crashes")

    def test_nobody_has_more_rights_than_needed(self):
        for name, service in SERVICES.items():
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertNotIn("cap_add", service, name)
            self.assertIn("no-new-privileges:true", service["security_opt"], name)
            self.assertNotRegex(service.get("user", ""), "^(0|root)", f"{name} runs as root")
            for source, target, mode in mounts(service):
                self.assertFalse(source.startswith("/"), f"{name} mounts {source} of this machine")
                if source.startswith("./"):
                    self.assertEqual(mode, "ro", f"{name} may write to {source}")
        self.assertTrue(all(service.get("read_only") for service in BUILT.values()), "ours write to volumes only")
        self.assertIn("USER 10001", (ROOT / "Dockerfile").read_text(), "and are not root")
        self.assertIn("user", SERVICES["nats"], "its image is root's")

    def test_only_loopback_is_published(self):
        published = []
        for name, service in SERVICES.items():
            self.assertEqual(service.get("network_mode", "bridge"), "bridge", f"{name} would listen on the machine itself")
            for port in service.get("ports", []):
                self.assertRegex(str(port), r"^127\.0\.0\.1:\d+:\d+$", f"{name} publishes {port}")
                published.append(str(port).split(":")[1])
        self.assertEqual(len(published), len(set(published)), f"a port is published twice: {published}")

    def test_loopback_is_claimed_only_where_it_is_so(self):
        claiming = [name for name, it in SERVICES.items() if "INSUREWATCH_PUBLISHED_ON_LOOPBACK" in environment(it)]
        self.assertEqual(claiming, ["desk"], "only the desk asks for a token otherwise")
        ports = SERVICES["desk"]["ports"]
        self.assertTrue(ports and all(port.startswith("127.0.0.1:") for port in ports), f"it is not so: {ports}")

    def test_urls_name_services_that_listen_there(self):
        listening = {name: service["command"][-1].rpartition(":")[2] for name, service in OURS.items()}
        listening |= {"nats": "4222", "otel-collector": "4318", "tempo": "3200", "grafana": "3000"}
        for name, service in OURS.items():
            for variable, value in environment(service).items():
                for host, port in re.findall(r"(?:http|nats)://([\w.-]+):(\d+)", value):
                    if host != "127.0.0.1":
                        self.assertEqual(listening.get(host), port, f"{name}: {variable}={value}")
            url = service["healthcheck"]["test"][-1]
            self.assertIn(f"127.0.0.1:{listening[name]}/", url, f"{name} asks itself: {url}")

    def test_no_two_services_share_a_database(self):
        owners = {}
        for name, service in SERVICES.items():
            for source, _, mode in mounts(service):
                if not source.startswith(("/", "./")) and mode == "rw":
                    self.assertNotIn(source, owners, f"{name} and {owners.get(source)} both write to {source}")
                    owners[source] = name
            for target in re.findall(r"sqlite:///(\w+)/", " ".join(environment(service).values())):
                self.assertIn([f"/{target}", "rw"], [mount[1:] for mount in mounts(service)], f"{name}'s database is kept")
        self.assertEqual(owners["settings"], "desk", "the desk writes the active settings, everybody else reads them")

    def test_nobody_grows_without_bound(self):
        for name, service in SERVICES.items():
            self.assertRegex(service.get("mem_limit", ""), r"^\d+m$", f"{name} has a memory limit")
            self.assertGreater(service.get("pids_limit", 0), 0, f"{name} has a limit of processes")
            self.assertIn("max-size", service["logging"]["options"], f"{name}'s log is rotated")

    def test_logs_of_ours_alone_go_to_the_collector_that_is_published_for_them(self):
        logged = {name for name, service in LOGGED["services"].items() if service["logging"]["driver"] == "fluentd"}
        self.assertEqual(logged, set(OURS), "all of ours, and nobody else")
        address = LOGGED["x-logged"]["logging"]["options"]["fluentd-address"]
        self.assertIn(f"{address}:24224", SERVICES["logs-collector"]["ports"], "where the engine finds it")

    def test_who_is_waited_for_can_say_that_it_is_ready(self):
        for name, service in SERVICES.items():
            for needed, how in service.get("depends_on", {}).items():
                if how["condition"] == "service_healthy":
                    self.assertIn("healthcheck", SERVICES[needed], f"{name} waits for {needed}")


class Originals(unittest.TestCase):
    def test_they_are_told_what_the_seats_need(self):
        for name, language in LANGUAGES.items():
            printed = subprocess.run([INSUREWATCH, "seat", name, "--language", language, "--format", "compose"],
                                     capture_output=True, text=True, check=True).stdout
            needed = environment(yaml.safe_load(printed)["services"][name])
            # They know the built-in queue alone.
            needed.pop("QUEUE_URL", None)
            told = environment(REAL_STACK[name])
            for variable, value in needed.items():
                self.assertEqual(told.get(variable), value, f"{name}: {variable}")
        seats = "".join(f"{name}={SEAT_URL.format(name, port)}," for name, port in SEAT_PORTS.items())
        self.assertEqual(environment(REAL_STACK["desk"])["INSUREWATCH_SEATS"], seats.rstrip(","), "the desk knows all of them")

    def test_they_have_no_more_rights_than_the_stand_ins_and_their_limits(self):
        for name in LANGUAGES:
            service = REAL_STACK[name]
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertTrue(service["read_only"], f"{name} writes to volumes and /tmp only")
            self.assertEqual([mount.split(":")[0] for mount in service["tmpfs"]], ["/tmp"], name)
            self.assertGreater(service["pids_limit"], 0, f"{name} has a limit of processes")
            self.assertRegex(REAL["services"][name]["mem_limit"], r"^\d+m$", f"{name} needs more memory than the stand-in")
            self.assertEqual(service["healthcheck"]["test"], ["CMD", "healthy"], f"{name} can be waited for")
            self.assertEqual(service["pull_policy"], "never", f"no registry has {name}'s image")
            self.assertEqual(service["command"], [], f"the stand-in's command would be given to {name}")

    def test_their_images_are_pinned_built_from_what_is_there_and_not_root(self):
        for name in LANGUAGES:
            build = REAL["services"][name]["build"]
            context = ROOT / build["context"]
            text = (context / build["dockerfile"]).read_text()
            for variable, value in re.findall(r"^ARG (\w+)=(\S+)", text, re.M):
                self.assertEqual(value, ENV[variable], f"{name}: the default of {variable}")
                self.assertEqual(build["args"].get(variable), ENV[variable], f"{name}: {variable} is handed in")
            for image in re.findall(r"^FROM (\S+)", text, re.M):
                self.assertRegex(image, r":\$\{\w+_VERSION\}", f"{name}: {image} is pinned in .env")
            self.assertEqual(re.findall(r"^USER (.+)", text, re.M), ["10001:10001"], f"{name} is not root")
            self.assertIn("ENTRYPOINT [", text, f"{name}: an empty command leaves it as it is")
            self.assertRegex(text, rf"(?m)^ENV .*PORT={SEAT_PORTS[name]}\b", f"{name} listens where it is called")
            for source in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.M):
                for pattern in source.split():
                    self.assertTrue(list(context.glob(pattern)), f"{name} copies {pattern}")

    def test_the_queue_is_one_file_that_both_ends_know(self):
        paths = set()
        for name in ("java-claims", "claims-worker"):
            url = environment(REAL_STACK[name])["QUEUE_URL"]
            folder, _, file = url.removeprefix("sqlite://").rpartition("/")
            self.assertIn(["queue", folder, "rw"], mounts(REAL_STACK[name]), f"{name} has the queue's volume at {folder}")
            paths.add(file)
        self.assertEqual(paths, {"queue.db"})
        self.assertIn("claims-worker", REAL_STACK["python-api"]["depends_on"], "who makes the queue runs before the first claim")


class Grafana(unittest.TestCase):
    def test_only_its_own_name_is_served(self):
        """It has no login; a web page whose name points to loopback (DNS rebinding) must get nothing."""
        grafana = environment(SERVICES["grafana"])
        self.assertEqual(grafana["GF_SERVER_ENFORCE_DOMAIN"], "true")
        self.assertEqual(grafana["GF_SERVER_DOMAIN"], "127.0.0.1")
        published = SERVICES["grafana"]["ports"][0].rpartition(":")[0]
        self.assertEqual(grafana["GF_SERVER_ROOT_URL"], f"http://{published}/", "where others are redirected to")

    def test_data_sources_that_panels_name_are_provisioned(self):
        file = yaml.safe_load((ROOT / "grafana/provisioning/datasources/datasources.yaml").read_text())
        known = {source["uid"]: source["type"] for source in file["datasources"]}
        for source in file["datasources"]:
            host = re.fullmatch(r"http://([\w-]+):\d+", source["url"])[1]
            self.assertIn(host, SERVICES, f"{source['name']} is a service of compose")
        for name, dashboard in DASHBOARDS.items():
            for panel in panels(dashboard):
                for asking in [panel, *panel.get("targets", [])] if "targets" in panel else []:
                    source = asking["datasource"]
                    self.assertEqual(known.get(source["uid"]), source["type"], f"{name}: {panel['title']}")

    def test_every_panel_says_what_healthy_looks_like(self):
        for name, dashboard in DASHBOARDS.items():
            for panel in panels(dashboard):
                self.assertRegex(panel["description"], r"[Hh]ealthy", f"{name}: {panel['title']}")

    def test_dashboards_have_ids_of_their_own_and_links_find_them(self):
        uids = [dashboard["uid"] for dashboard in DASHBOARDS.values()]
        self.assertEqual(len(uids), len(set(uids)), f"a uid is given twice: {uids}")
        for name, dashboard in DASHBOARDS.items():
            ids = [panel["id"] for panel in panels(dashboard)]
            self.assertEqual(len(ids), len(set(ids)), f"{name}: a panel's id is given twice")
            for uid in re.findall(r"/d/([\w-]+)", json.dumps(dashboard)):
                self.assertIn(uid, uids, f"{name} links to a dashboard that is not there")
        grafana = environment(SERVICES["grafana"])
        home = Path(grafana["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).name
        self.assertIn(home, DASHBOARDS, "the home dashboard exists")
        self.assertEqual(grafana["GF_DASHBOARDS_MIN_REFRESH_INTERVAL"], DASHBOARDS[home]["refresh"], "home may ask as often as it wants")
        self.assertIn(DASHBOARDS[home]["refresh"], DASHBOARDS[home]["timepicker"]["refresh_intervals"], "and this is offered")

    def test_panels_do_not_overlap(self):
        for name, dashboard in DASHBOARDS.items():
            cells = {}
            for panel in dashboard["panels"]:
                at = panel["gridPos"]
                self.assertLessEqual(at["x"] + at["w"], 24, f"{name}: {panel['title']} is too wide")
                for cell in [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]:
                    self.assertNotIn(cell, cells, f"{name}: {panel['title']} covers {cells.get(cell)}")
                    cells[cell] = panel["title"]


class SavedQueries(unittest.TestCase):
    def test_links_to_explore_ask_what_they_say(self):
        text = (ROOT / "docs/docker.md").read_text()
        said = re.findall(r"^- \[.+\]\((http.+)\) `(.+)`$", text, re.M)
        self.assertTrue(said, "there are some")
        for link, query in said:
            url = urllib.parse.urlsplit(link)
            self.assertEqual(url.netloc, f"127.0.0.1:{ENV['GRAFANA_PORT']}", query)
            pane, = json.loads(urllib.parse.parse_qs(url.query)["panes"][0]).values()
            self.assertEqual([asked["query"] for asked in pane["queries"]], [query], link)
            self.assertEqual(pane["datasource"], "tempo", query)


class Collector(unittest.TestCase):
    @unittest.skipUnless(OTELCOL, "no Collector on PATH: its configuration is not validated")
    def test_configuration_is_valid(self):
        for file in ["otel-collector.yaml", "logs-collector.yaml"]:
            ran = subprocess.run([OTELCOL, "validate", "--config", str(ROOT / "grafana" / file)], capture_output=True,
                                 text=True, env={**os.environ, "QUEUE_DIRECTORY": "/"})
            self.assertEqual(ran.returncode, 0, f"{file}: {ran.stderr}")


if __name__ == "__main__":
    unittest.main()
