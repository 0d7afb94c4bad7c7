"""What docker/ says is so: its commands, variables, ports, paths and users are those of the program, and each service has only what it needs.

No container runs here; that the commands do what they should is `tests/acceptance/test_containers.py`.
"""

import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from adapters.ndxp.mock import __main__ as mock
from adapters.ndxp.mock.server import WITNESS_PATH
from lgsp.cli import founding
from lgsp.cli.adapter_commands import find_manifest, shipped_names
from lgsp.cli.root import build
from lgsp.config import DEFAULT_PORT, FILE, NESTED, PREFIX, SECTIONS
from lgsp.domain import names
from lgsp.http.server import SHUTDOWN
from lgsp.http.settings import HTTP_LIMITS
from lgsp.sdk import AdapterManifest
from lgsp.sdk.settings import PREFIX as SETTING

ROOT = Path(__file__).parents[2]
FILES = (
    "docker/Dockerfile",
    "docker/compose.yaml",
    "docker/accounts",
    "docker/found",
    "docker/certify",
    "docker/keys.toml",
    "docker/proxy/haproxy.cfg",
    "docker/prometheus/prometheus.yaml",
    ".dockerignore",
)
UsageError = typer.BadParameter.__mro__[1]
SYSTEMS = {"vnfishbase", "police", "one-stop", "ioc", "ndxp"}
GATEWAYS = {"gateway-a", "gateway-b"}
ONCE = {"accounts", "founding"}
"""Services that do their work and end."""
KNOWN = {*ONCE, *GATEWAYS, *SYSTEMS, "postgres", "rabbitmq", "proxy", "prometheus", "ndxp-mock"}
DATA = "LGSP_DATA"
JOIN = re.compile(r"^join (\S+) (\S+) (\S+)$", re.MULTILINE)
LINE = re.compile(r"(?:^|\|\|\n)\s*(lgsp .*?)(?: > /dev/null)?$", re.MULTILINE)
SECONDS = re.compile(r"^(\d+)s$")


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The texts of docker/, read as Docker reads them."""

    texts: dict[str, str]

    @cached_property
    def compose(self):
        return yaml.safe_load(self.texts["docker/compose.yaml"])

    @cached_property
    def services(self):
        return self.compose["services"]

    @cached_property
    def image(self) -> list[tuple[str, str]]:
        lines = [line for line in self.texts["docker/Dockerfile"].splitlines() if not line.startswith("#")]
        whole = "\n".join(lines).replace("\\\n", " ")
        return [
            (word, " ".join(rest.split()))
            for word, _, rest in (line.partition(" ") for line in whole.splitlines() if line)
        ]

    def last(self, word: str) -> str:
        return [rest for found, rest in self.image if found == word][-1]

    @property
    def image_health(self) -> list[str]:
        return json.loads(self.last("HEALTHCHECK").partition("CMD ")[2])

    def ours(self) -> Iterator[tuple[str, dict]]:
        return ((name, service) for name, service in self.services.items() if service["image"] == "lgsp-bus")

    def argv(self, name: str) -> list[str]:
        service = self.services[name]
        entry = service.get("entrypoint", json.loads(self.last("ENTRYPOINT")))
        return entry + service.get("command", json.loads(self.last("CMD")))

    def probe(self, name: str) -> list[str]:
        return self.services[name]["healthcheck"].get("test", ["CMD"])[1:]

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Who runs what: services, health checks, and the lines of `found` with its variables filled in."""
        yield "Dockerfile", self.image_health
        for name, _ in self.ours():
            yield name, self.argv(name)
            if self.probe(name):
                yield name, self.probe(name)
        for line in LINE.findall(self.texts["docker/found"].replace("\\\n", " ")):
            yield "found", shlex.split(re.sub(r"\$\w+", "H01.99/x", line))
        for line in re.findall(r"\$\((python [^)]+)\)", self.texts["docker/found"]):
            yield "found", shlex.split(line)

    def mounts(self, name: str) -> dict[str, str]:
        return dict(volume.split(":")[1::-1] for volume in self.services[name].get("volumes", []))

    def copied(self) -> Iterator[tuple[str, str]]:
        """What is copied from the checkout, and where it goes."""
        for word, rest in self.image:
            if word == "COPY" and "--from=" not in rest:
                *sources, target = rest.split()
                for source in sources:
                    yield source, target + PurePosixPath(source).name if target.endswith("/") else target

    def folders(self) -> set[str]:
        made = re.findall(r"install -d -o 10001 -g 10001 -m 07[05][05] ([^&]+)", self.last("RUN"))
        return {folder for line in made for folder in line.split()}

    def systems(self) -> dict[str, str]:
        """Where `found` puts the settings of each system."""
        joined = JOIN.findall(self.texts["docker/found"])
        return {f"/systems/{volume}/{folder}": system for volume, system, folder in joined}


