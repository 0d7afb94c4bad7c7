"""What compose would run is run, as plain processes: built from what the image is built from, in the order and on the conditions of the file.

Paths, ports and the size of the made-up fleet are others; commands, variables and scripts are those of docker/.
"""

import asyncio
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from lgsp.privatedatabase import PrivateDatabase
from lgsp.testing.rabbitmq import PrivateServer
from tests.bench import database

pytestmark = pytest.mark.timeout(400)  # two whole foundings, two engines and a dozen programs, on whatever machine

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
VESSELS = "120"
LOOKUPS = "12"
SECONDS = 120
OURS = "lgsp-bus"
PLACES = re.compile(
    r"(?<![\w/.])/(data|gateways|authority|systems|broker|database|pinned|prometheus|witness|opt/lgsp/share|run/lgsp"
    r"|usr/local/etc/haproxy|etc/prometheus)\b"
)
PORTS = ("gateway", "gateway-a", "gateway-b", "ndxp-mock", "witness", "rabbitmq", "postgres", "prometheus")
PROGRAMS = {"proxy": "haproxy", "prometheus": "prometheus"}
"""Services that are other people's programs and run here from the machine's own packages."""


def free_ports(count):
    """Free ports below those that the operating system takes for outgoing connections."""
    found = []
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(str(port))
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The project as the image's first stage installs it, from the files that it copies."""
    folder = tmp_path_factory.mktemp("build")
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    sources = [
        source for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE) for source in line.split()
    ]
    for source in sources:
        (folder / source).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, folder / source)
    words = next(
        json.loads(line) for line in re.findall(r"^RUN (\[.*\])$", dockerfile, re.MULTILINE) if "--no-index" in line
    )
    command = [sys.executable, *words[1:], "--target", str(folder / "site")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=SECONDS)
    return folder / "site"


@dataclass(slots=True, kw_only=True)
class Broker(PrivateServer):
    """A server of this test's own, set up by the very file that `found` wrote."""

    written: Path

    def _write(self):
        super(Broker, self)._write()
        shutil.copy(self.written, self.folder / "rabbitmq.conf")


