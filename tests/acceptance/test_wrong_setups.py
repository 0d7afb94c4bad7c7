"""Every way to get a file or folder wrong that a person makes or names: one clear message with the way out, a stated exit code, nothing left behind.

A row of a table is one way. Each is met through the command line; what is a fault of a process (port, second instance, disk) by a real one.
"""

import ctypes
import fcntl
import json
import os
import re
import resource
import shlex
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from lgsp.errors import Ending, catalogue

CODE = re.compile(r"^lgsp: \[([a-z_]+)\] ", re.MULTILINE)
HELD = re.compile(r"(-wal|-shm|-journal|\.lock)$|^lock$")
"""Files that whoever opens a database or holds a folder leaves there: they hold nothing of a command's own."""
FISHERY = """
[[agency]]
id = "H01.99"
[[system]]
id = "H01.99/asker"
[[key]]
owner = "H01.99/asker"
role = "system"
file = "data/systems/H01.99-asker/key.jwk"
"""
ADAPTER = """
consumes = ["vn.lgsp.examples.record.told.v1"]

[adapter]
name = "asker"
version = "1.0.0"
class = "{name}:Asker"
title = {{ en = "Asker", vi = "Bên hỏi" }}

[system]
name = "asker"

[settings.seed]
type = "integer"
description = "A number"
"""
CLASS = """
from lgsp.sdk import Adapter, handles

class Asker(Adapter):
    @handles("vn.lgsp.examples.record.told.v1")
    async def told(self, message): ...
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row does its harm: a data folder, one of its systems, an adapter, a directory file, a backup."""

    here: Path
    data: Path
    system: Path
    """The folder of the system H01.99/asker."""

    @property
    def settings(self) -> Path:
        return self.data / "lgsp.toml"

    @property
    def system_file(self) -> Path:
        return self.system / "system.toml"

    @property
    def ledger(self) -> Path:
        return self.data / "bus.sqlite"

    @property
    def directory(self) -> Path:
        return self.here / "directory.toml"

    @property
    def adapter(self) -> Path:
        return self.here / "adapter" / "adapter.toml"

    @property
    def backup(self) -> Path:
        return self.here / "backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to get something wrong: the harm, the command that meets it, what it says and how it ends."""

    harm: Callable[[Place], object]
    code: str
    says: tuple[str, ...] = ()
    command: str = ""
    ending: int = Ending.UNUSABLE
    around: dict[str, str] = field(default_factory=dict)
    """Variables of the environment."""


# --- what the rows are done to ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(founded, run_command, tmp_path_factory):
    """A data folder with a registered system, an adapter, a directory file and a backup, all of them in order; to be copied."""
    here = tmp_path_factory.mktemp("whole")
    place = place_in(here)
    shutil.copytree(founded, place.data)
    for command in (
        f"system new H01.99/asker --data {place.data}",
        f"directory apply {write(place.directory, FISHERY)} --data {place.data}",
        f"backup create {place.backup} --data {place.data}",
    ):
        assert run_command(*shlex.split(command)) == 0, command
    place.directory.write_text('[[agency]]\nid = "H01.98"\n')
    place.adapter.parent.mkdir()
    return here


@pytest.fixture
def place(whole, tmp_path, request):
    """A copy of it for one row."""
    here = shutil.copytree(whole, tmp_path / "here")
    found = place_in(here)
    name = f"asker_{abs(hash(request.node.name))}"  # a module is imported once in a process
    found.adapter.write_text(ADAPTER.format(name=name))
    found.adapter.with_name(f"{name}.py").write_text(CLASS)
    write(found.system_file, found.system_file.read_text() + "\n[settings]\nseed = 1\n")
    return found


def place_in(here):
    return Place(here=here, data=here / "data", system=here / "data/systems/H01.99-asker")


def write(path, text):
    path.write_text(text)
    return path


def put(what, text):
    """Write this in the place of a file."""
    return lambda place: getattr(place, what).write_text(text)


def add(what, text):
    return lambda place: write(getattr(place, what), getattr(place, what).read_text() + text)


def lead(what, text):
    return lambda place: write(getattr(place, what), text + getattr(place, what).read_text())


def change(what, old, new):
    def harm(place):
        path = getattr(place, what)
        text, count = re.subn(old, new, path.read_text(), count=1, flags=re.MULTILINE)
        assert count, old
        path.write_text(text)

    return harm


def lose(what):
    def harm(place):
        path = getattr(place, what)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return harm


def folder(what):
    """Have a folder where a file should be."""

    def harm(place):
        getattr(place, what).unlink()
        getattr(place, what).mkdir()

    return harm


def garble(what):
    return lambda place: getattr(place, what).write_bytes(b"\xff\xfe\x00")


def bar(what):
    """Let nobody read it, its owner neither."""
    return lambda place: getattr(place, what).chmod(0)


def in_data(harm, name):
    """Do a harm to a file of the data folder."""
    return lambda place: harm(place.data / name)


def both(*harms):
    return lambda place: [harm(place) for harm in harms]


def nothing(_place):
    """The file is in order; what surrounds it is not."""


def link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def empty_folder(path):
    path.unlink()
    path.mkdir()


def sealed_key(path):
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase")))