@pytest.fixture(scope="module")
def here() -> Installation:
    return Installation(texts={name: (ROOT / name).read_text(encoding="utf-8") for name in FILES})


@pytest.fixture(scope="module")
def lgsp():
    return typer.main.get_command(build())


# --- each check gives what is wrong ---------------------------------------------------------------------------------------------------


def wrong_commands(found: Installation) -> Iterator[str]:
    lgsp = typer.main.get_command(build())
    for who, argv in found.commands():
        if argv[0] == "lgsp":
            yield from (f"{who}: {shlex.join(argv)}: {said}" for said in parse_lgsp(lgsp, argv[1:]))
        elif argv[:3] == ["python", "-m", "adapters.ndxp.mock"]:
            yield from (f"{who}: the mock takes no {word}" for word in mock._parser().parse_known_args(argv[3:])[1])
        elif argv in (["found"], ["accounts"]):
            script = (f"docker/{argv[0]}", f"/opt/lgsp/bin/{argv[0]}")
            yield from () if script in set(found.copied()) else (f"{argv[0]} is not in the image",)
        elif argv[:2] != ["test", "-s"]:
            yield f"{who}: nobody knows {shlex.join(argv)}"


def parse_lgsp(command, arguments) -> Iterator[str]:
    """Parse as the program does, without doing anything; what the program leaves to the settings may be missing."""
    try:
        context = command.make_context("lgsp", list(arguments))
        while getattr(context.command, "commands", None) and (rest := [*context._protected_args, *context.args]):
            name, found, rest = context.command.resolve_command(context, rest)
            context = found.make_context(name, rest, parent=context)
    except UsageError as error:
        yield error.format_message()


def wrong_variables(found: Installation) -> Iterator[str]:
    settings = {
        f"{PREFIX}{section}{NESTED}{name}".upper() for section, form in SECTIONS.items() for name in form.model_fields
    }
    options = {variable for each in every_command(typer.main.get_command(build())) for variable in variables_of(each)}
    for name, service in found.ours():
        given = set(service.get("environment", {}))
        match found.argv(name):
            case ["lgsp", "serve", *_]:
                known = settings | {DATA}
            case ["lgsp", "adapter", "run", adapter, *_] if adapter in named_adapters():
                known = manifest_variables(adapter)
            case ["python", *_]:
                known = {mock.KEY, mock.SECRET}
            case ["found"]:
                known = options
            case ["accounts"]:
                known = set()
            case other:
                known = set()
                yield f"{name}: {other} takes no variables"
        yield from (f"{name}: nobody reads {variable}" for variable in sorted(given - known))
    stated = set(re.findall(r"LGSP_\w+", found.last("ENV")))
    yield from (f"Dockerfile: no command reads {variable}" for variable in sorted(stated - options))
    used = set(re.findall(r"LGSP_\w+", found.texts["docker/found"]))
    yield from (f"found: no command reads {variable}" for variable in sorted(used - settings - options))


def every_command(group) -> Iterator:
    for command in getattr(group, "commands", {"": group}).values():
        yield from every_command(command) if getattr(command, "commands", None) else [command]


def variables_of(command) -> Iterator[str]:
    for option in command.params:
        yield from [option.envvar] if isinstance(option.envvar, str) else option.envvar or []


def named_adapters() -> dict[str, AdapterManifest]:
    return {name.replace("_", "-"): AdapterManifest.load(find_manifest(name)) for name in shipped_names()}


def manifest_variables(adapter: str) -> set[str]:
    settings = named_adapters()[adapter].settings
    return {SETTING + name.upper() for name in settings} | {
        each.environment for each in settings.values() if each.environment
    }


def wrong_settings(found: Installation) -> Iterator[str]:
    """Values that the adapters would not take, and what they need and are not given."""
    for name, service in found.ours():
        match found.argv(name):
            case ["lgsp", "adapter", "run", adapter, *_] if adapter in named_adapters():
                around = {key: str(value) for key, value in service.get("environment", {}).items()}
                given = {
                    key.removeprefix(SETTING).lower(): value for key, value in around.items() if key.startswith(SETTING)
                }
                try:
                    named_adapters()[adapter].values(given, around)
                except Exception as error:  # noqa: BLE001 - what is wrong is told in words
                    yield f"{name}: {error}"


