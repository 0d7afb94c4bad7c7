"""What compose would run is run, as plain processes: built from what the image is built from, in the order and on the conditions of the file.

Paths, ports and the size of the made-up fleet are others; commands, variables and scripts are those of docker/.
"""

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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from lgsp.testing.rabbitmq import PrivateServer

pytestmark = pytest.mark.timeout(400)  # two whole foundings, a broker and eight programs, on whatever machine

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
VESSELS = "120"
LOOKUPS = "12"
SECONDS = 120
OURS = "lgsp-bus"
PLACES = re.compile(r"(?<![\w/.])/(data|authority|systems|broker|opt/lgsp/share|run/lgsp)\b")


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
    ports: list[str]
    services: dict = field(default_factory=dict)
    running: dict[str, subprocess.Popen] = field(default_factory=dict)
    broker: Broker | None = None

    def prepare(self):
        for folder in ("bin", "opt/lgsp/share", "run/lgsp", "data", "authority", "broker", "logs"):
            (self.root / folder).mkdir(parents=True)
        for volume in ("vnfishbase", "police", "one-stop", "ioc", "ndxp"):
            (self.root / "systems" / volume).mkdir(parents=True)
        for name in ("found", "certify"):
            (self.root / "bin" / name).write_text(self.moved((ROOT / "docker" / name).read_text()))
            (self.root / "bin" / name).chmod(0o755)
        for source in ("docker/keys.toml", "adapters/province.toml"):
            text = self.moved((ROOT / source).read_text())
            (self.root / "opt/lgsp/share" / Path(source).name).write_text(text)
        self.services = yaml.safe_load(self.moved((ROOT / "docker/compose.yaml").read_text()))["services"]
        return self

    def moved(self, text):
        gateway, mock, broker = self.ports
        text = PLACES.sub(lambda place: f"{self.root}/{place[1]}", text)
        text = text.replace("https://gateway:8791", f"https://localhost:{gateway}").replace("8791", gateway)
        text = text.replace("http://ndxp-mock:8792", f"http://127.0.0.1:{mock}").replace("8792", mock)
        text = text.replace("@rabbitmq:5672", f"@127.0.0.1:{broker}").replace("5672", broker)
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
        if service["image"] != OURS:
            self.start_broker()
            return
        argv = service.get("entrypoint", ["lgsp"]) + service.get("command", [])
        with (self.root / "logs" / name).open("w") as log:
            self.running[name] = subprocess.Popen(
                argv, env=self.around(service), cwd=self.root / "data", stdout=log, stderr=log, start_new_session=True
            )

    def start_broker(self):
        if self.broker is None:
            written = self.root / "broker/rabbitmq.conf"
            self.broker = Broker(folder=self.root / "rabbitmq", port=int(self.ports[2]), written=written)
            self.broker.start()

    def start_again(self, name):
        """Stop a service and start it anew, as `restart` does."""
        assert self.end(self.running.pop(name)) == 0, self.said(name)
        self.start(name)

    def service_completed_successfully(self, name):
        assert self.running[name].wait(timeout=SECONDS) == 0, self.said(name)

    def service_healthy(self, name):
        if self.services[name]["image"] != OURS:
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
        if self.broker is not None:
            self.broker.stop()
            self.broker = None
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
    made = Machine(root=tmp_path / "root", site=built, ports=free_ports(3)).prepare()
    yield made
    made.stop()