@dataclass(kw_only=True)
class Machine:
    """One folder in the place of a machine's root, and the services that run in it."""

    root: Path
    site: Path
    ports: dict[str, str]
    services: dict = field(default_factory=dict)
    running: dict[str, subprocess.Popen] = field(default_factory=dict)
    engines: dict[str, PrivateServer | PrivateDatabase] = field(default_factory=dict)

    def prepare(self):
        for folder in (
            "bin",
            "opt/lgsp/share",
            "run/lgsp",
            "data",
            "gateways",
            "authority",
            "broker",
            "database",
            "witness",
            "logs",
        ):
            (self.root / folder).mkdir(parents=True)
        for folder in ("pinned", "prometheus"):
            (self.root / folder).mkdir()
        for volume in ("vnfishbase", "police", "one-stop", "ioc", "ndxp"):
            (self.root / "systems" / volume).mkdir(parents=True)
        for name in ("accounts", "found", "certify"):
            (self.root / "bin" / name).write_text(self.moved((ROOT / "docker" / name).read_text()))
            (self.root / "bin" / name).chmod(0o755)
        for source in ("docker/keys.toml", "adapters/province.toml"):
            text = self.moved((ROOT / source).read_text())
            (self.root / "opt/lgsp/share" / Path(source).name).write_text(text)
        compose = yaml.safe_load(self.moved((ROOT / "docker/compose.yaml").read_text()))
        self.services = compose["services"]
        for name in ("gateway-a", "gateway-b"):
            self.give_own_port(name)
        for service in self.services.values():
            for each in service.get("configs", []):
                target = Path(each["target"])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(
                    self.moved((ROOT / "docker" / compose["configs"][each["source"]]["file"]).read_text())
                )
        return self

    def give_own_port(self, name):
        """Let a gateway listen beside the other and the proxy: here all are one machine."""
        shared, own = self.ports["gateway"], self.ports[name]
        service = self.services[name]
        service["environment"] = {
            key: own if value == shared else value for key, value in service["environment"].items()
        }
        service["healthcheck"]["test"] = [word.replace(shared, own) for word in service["healthcheck"]["test"]]

    def moved(self, text):
        ports = self.ports
        text = PLACES.sub(lambda place: f"{self.root}/{place[1]}", text)
        for name in ("gateway-a", "gateway-b"):
            text = text.replace(f"{name}:8791", f"127.0.0.1:{ports[name]}")
        text = text.replace("https://gateway:8791", f"https://localhost:{ports['gateway']}")
        text = text.replace("8791", ports["gateway"]).replace("bind :", "bind 127.0.0.1:")
        text = text.replace("https://ndxp-mock:8793", f"https://localhost:{ports['witness']}")
        text = text.replace("8793", ports["witness"])
        text = text.replace("8792", ports["ndxp-mock"]).replace("9090", ports["prometheus"])
        text = text.replace("@rabbitmq:5672", f"@127.0.0.1:{ports['rabbitmq']}").replace("5672", ports["rabbitmq"])
        text = text.replace("@postgres:5432", f"@127.0.0.1:{ports['postgres']}").replace(
            "_interval: 15s", "_interval: 1s"
        )
        return text.replace('"10026"', f'"{VESSELS}"').replace('LOOKUPS: "160"', f'LOOKUPS: "{LOOKUPS}"')

    def around(self, service):
        given = {
            name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value) for name, value in service.get("environment", {}).items()
        }
        path = os.pathsep.join((str(self.root / "bin"), str(BIN), os.environ["PATH"]))
        image = {"PATH": path, "LGSP_DATA": str(self.root / "data"), "PYTHONDONTWRITEBYTECODE": "1"}
        return image | given | {"PYTHONPATH": str(self.site), "PYTHONWARNINGS": "error", "LC_ALL": "C.UTF-8"}

    def run(self, name, *command):
        """Run a command to its end as a service would, and return exit code and all it said."""
        ended = subprocess.run(
            command, env=self.around(self.services[name]), cwd=self.root / "data", capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    def start(self, name):
        """Start a service after those that it waits for, as compose does."""
        if name in self.running:
            return
        service = self.services[name]
        for other, rule in service.get("depends_on", {}).items():
            self.start(other)
            if rule["condition"] != "service_started":
                getattr(self, rule["condition"])(other)
        if service["image"] != OURS and name not in PROGRAMS:
            self.start_engine(name)
            return
        argv = service.get("entrypoint", ["lgsp"] if service["image"] == OURS else []) + service.get("command", [])
        with (self.root / "logs" / name).open("w") as log:
            self.running[name] = subprocess.Popen(
                argv, env=self.around(service), cwd=self.root / "data", stdout=log, stderr=log, start_new_session=True
            )

    def start_engine(self, name):
        if name in self.engines:
            return
        folder, port = self.root / "engines" / name, int(self.ports[name])
        if name == "rabbitmq":
            self.engines[name] = Broker(folder=folder, port=port, written=self.root / "broker/rabbitmq.conf")
            self.engines[name].start()
        else:
            told = self.services[name]["environment"]
            server = self.engines[name] = PrivateDatabase(
                folder=folder, port=port, _user=told["POSTGRES_USER"],
                _password=Path(told["POSTGRES_PASSWORD_FILE"]).read_text().strip(),
            )  # fmt: skip
            server.start()
            asyncio.run(database.create(server, told["POSTGRES_DB"]))

    def service_completed_successfully(self, name):
        assert self.running[name].wait(timeout=SECONDS) == 0, self.said(name)

    def service_healthy(self, name):
        if name in self.engines:
            return  # it was awaited when it was started
        probe = self.services[name]["healthcheck"]["test"][1:]
        self.until(lambda: self.run(name, *probe)[0] == 0, name)

    def until(self, reached, name):
        end = time.monotonic() + SECONDS
        while not reached():
            assert self.running[name].poll() in {None, 0}, self.said(name)
            assert time.monotonic() < end, self.said(name)
            time.sleep(0.1)  # another process: there is nothing here to await

    def said(self, name):
        return (self.root / "logs" / name).read_text()

    def events(self, name, event):
        lines = [line for line in self.said(name).splitlines() if line.startswith("{")]
        return [found for found in map(json.loads, lines) if found["event"] == event]

    def linked(self, name):
        """How many linked vessels a system told last of."""
        reports = self.events(name, "adapter.report")
        return reports[-1]["counts"]["linked"] if reports else None

    def stop(self):
        """Stop all, the last started first; return the exit codes."""
        codes = {name: self.end(process) for name, process in reversed(self.running.items())}
        for engine in self.engines.values():
            engine.stop()
        self.engines.clear()
        return codes

    def end(self, process):
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout=45)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def machine(built, tmp_path):
    made = Machine(
        root=tmp_path / "root", site=built, ports=dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    ).prepare()
    yield made
    made.stop()


@pytest.mark.long
def test_compose_founds_the_bus_runs_the_province_and_stops_in_order(machine):
    for name in machine.services:
        machine.start(name)
    machine.until(lambda: machine.events("vnfishbase", "adapter.report"), "vnfishbase")
    machine.until(lambda: len(machine.events("one-stop", "adapter.lookup")) == int(LOOKUPS), "one-stop")
    machine.until(lambda: machine.linked("ioc") == machine.linked("vnfishbase"), "ioc")
    for name in machine.services:
        if name not in {"accounts", "founding"}:
            machine.service_healthy(name)
    counts = machine.events("vnfishbase", "adapter.report")[0]["counts"]
    assert counts["linked"] > 0
    assert counts["linked"] + counts["quarantined"] == int(VESSELS)
    assert all(lookup["ok"] for lookup in machine.events("one-stop", "adapter.lookup"))
    code, said = machine.run("gateway-a", "lgsp", "status")
    assert (code, re.search(r"^broker +ok *$", said, re.MULTILINE) is not None) == (0, True), said
    for name in ("gateway-a", "gateway-b"):
        code, said = machine.run(name, "lgsp", "doctor")
        assert code == 0, said
        assert "registrar's private key" not in said
        assert "✓ the witness witness.example.vn/ndxp has co-signed" in said
    only_the_pinned_authority_is_believed(machine)
    code, said = machine.run("gateway-a", "lgsp", "audit", "verify")
    assert (code, "the log verifies" in said) == (0, True), said
    codes = machine.stop()
    assert {name: code for name, code in codes.items() if code and name not in PROGRAMS} == {}