def key_of(made):
    return lambda path: path.write_bytes(made().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def rsa_key():
    return rsa.generate_private_key(public_exponent=65_537, key_size=1_024)


def like(name):
    """Have the contents of another file of the same folder."""
    return lambda path: path.write_bytes(path.with_name(name).read_bytes())


def sql(*statements):
    def harm(path):
        with sqlite3.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return harm


def box(*statements):
    return lambda place: sql(*statements)(place.system / "box.sqlite")


def meta(name, value):
    return f"UPDATE meta SET value = '{value}' WHERE name = '{name}'"


# --- lgsp.toml and the environment --------------------------------------------------------------------------------------------------------

DOCTOR = "doctor --data DATA"
NO_SECTION = "htp: there is no such setting; did you mean http?"
NO_SETTING = "http.prot: there is no such setting; did you mean port?"
WHOLE_NUMBER = "should be a valid integer"

SETTINGS = {
    "missing": Row(harm=lose("settings"), code="data_missing", says=("lgsp.toml is not there",)),
    "a folder": Row(harm=folder("settings"), code="config_invalid", says=("lgsp.toml: Is a directory",)),
    "not text": Row(harm=garble("settings"), code="config_invalid", says=("lgsp.toml: 'utf-8'",)),
    "unreadable": Row(harm=bar("settings"), code="config_invalid", says=("lgsp.toml: Permission denied",)),
    "no TOML": Row(harm=lead("settings", "[bus\n"), code="config_invalid", says=("lgsp.toml: ", "line 1")),
    "a table twice": Row(harm=add("settings", "\n[bus]\n"), code="config_invalid", says=("lgsp.toml: ", "twice")),
    "unknown section": Row(harm=add("settings", "\n[htp]\nport = 1\n"), code="config_invalid", says=(NO_SECTION,)),
    "unknown setting": Row(
        harm=change("settings", r"^\[http\]", "[http]\nprot = 1"), code="config_invalid", says=(NO_SETTING,)
    ),
    "wrong type": Row(
        harm=change("settings", r"^port = .*", 'port = "many"'),
        code="config_invalid",
        says=("http.port (lgsp.toml): ", WHOLE_NUMBER),
    ),
    "out of range": Row(
        harm=change("settings", r"^port = .*", "port = 70000"), code="config_invalid", says=("http.port", "65535")
    ),
    "a setting missing": Row(
        harm=change("settings", r"^urn = .*", ""), code="config_invalid", says=("bus.urn", "required")
    ),
    "a section missing": Row(harm=put("settings", "[http]\nport = 1\n"), code="config_invalid", says=("bus", "keys")),
    "a value for a section": Row(harm=lead("settings", "witness = 3\n"), code="config_invalid", says=("witness",)),
    "another bus's gateway": Row(
        harm=change("settings", r"bus:91:gw", "bus:92:gw"),
        code="config_invalid",
        says=("the gateway is another bus's",),
    ),
    "a pin that is no key": Row(
        harm=change("settings", r"^x = .*", 'x = "AAAA"'), code="config_invalid", says=("keys", "registrar")
    ),
    "half a TLS pair": Row(
        harm=change("settings", r"^\[http\]", '[http]\ntls_cert = "a.pem"'),
        code="config_invalid",
        says=("tls_cert and tls_key are given together",),
    ),
    "unknown section in the environment": Row(
        harm=nothing,
        around={"LGSP_HTPP__PORT": "1"},
        code="config_invalid",
        says=("LGSP_HTPP__PORT: there is no section htpp; did you mean http?",),
    ),
    "unknown setting in the environment": Row(
        harm=nothing, around={"LGSP_HTTP__PROT": "1"}, code="config_invalid", says=(NO_SETTING,)
    ),
    "a section in the environment": Row(
        harm=nothing, around={"LGSP_HTTP": "1"}, code="config_invalid", says=("LGSP_HTTP: it is a section",)
    ),
    "wrong type in the environment": Row(
        harm=nothing,
        around={"LGSP_HTTP__PORT": "many"},
        code="config_invalid",
        says=("http.port (LGSP_HTTP__PORT): ", WHOLE_NUMBER),
    ),
    "a pin in the environment that is no JSON": Row(
        harm=nothing, around={"LGSP_KEYS__REGISTRAR": "key"}, code="config_invalid", says=("LGSP_KEYS__REGISTRAR: ",)
    ),
    "wrong flag": Row(
        harm=nothing,
        command="serve --data DATA --port 70000",
        code="config_invalid",
        says=("http.port (flag): ", "65535"),
    ),
    "all at once": Row(
        harm=both(
            change("settings", r"^\[http\]", "[http]\nprot = 1"),
            change("settings", r"^urn = .*", ""),
            change("settings", r"^port = .*", 'port = "many"'),
            add("settings", "\n[htp]\nport = 1\n"),
        ),
        around={"LGSP_STORAGE__KIND": "paper", "LGSP_HTPP__PORT": "1"},
        code="config_invalid",
        says=(NO_SECTION, NO_SETTING, "bus.urn", "http.port", "storage.kind (LGSP_STORAGE__KIND)", "LGSP_HTPP__PORT"),
    ),
    "no TOML, and a stranger around it": Row(
        harm=lead("settings", "[bus\n"),
        around={"LGSP_HTPP__PORT": "1"},
        code="config_invalid",
        says=("lgsp.toml: ", "LGSP_HTPP__PORT"),
    ),
}

# --- key files ----------------------------------------------------------------------------------------------------------------------------

SERVE = "serve --data DATA --port 0"
GATEWAY, LOG, BODY, SUBJECT = "keys/gateway-a.pem", "keys/log.pem", "keys/body.key", "keys/subject.key"


def wide(path):
    path.chmod(0o644)


KEYS = {
    "missing": Row(harm=in_data(Path.unlink, GATEWAY), code="key_file_broken", says=(GATEWAY, "does not exist")),
    "a folder": Row(harm=in_data(empty_folder, LOG), code="key_file_unsafe", says=(LOG, "is not a regular file")),
    "unreadable": Row(
        harm=in_data(lambda path: path.chmod(0), GATEWAY), code="key_file_broken", says=(GATEWAY, "Permission denied")
    ),
    "readable by all": Row(harm=in_data(wide, LOG), code="key_file_unsafe", says=(LOG, "has mode 0644")),
    "a secret readable by all": Row(harm=in_data(wide, BODY), code="key_file_unsafe", says=(BODY, "has mode 0644")),
    "a link": Row(harm=in_data(link, GATEWAY), code="key_file_unsafe", says=(GATEWAY, "is a symbolic link")),
    "not a key": Row(
        harm=in_data(lambda path: path.write_text("key"), GATEWAY),
        code="key_file_broken",
        says=(GATEWAY, "holds no PKCS#8 key"),
    ),
    "under a passphrase that nobody gives": Row(
        harm=in_data(sealed_key, GATEWAY), code="passphrase_missing", says=(GATEWAY,)
    ),
    "of RSA": Row(harm=in_data(key_of(rsa_key), LOG), code="key_file_broken", says=(LOG, "of another kind")),
    "on another curve": Row(
        harm=in_data(key_of(lambda: ec.generate_private_key(ec.SECP384R1())), GATEWAY),
        code="key_file_broken",
        says=(GATEWAY, "on another curve"),
    ),
    "a secret where a key belongs": Row(
        harm=in_data(lambda path: path.write_bytes(bytes(32)), GATEWAY), code="key_file_broken", says=(GATEWAY,)
    ),
    "a key where a secret belongs": Row(
        harm=in_data(like("log.pem"), BODY), code="key_file_broken", says=(BODY, "does not hold 32 bytes")
    ),
    "half a ring": Row(
        harm=in_data(lambda path: path.write_bytes(bytes(40)), SUBJECT),
        code="key_file_broken",
        says=(SUBJECT, "does not hold 1 to 8 times 32 bytes"),
    ),
    "too large": Row(
        harm=in_data(lambda path: path.write_bytes(bytes(20_000)), GATEWAY),
        code="key_file_broken",
        says=(GATEWAY, "too large"),
    ),
    "the log's in the gateway's place": Row(
        harm=in_data(like("log.pem"), GATEWAY), code="gateway_unknown", says=(GATEWAY,)
    ),
    "the gateway's in the log's place": Row(
        harm=in_data(like("gateway-a.pem"), LOG), code="config_invalid", says=("keys.log: ",)
    ),
    "all at once": Row(
        harm=both(in_data(Path.unlink, GATEWAY), in_data(wide, LOG), in_data(like("log.pem"), BODY)),
        code="key_file_broken",
        says=(GATEWAY, "does not exist", LOG, "has mode 0644", BODY, "does not hold 32 bytes"),
    ),
}

# --- the data folder ----------------------------------------------------------------------------------------------------------------------

STATUS = "db status --data DATA"


def stranger(path):
    path.unlink()
    sql("CREATE TABLE dishes (name TEXT)")(path)


DATA = {
    "missing": Row(harm=lose("data"), code="data_missing", says=("lgsp.toml is not there",)),
    "a file": Row(harm=both(lose("data"), put("data", "x")), code="data_missing", says=("data",)),
    "empty": Row(harm=both(lose("data"), lambda place: place.data.mkdir()), code="data_missing", says=("lgsp.toml",)),
    "of somebody else": Row(
        harm=lose("settings"), command="init --data DATA", code="file_exists", says=("is not empty",)
    ),
    "without a ledger": Row(harm=lose("ledger"), code="data_missing", says=("bus.sqlite is not there",)),
    "with a folder for a ledger": Row(harm=folder("ledger"), code="data_missing", says=("bus.sqlite",)),
    "with text for a ledger": Row(
        harm=put("ledger", "not a database, " * 1_000), code="data_unusable", says=("bus.sqlite: it is not a database",)
    ),
    "with half a ledger": Row(
        harm=lambda place: os.truncate(place.ledger, 5_000), code="data_unusable", says=("bus.sqlite: it is damaged",)
    ),
    "with somebody's database": Row(
        harm=in_data(stranger, "bus.sqlite"), code="data_unusable", says=("it is no ledger of the bus",)
    ),
    "of a newer version": Row(
        harm=in_data(sql(meta("schema", 99), meta("compatible", 99)), "bus.sqlite"),
        code="data_newer",
        says=("has version 99", "lgsp db status"),
    ),
    "of a newer version, looked at": Row(
        harm=in_data(sql(meta("schema", 99), meta("compatible", 99)), "bus.sqlite"),
        command=STATUS,
        code="data_newer",
        says=("tables of version 99",),
        ending=Ending.NOT_DONE,
    ),
    "of a newer version, to be brought back": Row(
        harm=in_data(sql(meta("schema", 99), meta("compatible", 99)), "bus.sqlite"),
        command="db upgrade --data DATA",
        code="data_newer",
        says=("version 99",),
    ),
    "of an older version": Row(
        harm=in_data(sql(meta("schema", 3), meta("compatible", 2)), "bus.sqlite"),
        code="schema_old",
        says=("has version 3", "lgsp db upgrade"),
    ),
    "unreadable": Row(harm=bar("data"), code="config_invalid", says=("lgsp.toml: Permission denied",)),
    "with an unreadable ledger": Row(
        harm=bar("ledger"), code="data_unusable", says=("bus.sqlite: it cannot be opened",)
    ),
    "with a ledger that cannot be written": Row(
        harm=lambda place: place.ledger.chmod(0o400), code="data_unusable", says=("bus.sqlite: it cannot be written",)
    ),
    "in which nothing can be made": Row(
        harm=lambda place: place.data.chmod(0o500), code="data_unusable", says=("admin.sock: Permission denied",)
    ),
    "with a lock that cannot be opened": Row(
        harm=in_data(lambda path: path.chmod(0o400), "lock"), code="data_unusable", says=("lock: Permission denied",)
    ),
    "with a file for a socket": Row(
        harm=lambda place: write(place.data / "admin.sock", "x"),
        code="file_exists",
        says=("admin.sock is there and is no socket",),
    ),
    "made where nothing can be": Row(
        harm=lambda place: place.here.chmod(0o500),
        command="init --data HERE/new",
        code="data_unusable",
        says=("new: Permission denied",),
    ),
    "in the clear beyond this machine": Row(
        harm=change("settings", r"^host = .*", 'host = "0.0.0.0"'), code="listen_refused", says=("0.0.0.0",)
    ),
    "at no address": Row(
        harm=change("settings", r"^host = .*", 'host = "nowhere.invalid"\nbehind_tls_proxy = true'),
        code="config_invalid",
        says=("http.host: nowhere.invalid is no address of this machine",),
    ),
    "with a port file nowhere": Row(
        harm=nothing,
        command=f"{SERVE} --port-file HERE/none/port",
        code="data_missing",
        says=("none/port: No such file or directory",),
    ),
    "with a certificate that is none": Row(
        harm=both(
            change("settings", r"^\[http\]", '[http]\ntls_cert = "trust.json"\ntls_key = "keys/log.pem"'),
        ),
        code="config_invalid",
        says=("http.tls_cert",),
    ),
    "pinning another registrar": Row(
        harm=change("settings", r"^x = .*", f'x = "{"A" * 42}0"'), code="config_invalid", says=("registrar",)
    ),
}

# --- a system's file ----------------------------------------------------------------------------------------------------------------------

INBOX = "inbox --system SYSTEM --wait 0.1"

SYSTEM = {
    "missing": Row(harm=lose("system_file"), code="config_invalid", says=("system.toml: No such file",)),
    "a folder": Row(harm=folder("system_file"), code="config_invalid", says=("system.toml: Is a directory",)),
    "not text": Row(harm=garble("system_file"), code="config_invalid", says=("system.toml: not UTF-8",)),
    "unreadable": Row(harm=bar("system_file"), code="config_invalid", says=("system.toml: Permission denied",)),
    "no TOML": Row(harm=lead("system_file", "[bus\n"), code="config_invalid", says=("system.toml: ", "line ")),
    "unknown member": Row(
        harm=lead("system_file", 'ulr = "x"\n'),
        code="config_invalid",
        says=("system.toml: ulr: there is no such member; did you mean url?",),
    ),
    "wrong type": Row(
        harm=change("system_file", r"^log = .*", "log = 3"), code="config_invalid", says=("log: ", "valid string")
    ),
    "a member missing": Row(
        harm=change("system_file", r"^box = .*", ""), code="config_invalid", says=("box: is missing",)
    ),
    "in the clear beyond this machine": Row(
        harm=change("system_file", r"^url = .*", 'url = "http://bus.example.vn"'),
        code="config_invalid",
        says=("url: takes http only to this machine itself; use https",),
    ),
    "no address around it": Row(
        harm=nothing, around={"LGSP_URL": "bus"}, code="config_invalid", says=("url: is not an address",)
    ),
    "all at once": Row(
        harm=both(
            lead("system_file", 'ulr = "x"\n'),
            change("system_file", r"^log = .*", "log = 3"),
            change("system_file", r"^box = .*", ""),
            change("system_file", r"^x = .*", 'x = "AAAA"'),
        ),
        around={"LGSP_URL": "bus"},
        code="config_invalid",
        says=("did you mean url?", "log: ", "box: is missing", "registrar: ", "url: is not an address"),
    ),
    "without its key": Row(
        harm=lambda place: (place.system / "key.pem").unlink(),
        code="key_file_broken",
        says=("key.pem: does not exist",),
    ),
    "with a key that all can read": Row(
        harm=lambda place: wide(place.system / "key.pem"), code="key_file_unsafe", says=("key.pem: has mode 0644",)
    ),
    "with the public key for the private one": Row(
        harm=change("system_file", r"^key = .*", 'key = "key.jwk"'), code="key_file_unsafe", says=("key.jwk: has mode",)
    ),
    "with an authority that is none": Row(
        harm=lead("system_file", 'ca = "key.jwk"\n'), code="config_invalid", says=("ca: ", "key.jwk")
    ),
    "with an authority that is not there": Row(
        harm=lead("system_file", 'ca = "ca.pem"\n'), code="config_invalid", says=("ca.pem: No such file",)
    ),
    "with a folder for a box": Row(
        harm=lambda place: (place.system / "box.sqlite").mkdir(), code="data_unusable", says=("box.sqlite",)
    ),
    "with a box nowhere": Row(
        harm=change("system_file", r"^box = .*", 'box = "none/box.sqlite"'),
        code="data_missing",
        says=("none/box.sqlite: No such file",),
    ),
    "with text for a box": Row(
        harm=lambda place: write(place.system / "box.sqlite", "not a database, " * 100),
        code="data_unusable",
        says=("box.sqlite",),
    ),
    "with a box of a newer version": Row(harm=box("PRAGMA user_version = 99"), code="data_newer", says=("box.sqlite",)),
    "with a box where nothing can be written": Row(
        harm=lambda place: place.system.chmod(0o500), code="data_unusable", says=("box.sqlite: Permission denied",)
    ),
}

# --- an adapter's manifest and its settings -----------------------------------------------------------------------------------------------

ADAPT = "adapter run HERE/adapter --system SYSTEM"


def module(text):
    def harm(place):
        [path] = place.adapter.parent.glob("*.py")
        path.write_text(text)

    return harm


ADAPTERS = {
    "missing": Row(harm=lose("adapter"), code="adapter_invalid", says=("neither a folder with adapter.toml",)),
    "not text": Row(harm=garble("adapter"), code="adapter_invalid", says=("adapter.toml: not UTF-8",)),
    "unreadable": Row(harm=bar("adapter"), code="adapter_invalid", says=("adapter.toml: Permission denied",)),
    "no TOML": Row(harm=lead("adapter", "[bus\n"), code="adapter_invalid", says=("adapter.toml: ", "line ")),
    "unknown member": Row(
        harm=lead("adapter", "provide = []\n"),
        code="adapter_invalid",
        says=("provide: there is no such member; did you mean provides?",),
    ),
    "unknown member further in": Row(
        harm=change("adapter", r"^class", 'clas = "x"\nclass'),
        code="adapter_invalid",
        says=("adapter.clas: there is no such member; did you mean class?",),
    ),
    "unknown member of a setting": Row(
        harm=add("adapter", "defualt = 1\n"),
        code="adapter_invalid",
        says=("settings.seed.defualt: there is no such member; did you mean default?",),
    ),
    "wrong type": Row(
        harm=lead("adapter", 'concurrency = "many"\n'), code="adapter_invalid", says=("concurrency: ", WHOLE_NUMBER)
    ),
    "a member missing": Row(
        harm=change("adapter", r"^version = .*", ""), code="adapter_invalid", says=("adapter.version: is missing",)
    ),
    "a default that does not fit": Row(
        harm=add("adapter", 'default = "x"\n'),
        code="adapter_invalid",
        says=("settings.seed: the default is no integer",),
    ),
    "all at once": Row(
        harm=both(
            lead("adapter", 'provide = []\nconcurrency = "many"\n'),
            change("adapter", r"^version = .*", ""),
            add("adapter", "defualt = 1\n"),
        ),
        code="adapter_invalid",
        says=("did you mean provides?", "concurrency: ", "adapter.version: is missing", "did you mean default?"),
    ),
    "a class that is not there": Row(
        harm=change("adapter", r":Asker", ":Answerer"), code="adapter_invalid", says=("Answerer is no adapter",)
    ),
    "a module that is not there": Row(
        harm=change("adapter", r'"asker_\d+:', '"nowhere_at_all:'), code="adapter_invalid", says=("nowhere_at_all",)
    ),
    "a module that is no Python": Row(
        harm=module("def def"), code="adapter_invalid", says=("class: SyntaxError: ", "line 1")
    ),
    "a module that fails": Row(harm=module("1 / 0"), code="adapter_invalid", says=("class: ZeroDivisionError",)),
    "handlers and manifest differ": Row(
        harm=change("adapter", r"told\.v1", "asked.v1"),
        code="adapter_invalid",
        says=("no handler for vn.lgsp.examples.record.asked.v1", "a handler for vn.lgsp.examples.record.told.v1"),
    ),
    "for another system": Row(
        harm=change("adapter", r'^\[system\]\nname = "asker"', '[system]\nname = "other"'),
        code="config_invalid",
        says=("the adapter does not serve urn:lgsp:agency:H01.99:sys:asker",),
    ),
    "unknown setting": Row(
        harm=change("system_file", r"^seed = 1", "seed = 1\nsede = 1"),
        code="config_invalid",
        says=("settings.sede: is no setting of this adapter; did you mean seed?",),
    ),
    "unknown setting around it": Row(
        harm=nothing,
        around={"LGSP_SETTING_SEDE": "1"},
        code="config_invalid",
        says=("settings.sede: is no setting of this adapter; did you mean seed?",),
    ),
    "a setting of the wrong type": Row(
        harm=change("system_file", r"^seed = 1", 'seed = "many"'),
        code="config_invalid",
        says=("settings.seed: is no integer",),
    ),
    "a setting missing": Row(
        harm=change("system_file", r"^seed = 1", ""), code="config_invalid", says=("settings.seed: is missing",)
    ),
    "all settings at once": Row(
        harm=change("system_file", r"^seed = 1", "sede = 1\nother = 2"),
        code="config_invalid",
        says=("settings.seed: is missing", "settings.sede: ", "settings.other: "),
    ),
}

# --- a directory file ---------------------------------------------------------------------------------------------------------------------

APPLY = "directory apply HERE/directory.toml --data DATA"
GRANT = """
[[grant]]
id = "ask"
grantee = "H01.99/asker"
type = "vn.lgsp.examples.record.ask.v1"
audience = "H01.99/asker"
basis = "a test"
"""
KEY = '[[key]]\nowner = "H01.99/asker"\nrole = "system"\nfile = "{}"\n'


def directory(text, **named):
    return Row(harm=put("directory", text), **{"code": "directory_invalid", **named})


DIRECTORY = {
    "missing": Row(harm=lose("directory"), code="data_missing", says=("directory.toml: No such file",)),
    "a folder": Row(harm=folder("directory"), code="data_unusable", says=("directory.toml: Is a directory",)),
    "not text": Row(harm=garble("directory"), code="config_invalid", says=("directory.toml: 'utf-8'",)),
    "unreadable": Row(harm=bar("directory"), code="data_unusable", says=("directory.toml: Permission denied",)),
    "no TOML": directory("[[agency\n", code="config_invalid", says=("directory.toml: ", "line ")),
    "unknown kind": directory(
        '[[agnecy]]\nid = "x"\n', code="config_invalid", says=("there is no [[agnecy]]; did you mean [[agency]]?",)
    ),
    "a table that is written once": directory(
        '[agency]\nid = "H01.98"\n', code="config_invalid", says=("agency is written [[agency]], once for each record",)
    ),
    "unknown member": directory(
        GRANT + 'purpose = ["x"]\n',
        ending=Ending.NOT_DONE,
        says=("grant ask: purpose: there is no such member; did you mean purposes?",),
    ),
    "wrong type": directory(
        GRANT + 'quota_per_day = "many"\n', ending=Ending.NOT_DONE, says=("grant ask: quota_per_day: ", "valid integer")
    ),
    "a member missing": directory(
        GRANT.replace("basis", "name"), ending=Ending.NOT_DONE, says=("grant ask: ", "basis: Field required")
    ),
    "a record twice": directory(
        '[[agency]]\nid = "H01.98"\n' * 2, ending=Ending.NOT_DONE, says=("stands twice in the file",)
    ),
    "nobody of that name": directory(
        GRANT.replace("H01.99/asker", "H01.99/nobody"), ending=Ending.NOT_DONE, says=("H01.99:sys:nobody",)
    ),
    "a key file that is not there": directory(
        KEY.format("none.jwk"), code="data_missing", says=("none.jwk: No such file or directory",)
    ),
    "a private key": directory(
        KEY.format("data/systems/H01.99-asker/key.pem"),
        code="key_refused",
        ending=Ending.NOT_DONE,
        says=("key.pem: a private key was given",),
    ),
    "a key file that holds no key": directory(
        KEY.format("directory.toml"), code="key_file_broken", says=("directory.toml: neither a JWK nor a public key",)
    ),
    "a JWK that is none": directory(
        '[[key]]\nowner = "H01.99/asker"\nrole = "system"\njwk = 3\n',
        code="key_refused",
        ending=Ending.NOT_DONE,
        says=("key of ",),
    ),
    "a schema that is not there": directory(
        '[[schema]]\nid = "urn:lgsp:schema:examples:record:1.0.0"\nfile = "none.json"\n',
        code="data_missing",
        says=("none.json: No such file or directory",),
    ),
    "a schema that is none": directory(
        '[[schema]]\nid = "urn:lgsp:schema:examples:record:1.0.0"\nfile = "directory.toml"\n',
        ending=Ending.NOT_DONE,
        says=("not a JSON Schema 2020-12 document",),
    ),
    "a removal without a name": directory(
        '[[remove]]\nkind = "grant"\n', code="config_invalid", says=("[[remove]] has a kind",)
    ),
    "all files at once": directory(
        KEY.format("none.jwk") + KEY.format("directory.toml") + '[[remove]]\nkind = "grant"\n',
        code="config_invalid",
        says=("none.jwk: No such file", "neither a JWK nor a public key", "[[remove]] has a kind"),
    ),
    "all records at once": directory(
        GRANT + 'purpose = ["x"]\nquota_per_day = "many"\n[[agency]]\nid = "H1"\n',
        ending=Ending.NOT_DONE,
        says=("did you mean purposes?", "quota_per_day: ", "agency H1: id: "),
    ),
    "no registrar's key": Row(
        harm=in_data(Path.unlink, "registrar/registrar.pem"),
        code="key_file_broken",
        says=("registrar.pem: does not exist",),
    ),
    "a registrar's key that all can read": Row(
        harm=in_data(wide, "registrar/registrar.pem"), code="key_file_unsafe", says=("registrar.pem: has mode 0644",)
    ),
    "another registrar's key": Row(
        harm=nothing,
        command=f"{APPLY} --registrar DATA/keys/log.pem",
        code="directory_invalid",
        ending=Ending.NOT_DONE,
        says=("log.pem is not the registrar's key",),
    ),
}

# --- a backup, and what it is checked under -----------------------------------------------------------------------------------------------

VERIFY = "backup verify HERE/backup"
CREATE = "backup create HERE/new --data DATA"


def in_backup(harm, name):
    return lambda place: harm(place.backup / name)


def edit_manifest(**members):
    def harm(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | members))

    return harm