def wrong_ports(found: Installation) -> Iterator[str]:
    bridge, proxy = found.services["ndxp"], found.texts["docker/proxy/haproxy.cfg"]
    port = str(DEFAULT_PORT)
    said = {
        "the published port": found.services["proxy"]["ports"][0].rpartition(":")[2],
        "what the proxy listens on": re.search(r"^ *bind :(\d+)$", proxy, re.MULTILINE)[1],
        "EXPOSE": found.last("EXPOSE"),
        "the image's health check": str(urlsplit(found.image_health[2]).port),
        "what systems are told": re.search(r"--url https://gateway:(\d+)", found.texts["docker/found"])[1],
    }
    for name in sorted(GATEWAYS):
        said |= {
            f"the setting of {name}": found.services[name]["environment"]["LGSP_HTTP__PORT"],
            f"the health check of {name}": str(urlsplit(found.probe(name)[2]).port),
        }
    yield from (f"{where} is {value}, not {port}" for where, value in said.items() if value != port)
    address = urlsplit(bridge["environment"]["NDXP_ADDRESS"])
    listens = mock._parser().parse_args(found.argv("ndxp-mock")[3:])
    told = (address.scheme, address.hostname, str(address.port))
    if told != ("https", "ndxp-mock", listens.tls[0]) or listens.host == mock.LOOPBACK:
        yield "the bridge does not find the mock"
    if str(listens.port_file) != found.probe("ndxp-mock")[-1]:
        yield "the mock's health check looks at another file"


def wrong_proxy(found: Installation) -> Iterator[str]:
    """Yield where systems would not reach the gateways by the proxy, or not all of them."""
    text, service = found.texts["docker/proxy/haproxy.cfg"], found.services["proxy"]
    servers = set(re.findall(r"^ *server \S+ (\S+)$", text, re.MULTILINE))
    if servers != {f"{name}:{DEFAULT_PORT}" for name in GATEWAYS}:
        yield f"the proxy knows {sorted(servers)}"
    told = urlsplit(re.search(r"--url (\S+)", found.texts["docker/found"])[1]).hostname
    if service["networks"]["bus"].get("aliases") != [told]:
        yield f"nobody is called {told}"
    if "meth GET uri /readyz" not in text or "expect status 200" not in text:
        yield "the proxy does not ask whether a gateway is ready"
    patience = [int(seconds) for seconds in re.findall(r"^ *timeout (?:client|server) (\d+)s$", text, re.MULTILINE)]
    if len(patience) != 2 or min(patience) <= HTTP_LIMITS.wait_seconds:
        yield "the proxy cuts calls that wait"
    yield from wrong_crowd(text)
    yield from unseen_files(found, "proxy", re.findall(r"ca-file (\S+)", text))
    yield from uncertified(found, [told, *GATEWAYS, "localhost"])


def wrong_crowd(text: str) -> Iterator[str]:
    """Yield where the proxy passes on more connections than gateways take, which would be closed unanswered."""
    [whole] = [int(most) for most in re.findall(r"^ *maxconn (\d+)$", text, re.MULTILINE)] or [0]
    [each] = [int(most) for most in re.findall(r"^ *default-server .*\bmaxconn (\d+)\b", text, re.MULTILINE)] or [0]
    if not 0 < each < HTTP_LIMITS.connections:
        yield f"a gateway takes {HTTP_LIMITS.connections} connections, and the proxy gives it {each}"
    if not len(GATEWAYS) * each <= whole <= len(GATEWAYS) * HTTP_LIMITS.connections:
        yield f"the gateways take {len(GATEWAYS) * HTTP_LIMITS.connections} connections, and the proxy {whole}"


def wrong_witness(found: Installation) -> Iterator[str]:
    """Yield where the gateways would not reach their witness, or not believe it."""
    found_script, certify, mock_service = (
        found.texts["docker/found"], found.texts["docker/certify"], found.services["ndxp-mock"],
    )  # fmt: skip
    [written] = re.findall(r"printf '\\n\[witness\]\\n([^']+)'", found_script)
    told = tomllib.loads(written.replace("\\n", "\n"))
    if told.keys() != {"url", "vkey", "ca"} or not told.keys() <= SECTIONS["witness"].model_fields.keys():
        yield f"found writes {sorted(told)}"
    called, listens = urlsplit(told["url"]), mock._parser().parse_args(found.argv("ndxp-mock")[3:])
    port, certificate, key = listens.tls
    if (called.scheme, called.hostname, called.port, called.path) != ("https", "ndxp-mock", int(port), WITNESS_PATH):
        yield f"the gateways call {told['url']}"
    [signed] = re.findall(r"^sign (\S+) ndxp-mock .*$", certify, re.MULTILINE)
    if (certificate, key) != (f"{signed}.pem", f"{signed}.key"):
        yield f"nobody makes {certificate} and {key}"
    if f"--make-key {listens.witness})" not in found_script or f"> {listens.witness}/logs" not in found_script:
        yield "found tells another witness"
    for name in sorted(GATEWAYS):
        folder = "/data" if name == "gateway-a" else found.services[name]["environment"][DATA]
        if f"{folder}/{FILE}" not in found_script or f"/ca.pem {folder}/tls" not in certify:
            yield f"{name} is not told of its witness, or of its authority"
        if "witness" not in set(found.services[name]["networks"]) & set(mock_service["networks"]):
            yield f"{name} shares no network with its witness"
        if found.services[name]["depends_on"]["ndxp-mock"]["condition"] != "service_started":
            yield f"{name} does not start without its witness"


