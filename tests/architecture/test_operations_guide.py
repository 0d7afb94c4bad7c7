"""What the operations guide lists is so: log events, the unit files, and the docker commands beside it."""

import configparser
import re
import shlex
import shutil
import subprocess

import pytest
import typer
import yaml

from lgsp.bus.supervisor import DRAIN_SECONDS
from lgsp.cli.root import build
from lgsp.errors import Ending
from lgsp.http.server import SHUTDOWN
from lgsp.http.settings import HTTP_LIMITS
from lgsp.logs import EVENTS

ROW = re.compile(r"^\| (`[a-z_]+\.[a-z_]+`(?:, `[a-z_]+\.[a-z_]+`)*) \|", re.MULTILINE)
GUIDES = ("docs/operations.md", "docs/vi/operations.md")
DIARY = {
    "gateway",
    "request",
    "envelope",
    "stream",
    "delivery",
    "sweep",
    "body_key",
    "commit",
    "read",
    "directory",
    "task",
    "admin",
    "broker",
    "engine",
    "witness",
}
"""First words of the events that a gateway logs; the others are those of systems."""
COMPOSE = "docker compose -f docker/compose.yaml "
UsageError = typer.BadParameter.__mro__[1]


def listed(pattern, text):
    return {name for row in pattern.findall(text) for name in re.findall(r"`(\w+(?:\.\w+)?)", row)}


@pytest.mark.parametrize("guide", GUIDES)
def test_every_event_of_a_gateway_is_explained_and_no_other(project_files, guide):
    assert listed(ROW, project_files[guide]) == {event for event in EVENTS if event.partition(".")[0] in DIARY}


@pytest.mark.parametrize("guide", GUIDES)
def test_every_code_that_a_command_ends_with_is_explained_and_no_other(project_files, guide):
    section = project_files[guide].partition("\n## 15. ")[2]
    assert re.findall(r"^\| (\d+) \|", section, re.MULTILINE) == [str(int(each)) for each in Ending]


def unit_of(text):
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(text)
    return unit


@pytest.mark.parametrize(("name", "command"), [("lgsp-gateway.service", "serve"), ("lgsp-adapter@.service", "run")])
def test_a_unit_file_starts_what_there_is_on_files_that_it_may_write(project_files, name, command):
    service = unit_of(project_files[f"docs/systemd/{name}"])["Service"]
    program, *arguments = shlex.split(service["ExecStart"].replace("%i", "vnfishbase"))
    state = f"/var/lib/{service['StateDirectory']}".replace("%i", "vnfishbase")
    assert program == "/opt/lgsp/bin/lgsp"
    assert parsed(arguments) == command
    assert arguments[-1].removesuffix("/system.toml") == state
    assert (service["ProtectSystem"], service["NoNewPrivileges"], service["UMask"]) == ("strict", "yes", "0077")
    assert int(service["TimeoutStopSec"]) > DRAIN_SECONDS + SHUTDOWN + 2 * HTTP_LIMITS.drain_seconds


@pytest.mark.parametrize("name", ["lgsp-gateway.service", "lgsp-adapter@.service"])
def test_systemd_takes_a_unit_file_as_it_is_and_finds_it_little_exposed(project_files, tmp_path, name):
    text = project_files[f"docs/systemd/{name}"]
    # The program and its user are not installed where the tests run; everything else is looked at.
    unit = tmp_path / name.replace("@", "@vnfishbase")
    unit.write_text(
        re.sub(r"^(User|Group)=.*$", r"\1=daemon", text, flags=re.MULTILINE).replace("/opt/lgsp/bin/lgsp", "/bin/true")
    )
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None, "systemd-analyze is not installed: as an administrator run apt-get install systemd"
    verified = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    exposed = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=25", str(unit)], capture_output=True, text=True, check=False
    )
    assert exposed.returncode == 0, exposed.stdout + exposed.stderr


@pytest.mark.parametrize("guide", GUIDES)
def test_the_guide_installs_each_unit_file(project_files, guide):
    found = {path.rpartition("/")[2] for path in project_files if path.startswith("docs/systemd/")}
    assert found == set(re.findall(r"docs/systemd/(lgsp-[\w@-]+\.service)", project_files[guide]))


def parsed(arguments):
    """The command that these arguments are for; raises `UsageError` for what the program does not take."""
    context = typer.main.get_command(build()).make_context("lgsp", list(arguments))
    while getattr(context.command, "commands", None) and (rest := [*context._protected_args, *context.args]):
        name, found, rest = context.command.resolve_command(context, rest)
        context = found.make_context(name, rest, parent=context)
    return context.info_name


def docker_commands(text):
    return [line.removeprefix(COMPOSE) for line in text.splitlines() if line.startswith(COMPOSE)]


def wrong_with(command, services):
    """What is wrong with a docker compose command, "" when nothing is."""
    verb, *words = shlex.split(command)
    while words and words[0].startswith("--"):
        words = words[2:] if words[0] in {"--entrypoint", "--volume"} else words[1:]
    if words and words[0] not in services:
        return f"there is no service {words[0]}"
    entry = re.search(r"--entrypoint (\w+)", command)
    program = [entry[1]] if entry else [] if verb == "exec" else ["lgsp"]
    line = [*program, *words[1:]]
    try:
        return "" if line[:1] != ["lgsp"] or not line[1:] or parsed(line[1:]) else "no command"
    except UsageError as error:
        return error.format_message()


def test_every_docker_command_names_a_service_and_what_it_takes(project_files):
    services = yaml.safe_load(project_files["docker/compose.yaml"])["services"]
    commands = docker_commands(project_files["docker/README.md"])
    assert len(commands) >= 8
    assert [each for each in commands if wrong_with(each, services)] == []


@pytest.mark.parametrize(
    "command",
    ["exec gatewey-a lgsp doctor", "exec gateway-a lgsp doktor", "run --rm --entrypoint lgsp founding directory shew"],
)
def test_a_docker_command_that_would_fail_is_found(project_files, command):
    assert wrong_with(command, yaml.safe_load(project_files["docker/compose.yaml"])["services"])


def test_the_readme_of_docker_tells_each_service_and_volume(project_files):
    compose = yaml.safe_load(project_files["docker/compose.yaml"])
    table = project_files["docker/README.md"].partition("## Who has what")[2].partition("## Commands")[0]
    assert set(compose["services"]) <= set(re.findall(r"`([\w-]+)`", table))