BACKUP = {
    "missing": Row(harm=lose("backup"), code="backup_invalid", says=("holds no manifest of a backup",)),
    "a file": Row(harm=both(lose("backup"), put("backup", "x")), code="backup_invalid", says=("holds no manifest",)),
    "without a manifest": Row(
        harm=in_backup(Path.unlink, "manifest.json"), code="backup_invalid", says=("holds no manifest of a backup",)
    ),
    "of a newer version": Row(
        harm=in_backup(edit_manifest(v=99), "manifest.json"), code="backup_invalid", says=("that this program reads",)
    ),
    "unreadable": Row(
        harm=in_backup(lambda path: path.chmod(0), "ledger.sqlite"),
        code="data_unusable",
        says=("ledger.sqlite: Permission denied",),
    ),
    "with everything wrong": Row(
        harm=both(
            in_backup(Path.unlink, "trust.json"),
            in_backup(lambda path: os.truncate(path, 5_000), "ledger.sqlite"),
            in_backup(lambda path: path.write_text("x"), "letter.txt"),
        ),
        code="backup_invalid",
        says=("trust.json: is not there", "ledger.sqlite: is not the file", "letter.txt: is not in the manifest"),
    ),
    "under no trust file": Row(
        harm=nothing, command=f"{VERIFY} --trust HERE/none.json", code="data_missing", says=("none.json: No such file",)
    ),
    "under what is no trust file": Row(
        harm=nothing,
        command=f"{VERIFY} --trust HERE/directory.toml",
        code="config_invalid",
        says=("directory.toml: not the trust file of a bus",),
    ),
    "made where something stands": Row(
        harm=nothing, command="backup create HERE/backup --data DATA", code="file_exists", says=("backup",)
    ),
    "made nowhere": Row(
        harm=nothing, command="backup create HERE/none/new --data DATA", code="data_missing", says=("No such file",)
    ),
    "made where nothing can be": Row(
        harm=lambda place: place.here.chmod(0o500), command=CREATE, code="data_unusable", says=("Permission denied",)
    ),
    "made of another bus's folder": Row(
        harm=in_data(lambda path: write(path, path.read_text().replace("bus:91", "bus:92")), "trust.json"),
        command=CREATE,
        code="config_invalid",
        says=("trust.json: is another bus's",),
    ),
    "restored over a ledger": Row(
        harm=nothing,
        command="backup restore HERE/backup --data DATA --reason test --accept-loss",
        code="file_exists",
        says=("a ledger is there already; nothing was changed",),
    ),
    "restored where nothing can be": Row(
        harm=both(lose("ledger"), lambda place: place.data.chmod(0o500)),
        command="backup restore HERE/backup --data DATA --reason test --accept-loss",
        code="data_unusable",
        says=("Permission denied",),
    ),
}