def wrong_watch(found: Installation) -> Iterator[str]:
    """Yield what Prometheus would not see."""
    config = yaml.safe_load(found.texts["docker/prometheus/prometheus.yaml"])
    [job] = config["scrape_configs"]
    targets = {target for each in job["static_configs"] for target in each["targets"]}
    if targets != {f"{name}:{DEFAULT_PORT}" for name in GATEWAYS} or job["scheme"] != "https":
        yield f"Prometheus asks {sorted(targets)}"
    yield from unseen_files(found, "prometheus", [job["tls_config"]["ca_file"]])
    given = {PurePosixPath(each["target"]) for each in found.services["prometheus"]["configs"]}
    [read] = [PurePosixPath(word.partition("=")[2]) for word in found.argv("prometheus") if "config.file" in word]
    yield from (
        f"Prometheus has no {path}" for path in {read, *(read.parent / each for each in config["rule_files"])} - given
    )
    if not any(word == "--storage.tsdb.path=/prometheus" for word in found.argv("prometheus")):
        yield "Prometheus keeps nothing"


def unseen_files(found: Installation, name: str, paths: list[str]) -> Iterator[str]:
    for path in paths:
        if not any(PurePosixPath(path).is_relative_to(mount) for mount in found.mounts(name)):
            yield f"{name}: {path} lies on no volume of its own"
        if f" {path}\n" not in found.texts["docker/certify"]:
            yield f"{name}: nobody writes {path}"


def uncertified(found: Installation, called: list[str]) -> Iterator[str]:
    """Yield names that the gateways' certificate does not have."""
    named = re.search(r'^set -- "\$@" (.+)$', found.texts["docker/certify"], re.MULTILINE)[1].split()
    yield from (f"the certificate does not name {name}" for name in called if name not in named)


def wrong_configs(found: Installation) -> Iterator[str]:
    """Yield files that are handed to services and are not there, or not read."""
    for name, service in found.services.items():
        for each in service.get("configs", []):
            file = found.compose["configs"].get(each["source"], {}).get("file", "")
            if not file or not (ROOT / "docker" / file).is_file():
                yield f"{name}: there is no file {file or each['source']}"
            if PurePosixPath(each["target"]).name != PurePosixPath(file).name:
                yield f"{name}: {file} is handed over as {each['target']}"
        words = " ".join(service.get("command", []))
        yield from (
            f"{name}: {path} is not handed over"
            for path in re.findall(r"/(?:usr/local/)?etc/\S+", words)
            if path not in {each["target"] for each in service.get("configs", [])}
        )


def wrong_engines(found: Installation) -> Iterator[str]:
    """Yield where database, broker and gateways would miss each other."""
    scripts = found.texts["docker/accounts"], found.texts["docker/found"]
    broker, database = found.services["rabbitmq"], found.services["postgres"]
    listens = re.search(r"^listeners\.tcp\.default = (\d+)$", scripts[0], re.MULTILINE)[1]
    user = re.search(r"^default_user = (\w+)$", scripts[0], re.MULTILINE)[1]
    if f'"amqp://{user}:$(' not in scripts[1] or f")@rabbitmq:{listens}/" not in scripts[1]:
        yield "the gateways call another broker"
    made = database["environment"]
    called = f'"postgresql://{made["POSTGRES_USER"]}:$(cat {made["POSTGRES_PASSWORD_FILE"]})@postgres:5432/{made["POSTGRES_DB"]}"'
    if called not in scripts[1]:
        yield "the gateways call another database"
    for service, read in (
        (broker, broker["environment"]["RABBITMQ_CONFIG_FILE"]),
        (database, made["POSTGRES_PASSWORD_FILE"]),
    ):
        name, folder = service["image"].partition(":")[0], str(PurePosixPath(read).parent)
        if not re.search(rf"keep {read}(?: <<END)?$", scripts[0], re.MULTILINE):
            yield f"{name} reads another file"
        if f"{folder[1:]}:{folder}:ro" not in service["volumes"]:
            yield f"{name} could write its own account"
        if not {"10001"} <= set(service.get("group_add", [])):
            yield f"{name} cannot read its account"
    if broker.get("hostname") != "rabbitmq":
        yield "RabbitMQ has no name that lasts"
    for name in {*GATEWAYS, "founding"}:
        needed = {"database"} if name == "founding" else {"broker", "database", "gateways", "witness"}
        if set(found.services[name]["networks"]) != needed:
            yield f"{name} is on other networks than {sorted(needed)}"