def gateways_up(machine):
    """How many gateways Prometheus could ask last."""
    url = f"http://127.0.0.1:{machine.ports['prometheus']}/api/v1/query?query=sum(up%7Bjob%3D%22lgsp%22%7D)"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found = json.load(answer)["data"]["result"]
    return int(found[0]["value"][1]) if found else 0


def only_the_pinned_authority_is_believed(machine):
    """Nobody else's word about the gateways counts; they take a new certificate by the same authority one after the other, and are reached all along."""
    address = f"https://localhost:{machine.ports['gateway']}"
    code, said = machine.run("police", "lgsp", "health", address)
    assert (code, "does not answer: ClientConnectorCertificateError" in said) == (1, True), said
    authority, certificate = machine.root / "authority/ca.pem", machine.root / "data/tls/gateway.pem"
    before = authority.read_bytes(), certificate.read_bytes()
    code, said = machine.run("founding", "certify", "bus.example.vn")
    assert code == 0, said
    assert [path.read_bytes() == old for path, old in zip((authority, certificate), before, strict=True)] == [
        True,
        False,
    ]
    settings = machine.root / "systems/police/H01.21-police/system.toml"

    def is_reached():
        return machine.run("police", "lgsp", "health", "--system", str(settings)) == (0, f"{address} is ready\n")

    machine.until(lambda: gateways_up(machine) == 2, "prometheus")
    for name in ("gateway-a", "gateway-b"):
        assert machine.end(machine.running.pop(name)) == 0, machine.said(name)
        machine.until(is_reached, "proxy")
        machine.until(lambda: gateways_up(machine) == 1, "prometheus")
        machine.start(name)
        machine.service_healthy(name)
    machine.until(lambda: gateways_up(machine) == 2, "prometheus")


@pytest.mark.long
def test_the_founding_may_be_stopped_after_any_command_and_is_finished_by_the_next(machine):
    shim = machine.root / "bin" / "lgsp"
    seen = machine.root / "seen"
    seen.mkdir()
    shim.write_text(
        f'#!/bin/sh\n{shlex.quote(str(BIN / "lgsp"))} "$@" || exit\n'
        f'mark={seen}/$(echo "$*" | cksum | tr " " -)\n[ -e "$mark" ] || {{ : > "$mark"; kill -9 $PPID; }}\n'
    )
    shim.chmod(0o755)
    machine.start("accounts")
    machine.service_completed_successfully("accounts")
    machine.start("postgres")
    runs = 0
    while (ended := machine.run("founding", "found"))[0] != 0:
        assert ended[0] == -signal.SIGKILL, ended
        runs += 1
    shim.unlink()
    assert runs == len(list(seen.iterdir())) >= 9
    assert machine.run("founding", "found") == (0, "founded before; nothing to do\n")
    code, said = machine.run("founding", "lgsp", "directory", "show")
    assert code == 0
    assert len(re.findall(r"^key +\S+ +system ", said, re.MULTILINE)) == 5
    secrets_lie_where_only_their_owner_reads_them(machine.root)


def secrets_lie_where_only_their_owner_reads_them(root):
    files = [path for path in root.rglob("*") if path.is_file() and path.suffix in {".pem", ".key"}]
    private = [path for path in files if b"PRIVATE KEY" in path.read_bytes() or path.suffix == ".key"]
    assert {path.stat().st_mode & 0o077 for path in private} == {0}
    assert {path.relative_to(root).parts[0] for path in private} == {
        "authority",
        "data",
        "gateways",
        "systems",
        "witness",
    }
    seen = [path for folder in ("data", "gateways") for path in (root / folder).rglob("*")]
    assert not [path for path in seen if path.name in {"registrar.pem", "ca.key"}]
    broker = re.search(r"^default_pass = (\w{48})$", (root / "broker/rabbitmq.conf").read_text(), re.MULTILINE)[1]
    database = re.fullmatch(r"\w{48}\n", (root / "database/password").read_text())[0].strip()
    settings = {"data/lgsp.toml": 0o600, "gateways/b/lgsp.toml": 0o600}
    assert holders(root, broker) == {"broker/rabbitmq.conf": 0o640, **settings}
    assert holders(root, database) == {"database/password": 0o640, **settings}


def holders(root, secret):
    """The files that hold a secret, with their modes."""
    found = [path for path in root.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    return {path.relative_to(root).as_posix(): path.stat().st_mode & 0o777 for path in found}