TABLES = {
    "settings": (DOCTOR, SETTINGS),
    "keys": (SERVE, KEYS),
    "data folder": (SERVE, DATA),
    "system file": (INBOX, SYSTEM),
    "adapter": (ADAPT, ADAPTERS),
    "directory file": (APPLY, DIRECTORY),
    "backup": (VERIFY, BACKUP),
}
ROWS = {
    f"{what}: {name}": (row.command or command, row)
    for what, (command, rows) in TABLES.items()
    for name, row in rows.items()
}


@pytest.mark.parametrize(("command", "row"), ROWS.values(), ids=ROWS.keys())
def test_what_is_wrong_is_told_with_the_way_out_and_changes_nothing(place, lgsp, monkeypatch, command, row):
    row.harm(place)
    for name, value in row.around.items():
        monkeypatch.setenv(name, value)
    before = contents(place.here)
    with bound_by_modes():
        ended = lgsp(*words_of(command, place))
    check_told(ended.err, row)
    assert ended.code == row.ending
    assert contents(place.here) == before


def words_of(command, place):
    named = {"DATA": place.data, "HERE": place.here, "SYSTEM": place.system_file}
    return [re.sub("|".join(named), lambda found: str(named[found[0]]), word) for word in shlex.split(command)]


def check_told(told, row):
    codes = CODE.findall(told)
    assert codes == [row.code], told
    assert catalogue()[row.code].hint["en"] in told
    assert not [words for words in row.says if words not in told], told
    assert "Traceback" not in told