def wrong_volumes(found: Installation) -> Iterator[str]:
    used = {volume.partition(":")[0] for service in found.services.values() for volume in service.get("volumes", [])}
    if used != set(found.compose["volumes"]):
        yield f"volumes used and declared differ: {sorted(used ^ set(found.compose['volumes']))}"
    for name, _ in found.ours():
        mounts = found.mounts(name)
        yield from (f"{name}: {target} is no folder of the image" for target in mounts if target not in found.folders())
        data = found.services[name].get("environment", {}).get(DATA)
        if data is not None and not any(PurePosixPath(data).is_relative_to(place) for place in found.mounts(name)):
            yield f"{name}: {data} lies on no volume of its own"
        temporary = [mount.partition(":")[0] for mount in found.services[name]["tmpfs"]]
        for word in (*found.argv(name), *found.probe(name)):
            if word.startswith("/") and not any(
                PurePosixPath(word).is_relative_to(place) for place in (*mounts, *temporary)
            ):
                yield f"{name}: {word} lies on no volume of its own"
    if found.mounts("founding").keys() != found.folders():
        yield "founding does not see every folder of the image"


def wrong_sharing(found: Installation) -> Iterator[str]:
    """Yield who sees what is another's."""
    special = {
        "accounts": {"/broker": "broker", "/database": "database"},
        "gateway-a": {"/data": "gateway-a"},
        "gateway-b": {"/gateways": "gateway-b"},
        "postgres": {"/database": "database", "/var/lib/postgresql/data": "postgres"},
        "rabbitmq": {"/broker": "broker", "/var/lib/rabbitmq": "rabbitmq"},
        "proxy": {"/pinned": "pinned"},
        "prometheus": {"/pinned": "pinned", "/prometheus": "prometheus"},
        "ndxp-mock": {"/witness": "witness"},
    }
    for name in KNOWN - {"founding"}:
        if found.mounts(name) != special.get(name, {f"/systems/{name}": name}):
            yield f"{name} mounts {found.mounts(name)}"
    for name, service in found.services.items():
        yield from (
            f"{name}: {volume} is a folder of the host" for volume in service.get("volumes", []) if volume[0] in "./~$"
        )


def wrong_systems(found: Installation) -> Iterator[str]:
    """Yield where the systems of services, of `found`, of the key file and of the province differ."""
    province = tomllib.loads((ROOT / "adapters/province.toml").read_text(encoding="utf-8"))
    keys = {row["file"]: row["owner"] for row in tomllib.loads(found.texts["docker/keys.toml"])["key"]}
    systems = found.systems()
    if keys != {f"{folder}/key.jwk": system for folder, system in systems.items()}:
        yield "keys.toml names other keys than found makes"
    known = {row["id"] for row in province["system"]}
    yield from (f"the province has no {system}" for system in systems.values() if system not in known)
    for folder in systems:
        if str(PurePosixPath(folder).parent) not in found.folders():
            yield f"{folder} is on no volume"
    for name, _ in found.ours():
        match found.argv(name):
            case ["lgsp", "adapter", "run", adapter, "--system", path]:
                system = systems.get(str(PurePosixPath(path).parent), "")
                manifest = named_adapters().get(adapter)
                if manifest is None or not system or not manifest.serves(names.system_urn(system)):
                    yield f"{name}: {adapter} does not serve {system or path}"
                if found.probe(name)[-1] != path:
                    yield f"{name}: its health check looks at another system"


def wrong_guards(found: Installation) -> Iterator[str]:
    """Yield what a service could do that it need not."""
    for name, service in found.services.items():
        guards = {
            "its root file system can be written": service.get("read_only") is True,
            "it keeps capabilities": service.get("cap_drop") == ["ALL"] and "cap_add" not in service,
            "it may gain privileges": service.get("security_opt") == ["no-new-privileges:true"],
            "it runs as root": service["image"] == "lgsp-bus"
            or re.match(r"[1-9]\d*:", service.get("user", "")) is not None,
            "it is privileged": not {"privileged", "devices", "pid", "ipc", "userns_mode"} & set(service),
            "it has no limits": {"pids_limit", "mem_limit", "logging"} <= set(service),
            "it has no health check": bool(service.get("healthcheck")),
            "it is on the host's network": service.get("network_mode", "none") == "none",
            "it does not start again": service["restart"] == ("no" if name in ONCE else "unless-stopped"),
        }
        yield from (f"{name}: {what}" for what, holds in guards.items() if not holds)
        yield from (
            f"{name}: {port} is open to the network"
            for port in service.get("ports", [])
            if not port.startswith("127.0.0.1:")
        )
    yield from (
        f"network {name} is not internal"
        for name, net in found.compose["networks"].items()
        if name != "edge" and not net.get("internal")
    )
    yield from (
        f"{name} is on edge"
        for name, service in found.services.items()
        if name != "proxy" and "edge" in service.get("networks", [])
    )