def test_compose_founds_the_bus_runs_the_province_and_stops_in_order(machine):
    for name in machine.services:
        machine.start(name)
    machine.until(lambda: machine.events("vnfishbase", "adapter.report"), "vnfishbase")
    machine.until(lambda: len(machine.events("one-stop", "adapter.lookup")) == int(LOOKUPS), "one-stop")
    machine.until(lambda: machine.linked("ioc") == machine.linked("vnfishbase"), "ioc")
    for name in machine.services:
        if name != "founding":
            machine.service_healthy(name)
    counts = machine.events("vnfishbase", "adapter.report")[0]["counts"]
    assert counts["linked"] > 0
    assert counts["linked"] + counts["quarantined"] == int(VESSELS)
    assert all(lookup["ok"] for lookup in machine.events("one-stop", "adapter.lookup"))
    code, said = machine.run("gateway", "lgsp", "status")
    assert (code, re.search(r"^broker +ok *$", said, re.MULTILINE) is not None) == (0, True), said
    code, said = machine.run("gateway", "lgsp", "doctor")
    assert code == 0, said
    assert "registrar's private key" not in said
    only_the_pinned_authority_is_believed(machine)
    assert set(machine.stop().values()) == {0}
    code, said = machine.run("gateway", "lgsp", "audit", "verify")
    assert (code, "the log verifies" in said) == (0, True), said


def only_the_pinned_authority_is_believed(machine):
    """Nobody else's word about the gateway counts, and a new certificate is by the same authority."""
    address = f"https://localhost:{machine.ports[0]}"
    code, said = machine.run("police", "lgsp", "health", address)
    assert (code, "does not answer: ClientConnectorCertificateError" in said) == (1, True), said
    authority, certificate = machine.root / "authority/ca.pem", machine.root / "data/tls/gateway.pem"
    before = authority.read_bytes(), certificate.read_bytes()
    code, said = machine.run("founding", "certify", "bus.example.vn", "localhost")
    assert code == 0, said
    assert [path.read_bytes() == old for path, old in zip((authority, certificate), before, strict=True)] == [
        True,
        False,
    ]
    machine.start_again("gateway")
    machine.service_healthy("gateway")
    settings = machine.root / "systems/police/H01.21-police/system.toml"
    assert machine.run("police", "lgsp", "health", "--system", str(settings)) == (0, f"{address} is ready\n")


def test_the_founding_may_be_stopped_after_any_command_and_is_finished_by_the_next(machine):
    shim = machine.root / "bin" / "lgsp"
    seen = machine.root / "seen"
    seen.mkdir()
    shim.write_text(
        f'#!/bin/sh\n{shlex.quote(str(BIN / "lgsp"))} "$@" || exit\n'
        f'mark={seen}/$(echo "$*" | cksum | tr " " -)\n[ -e "$mark" ] || {{ : > "$mark"; kill -9 $PPID; }}\n'
    )
    shim.chmod(0o755)
    runs = 0
    while (ended := machine.run("founding", "found"))[0] != 0:
        assert ended[0] == -signal.SIGKILL, ended
        runs += 1
    shim.unlink()
    assert runs == len(list(seen.iterdir())) >= 8
    assert machine.run("founding", "found") == (0, "founded before; nothing to do\n")
    code, said = machine.run("founding", "lgsp", "directory", "show")
    assert code == 0
    assert len(re.findall(r"^key +\S+ +system ", said, re.MULTILINE)) == 5
    secrets_lie_where_only_their_owner_reads_them(machine.root)


def secrets_lie_where_only_their_owner_reads_them(root):
    files = [path for path in root.rglob("*") if path.is_file() and path.suffix in {".pem", ".key"}]
    private = [path for path in files if b"PRIVATE KEY" in path.read_bytes() or path.suffix == ".key"]
    assert {path.stat().st_mode & 0o077 for path in private} == {0}
    assert {path.relative_to(root).parts[0] for path in private} == {"authority", "data", "systems"}
    assert not [path for path in (root / "data").rglob("*") if path.name in {"registrar.pem", "ca.key"}]
    password = re.search(r"^default_pass = (\w{48})$", (root / "broker/rabbitmq.conf").read_text(), re.MULTILINE)[1]
    holders = [path for path in root.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    account = {path.relative_to(root).as_posix(): path.stat().st_mode & 0o777 for path in holders}
    assert account == {"broker/rabbitmq.conf": 0o640, "data/lgsp.toml": 0o600}