def contents(folder):
    """What a folder holds, but for what a database keeps beside itself and writes when it is opened."""
    found = {path: path.lstat().st_mode for path in folder.rglob("*") if not HELD.search(path.name)}
    files = {path: path.read_bytes() for path in found if path.is_file() and path.suffix not in {".sqlite", ".pyc"}}
    return {path: mode for path, mode in found.items() if path.name != "__pycache__" and path.suffix != ".pyc"}, files


# --- faults of a process ------------------------------------------------------------------------------------------------------------------


def test_a_second_gateway_and_a_taken_port_are_told_by_name(place, start, lgsp):
    first = start("serve", "--data", str(place.data), "--port", "0", cwd=place.here)
    [port] = re.findall(r":(\d+);", first.hear("listens on"))
    other = shutil.copytree(place.here, place.here.with_name("other"), ignore=shutil.ignore_patterns("admin.sock"))
    before = contents(place.here)
    held = f"held by lgsp serve since 20[^,]*, process {first.process.pid} on "
    for command in ("serve --data DATA --port 0", "db upgrade --data DATA"):
        ended = lgsp(*words_of(command, place))
        check_told(ended.err, Row(harm=nothing, code="data_locked"))
        assert re.search(held, ended.err)
        assert ended.code == Ending.UNUSABLE
    ended = lgsp("serve", "--data", other / "data", "--port", port)
    check_told(ended.err, Row(harm=nothing, code="port_in_use", says=(f"127.0.0.1:{port}",)))
    assert (ended.code, contents(place.here)) == (Ending.UNUSABLE, before)
    first.process.terminate()
    assert first.end()[0] == Ending.DONE