def wrong_order(found: Installation) -> Iterator[str]:
    for name, service in found.services.items():
        for other, rule in service.get("depends_on", {}).items():
            needed = found.services.get(other)
            if needed is None:
                yield f"{name} waits for {other}, which is none"
            elif rule["condition"] == "service_healthy" and needed["healthcheck"].get("disable"):
                yield f"{name} waits for the health of {other}, which nobody looks at"
            elif (rule["condition"] == "service_completed_successfully") != (needed["restart"] == "no"):
                yield f"{name} waits for the end of {other}, which has none, or the other way round"
        grace = SECONDS.match(service["stop_grace_period"])
        if grace is None or int(grace[1]) < 2 * SHUTDOWN:
            yield f"{name} is killed before it has drained"


def wrong_image(found: Installation) -> Iterator[str]:
    if re.fullmatch(r"[1-9]\d*:[1-9]\d*", found.last("USER")) is None:
        yield "the image's user is no plain number, or root"
    if f"--uid {found.last('USER').partition(':')[0]} " not in found.last("RUN"):
        yield "the user is not made"
    if found.last("STOPSIGNAL") != "SIGTERM":
        yield "serve and adapter run end in order on SIGTERM"
    locked = [rest for word, rest in found.image if word == "RUN" and '"install"' in rest]
    if not any('"--require-hashes", "-r", "requirements.lock"' in rest for rest in locked):
        yield "the packages are not those of the lock file"
    if not all("--require-hashes" in rest or "--no-index" in rest for rest in locked):
        yield "an index is asked without hashes"
    yield from (f"{word} {rest} may leave a secret in a layer" for word, rest in found.image if word in {"ARG", "ADD"})


def wrong_sources(found: Installation) -> Iterator[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=30,
    )
    context = [
        path for path in listed.stdout.decode().split("\0") if path and is_sent(path, found.texts[".dockerignore"])
    ]
    copied = [source for source, _ in found.copied()]
    for source in copied:
        if not any(PurePosixPath(path).is_relative_to(source) for path in context):
            yield f"{source} is not there, or the builder does not get it"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {
        *project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"],
        project["project"]["readme"],
        *project["project"]["license-files"],
    }
    yield from (f"{path} is needed to build and not copied" for path in sorted(needed - set(copied)))
    if secret := [
        path for path in context if path.endswith((".pem", ".key", ".sqlite")) or path.startswith(("tests", ".git"))
    ]:
        yield f"the builder gets {secret}"


def is_sent(path: str, ignored: str) -> bool:
    """Whether a file reaches the builder: the last pattern that fits it or a folder above it decides."""
    kept = True
    above = [path, *map(str, PurePosixPath(path).parents)]
    for line in ignored.splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#") and any(fnmatch.fnmatch(each, pattern) for each in above):
            kept = line.startswith("!")
    return kept


CHECKS = (
    wrong_engines, wrong_commands, wrong_variables, wrong_settings, wrong_ports, wrong_proxy, wrong_witness, wrong_watch, wrong_configs, wrong_volumes, wrong_sharing,
    wrong_systems, wrong_guards, wrong_order, wrong_image, wrong_sources,
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_docker_agrees_with_the_program(here, check):
    assert list(check(here)) == []


def test_every_service_is_known_here(here):
    assert set(here.services) == KNOWN
    assert len(list(here.commands())) >= 15


def test_the_scripts_can_be_run(root):
    for script in (root / "docker/accounts", root / "docker/found", root / "docker/certify"):
        assert script.stat().st_mode & 0o111
        subprocess.run(["sh", "-n", script], check=True, timeout=10)


def compose_schema(path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_compose_file_keeps_to_the_schema_of_compose(root):
    ended = compose_schema(root / "docker/compose.yaml")
    assert ended.returncode == 0, ended.stdout


def test_what_found_fills_in_are_lines_that_init_writes(here):
    filled = re.findall(r"^ *'(kind = \S+)'\)", here.texts["docker/found"], re.MULTILINE)
    assert filled == ['kind = "postgresql"', 'kind = "rabbitmq"']
    assert [filled[0] in founding.IN_A_DATABASE.splitlines(), filled[1] in founding.ON_A_BROKER.splitlines()] == [
        True
    ] * 2


def test_a_compose_file_that_does_not_is_found(here, tmp_path):
    (tmp_path / "compose.yaml").write_text(
        here.texts["docker/compose.yaml"].replace("read_only: true", "read_only: [yes]", 1)
    )
    assert compose_schema(tmp_path / "compose.yaml").returncode == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("docker/compose.yaml", "command: [serve]", "command: [sreve]", "sreve"),
        ("docker/compose.yaml", "adapter, run, police", "adapter, run, polise", "does not serve"),
        ("docker/compose.yaml", "lgsp, health, --system, /systems/police", "lgsp, health, --sistem, /systems/police", "sistem"),
        ("docker/compose.yaml", "--allow-officer, 7f3a91", "--permit-officer, 7f3a91", "the mock takes no"),
        ("docker/compose.yaml", "[found]", "[fund]", "nobody knows fund"),
        ("docker/compose.yaml", "LGSP_HTTP__TLS_CERT", "LGSP_HTTP__CERT", "nobody reads LGSP_HTTP__CERT"),
        ("docker/compose.yaml", "LGSP_SETTING_SEED", "LGSP_SETTING_SED", "nobody reads LGSP_SETTING_SED"),
        ("docker/compose.yaml", 'COUNT: "10026"', "COUNT: many", "is no integer"),
        ("docker/compose.yaml", "NDXP_ADDRESS: ", "NDXP_ADRESS: ", "nobody reads NDXP_ADRESS"),
        ("docker/compose.yaml", 'HTTP__PORT: "8791"', 'HTTP__PORT: "8800"', "the setting of gateway-b is 8800"),
        ("docker/compose.yaml", ":8791:8791", ":8791:8790", "the published port is 8790"),
        ("docker/compose.yaml", "127.0.0.1:8791:8791", "0.0.0.0:8791:8791", "open to the network"),
        ("docker/compose.yaml", "https://ndxp-mock:8793", "https://ndxp-mock:8792", "does not find the mock"),
        ("docker/compose.yaml", "https://ndxp-mock:8793", "http://ndxp-mock:8793", "does not find the mock"),
        ("docker/compose.yaml", 'volumes: ["police:/systems/police"]', 'volumes: ["police:/system/police"]', "no folder of the image"),
        ("docker/compose.yaml", 'volumes: ["police:/systems/police"]', 'volumes: ["gateway-a:/systems/police"]', "police mounts"),
        ("docker/compose.yaml", 'volumes: ["gateway-a:/data"]', 'volumes: ["./data:/data"]', "a folder of the host"),
        ("docker/compose.yaml", "  authority: {}\n", "", "differ: ['authority']"),
        ("docker/compose.yaml", "H01.21-police/system.toml]\n    environment", "H01.21/system.toml]\n    environment", "does not serve"),
        ("docker/compose.yaml", "  read_only: true\n", "", "can be written"),
        ("docker/compose.yaml", "  cap_drop: [ALL]\n", "", "keeps capabilities"),
        ("docker/compose.yaml", "bus: {internal: true}", "bus: {}", "network bus is not internal"),
        ("docker/compose.yaml", "gateway-a: {condition: service_healthy}", "gateway-c: {condition: service_healthy}", "which is none"),
        ("docker/compose.yaml", "stop_grace_period: 45s", "stop_grace_period: 5s", "killed before"),
        ("docker/compose.yaml", "condition: service_completed_successfully", "condition: service_healthy", "which nobody looks at"),
        ("docker/Dockerfile", "USER 10001:10001", "USER root", "no plain number"),
        ("docker/Dockerfile", "EXPOSE 8791", "EXPOSE 8790", "EXPOSE is 8790"),
        ("docker/Dockerfile", '"--require-hashes", ', "", "without hashes"),
        ("docker/Dockerfile", "COPY schemas schemas\n", "", "schemas is needed"),
        ("docker/Dockerfile", "COPY lgsp lgsp", "COPY lgsb lgsp", "lgsb is not there"),
        ("docker/Dockerfile", "LGSP_DATA=", "LGSP_DATEN=", "no command reads LGSP_DATEN"),
        ("docker/Dockerfile", "STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "SIGTERM"),
        ("docker/Dockerfile", " /systems/police ", " ", "/systems/police is no folder"),
        ("docker/found", "lgsp init --data", "lgsp init --date", "--date"),
        ("docker/found", "gateway:8791", "gateway:8790", "what systems are told is 8790"),
        ("docker/found", "join police H01.21/police", "join police H01.21/polis", "keys.toml names other keys"),
        ("docker/accounts", "default_user = lgsp", "default_user = bus", "call another broker"),
        ("docker/accounts", "keep /database/password", "keep /database/secret", "postgres reads another file"),
        ("docker/found", "@rabbitmq:5672", "@rabbitmq:5673", "call another broker"),
        ("docker/found", "@postgres:5432", "@postgresql:5432", "call another database"),
        ("docker/found", "LGSP_TRANSPORT__KIND", "LGSP_TRANSPORT_KIND", "no command reads LGSP_TRANSPORT_KIND"),
        ("docker/found", "gateway new b", "gateway neu b", "neu"),
        ("docker/certify", "gateway-a gateway-b localhost", "gateway-a localhost", "does not name gateway-b"),
        ("docker/certify", "cp /authority/ca.pem /pinned/ca.pem", "cp /authority/ca.pem /pinned/a.pem", "nobody writes"),
        ("docker/proxy/haproxy.cfg", "    server gateway-b gateway-b:8791\n", "", "the proxy knows"),
        ("docker/proxy/haproxy.cfg", "bind :8791", "bind :8790", "what the proxy listens on is 8790"),
        ("docker/proxy/haproxy.cfg", "uri /readyz", "uri /healthz", "does not ask"),
        ("docker/proxy/haproxy.cfg", "timeout server 90s", "timeout server 50s", "cuts calls that wait"),
        ("docker/proxy/haproxy.cfg", "maxconn 1900 ", "", "and the proxy gives it 0"),
        ("docker/proxy/haproxy.cfg", "maxconn 1900", "maxconn 2000", "and the proxy gives it 2000"),
        ("docker/proxy/haproxy.cfg", "    maxconn 4000\n", "", "connections, and the proxy 0"),
        ("docker/proxy/haproxy.cfg", "maxconn 4000", "maxconn 8000", "connections, and the proxy 8000"),
        ("docker/proxy/haproxy.cfg", "/pinned/ca.pem", "/data/tls/ca.pem", "no volume of its own"),
        ("docker/prometheus/prometheus.yaml", ', "gateway-b:8791"', "", "Prometheus asks"),
        ("docker/prometheus/prometheus.yaml", "rules.yaml", "rule.yaml", "Prometheus has no"),
        ("docker/compose.yaml", "aliases: [gateway]", "aliases: [bus]", "nobody is called gateway"),
        ("docker/compose.yaml", "file: proxy/haproxy.cfg", "file: proxy/proxy.cfg", "there is no file"),
        ("docker/compose.yaml", "target: /usr/local/etc/haproxy/haproxy.cfg", "target: /etc/haproxy.cfg", "is not handed over"),
        ("docker/compose.yaml", "LGSP_DATA: /gateways/b", "LGSP_DATA: /gateway/b", "/gateway/b lies on no volume"),
        ("docker/compose.yaml", "networks: [gateways, database, broker, witness]", "networks: [gateways, database, witness]", "other networks"),
        ("docker/compose.yaml", "networks: [national, witness]", "networks: [national]", "shares no network with its witness"),
        ("docker/compose.yaml", '--tls, "8793"', '--tls, "8794"', "the gateways call https://ndxp-mock:8793/witness"),
        ("docker/compose.yaml", "/witness/tls/witness.pem, ", "/witness/tls/other.pem, ", "nobody makes /witness/tls/other.pem"),
        ("docker/compose.yaml", "ndxp-mock: {condition: service_started}", "ndxp-mock: {condition: service_healthy}", "does not start without"),
        ("docker/compose.yaml", 'volumes: ["witness:/witness"]', 'volumes: ["gateway-a:/witness"]', "ndxp-mock mounts"),
        ("docker/found", 'url = "https://ndxp-mock', 'url = "http://ndxp-mock', "the gateways call http://ndxp-mock"),
        ("docker/found", "\\nca = ", "\\nauthority = ", "found writes ['authority'"),
        ("docker/found", "--make-key", "--new-key", "the mock takes no --new-key"),
        ("docker/found", "> /witness/logs", "> /witness/log", "found tells another witness"),
        ("docker/found", " /gateways/b/lgsp.toml; do", "; do", "gateway-b is not told of its witness"),
        ("docker/compose.yaml", "POSTGRES_PASSWORD_FILE: /database/", "POSTGRES_PASSWORD_FILE: /data/", "call another database"),
        ("docker/compose.yaml", "RABBITMQ_CONFIG_FILE: /broker/", "RABBITMQ_CONFIG_FILE: /data/", "reads another file"),
        ("docker/compose.yaml", 'user: "999:999"', 'user: "0:0"', "it runs as root"),
        ("docker/compose.yaml", "    hostname: rabbitmq\n", "", "no name that lasts"),
        ("docker/compose.yaml", "broker:/broker:ro", "broker:/broker", "its own account"),
        ("docker/compose.yaml", "rabbitmq: {condition: service_healthy}", "rabbit: {condition: service_healthy}", "which is none"),
        ("docker/keys.toml", 'owner = "H01.05/ndxp"', 'owner = "H01.05/ndpx"', "keys.toml names other keys"),
        (".dockerignore", "!schemas\n", "", "schemas is not there"),
        (".dockerignore", "*\n", "", "the builder gets"),
    ],
)  # fmt: skip
def test_a_fault_in_docker_is_found(here, file, old, new, words):
    assert old in here.texts[file]
    harmed = Installation(texts=here.texts | {file: here.texts[file].replace(old, new)})
    assert any(words in problem for check in CHECKS for problem in check(harmed))