def test_a_second_program_of_one_system_is_told_that_its_box_is_held(place, start, lgsp):
    first = start("inbox", "--system", str(place.system_file), "--wait", "30", cwd=place.here)
    lock = place.system / "box.sqlite.lock"
    end = time.monotonic() + 30
    while not is_locked(lock):
        assert (first.process.poll(), time.monotonic() < end) == (None, True)
        time.sleep(0.02)  # another process: there is nothing here to await
    ended = lgsp(*words_of(INBOX, place))
    check_told(ended.err, Row(harm=nothing, code="data_locked", says=("box.sqlite",)))
    assert ended.code == Ending.UNUSABLE
    first.process.kill()
    first.end()


def is_locked(path):
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


FULL = {
    "a data folder": "init --data DISK/new",
    "a backup": "backup create DISK/new --data DATA",
    "a system": "system new H01.99/other --data DATA --out DISK/new",
}


@pytest.mark.parametrize("command", FULL.values(), ids=FULL.keys())
def test_what_finds_no_room_on_its_disk_says_so_and_leaves_nothing(place, lgsp, tmp_path, command):
    disk = tmp_path / "disk"
    disk.mkdir()
    with (
        mounted(disk, "-t", "tmpfs", "-o", "size=8k", "none") as is_mounted,
        nullcontext() if is_mounted else no_growth(),
    ):
        ended = lgsp(*words_of(command.replace("DISK", str(disk)), place))
        left = [path for path in disk.rglob("*") if path.is_file() and not HELD.search(path.name)]
    check_told(ended.err, Row(harm=nothing, code="data_unusable"))
    assert (ended.code, left) == (Ending.UNUSABLE, [])


def test_a_data_folder_on_a_disk_that_only_gives_is_told(place, lgsp):
    with mounted(place.data, "--bind", "-o", "ro", str(place.data)) as is_mounted:
        if not is_mounted:
            (place.data / "lock").chmod(0o400)
        with bound_by_modes():
            ended = lgsp(*words_of(SERVE, place))
    words = "Read-only file system" if is_mounted else "Permission denied"
    check_told(ended.err, Row(harm=nothing, code="data_unusable", says=("lock: ", words)))
    assert ended.code == Ending.UNUSABLE


@contextmanager
def mounted(folder, *how):
    """Mount something on a folder for the block, where this machine lets us; give whether it does."""
    is_mounted = (
        subprocess.run(["mount", *how, str(folder)], capture_output=True, timeout=20, check=False).returncode == 0
    )
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, timeout=20, check=True)


@contextmanager
def no_growth():
    """Let no file of this process grow beyond a block, as on a full disk: the operating system's own limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ExceptionGroup("tasks", [RuntimeError("a bug")])])
def test_a_fault_of_our_own_ends_apart_from_all_others_with_what_is_needed_to_mend_it(
    run_command, capsys, monkeypatch, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr("lgsp.cli.doctor.Settings.load", fail)
    assert run_command("doctor") == Ending.OUR_FAULT
    assert "RuntimeError: a bug" in capsys.readouterr().err


# --- modes of files that hold for everybody -----------------------------------------------------------------------------------------------


class CapHeader(ctypes.Structure):
    """`cap_user_header_t` of capget(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapData(ctypes.Structure):
    """`cap_user_data_t`, of which version 3 takes two."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


VERSION_3 = 0x20080522
PASS_OVER_MODES = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what lets an administrator read and write whatever the modes say."""


@contextmanager
def bound_by_modes():
    """Lay down the administrator's leave to pass over the modes of files, where the tests run with it, as long as the block runs."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = CapHeader(version=VERSION_3, pid=0), (CapData * 2)()
    assert libc.capget(ctypes.byref(header), data) == 0, os.strerror(ctypes.get_errno())
    whole = data[0].effective
    data[0].effective &= ~PASS_OVER_MODES
    assert libc.capset(ctypes.byref(header), data) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        data[0].effective = whole
        assert libc.capset(ctypes.byref(header), data) == 0, os.strerror(ctypes.get_errno())
