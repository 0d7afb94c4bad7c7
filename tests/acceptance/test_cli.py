"""Each command does what it says; each way to get it wrong gives one clear message and an exit code, and leaves nothing half-written."""

import json
import os
import re
import socket
import sqlite3
import stat
import subprocess
import sys

import pytest

from lgsp import app, keyfiles, ledgers
from lgsp.cli import founding
from lgsp.cli.root import COMMANDS, build
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, hold, read_trust
from lgsp.domain import keys
from lgsp.errors import Unusable

CODE = re.compile(r"^lgsp: \[([a-z_]+)\] ", re.MULTILINE)


def code_of(ended):
    """The catalogue code of the one message that a command ended with."""
    found = CODE.search(ended.err)
    assert found, ended.err
    assert ended.err.count("lgsp: [") == 1
    return found[1]


def modes(folder):
    return {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
        if path.suffix in {".pem", ".key", ".sqlite"}
    }


# --- init ---------------------------------------------------------------------------------------------------------------------------


def test_init_makes_a_whole_data_folder_with_safe_modes(founded):
    assert set(modes(founded).values()) == {0o600}
    assert {
        "keys/gateway-a.pem",
        "keys/log.pem",
        "keys/body.key",
        "keys/subject.key",
        "registrar/registrar.pem",
    } <= set(modes(founded))
    assert stat.S_IMODE(founded.stat().st_mode) == 0o700
    assert read_trust(founded / "trust.json").log.name == "lgsp.example.vn/91/2026"
    assert not [path for path in founded.iterdir() if path.name.startswith(".")]


def test_init_again_changes_nothing_and_says_so(data, lgsp):
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    ended = lgsp("init", "--data", data)
    assert (ended.code, "nothing was changed" in ended.err) == (0, True)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("crash", ["while making", "while moving"])
def test_an_init_that_was_stopped_is_finished_by_the_next(data, lgsp, crash):
    staging = data / (".new" if crash == "while making" else ".ready")
    staging.mkdir()
    if crash == "while making":
        for path in [path for path in data.iterdir() if path.name not in {".new", "lock"}]:
            path.rename(staging / path.name)
        (staging / "lgsp.toml").unlink()
    else:
        for name in ("trust.json", "lgsp.toml"):
            (data / name).rename(staging / name)
    assert lgsp("init", "--data", data).code == 0
    assert lgsp("doctor", "--data", data).code == 0
    assert not staging.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--province", "9"], "--province is two digits"),
        (["--gateway", "A!"], "--gateway is of a-z"),
        (["--origin", "X"], "--origin is 3 to 120"),
    ],
)
def test_init_refuses_names_that_the_protocol_does_not_take(tmp_path, lgsp, arguments, words):
    ended = lgsp("init", "--data", tmp_path / "data", *arguments)
    assert (ended.code, code_of(ended)) == (2, "config_invalid")
    assert words in ended.err
    assert not (tmp_path / "data").exists()


def test_init_leaves_a_folder_of_somebody_else_alone(tmp_path, lgsp):
    (tmp_path / "letter.txt").write_text("x")
    ended = lgsp("init", "--data", tmp_path)
    assert (ended.code, code_of(ended)) == (2, "file_exists")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_init_where_a_file_stands_or_nothing_can_be_made(tmp_path, lgsp):
    (tmp_path / "file").write_text("x")
    assert code_of(lgsp("init", "--data", tmp_path / "file")) == "file_exists"
    assert code_of(lgsp("init", "--data", tmp_path / "file" / "under")) == "data_unusable"


# --- language, help, environment ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ([], {}, "is missing"),
        (["--lang", "vi"], {}, "Thiếu"),
        (["--lang=vi"], {"LGSP_LANG": "en"}, "Thiếu"),
        ([], {"LGSP_LANG": "vi"}, "Thiếu"),
        ([], {"LC_ALL": "vi_VN.UTF-8"}, "Thiếu"),
        ([], {"LC_ALL": "fr_FR.UTF-8"}, "is missing"),
    ],
)
def test_messages_come_in_the_language_asked_for(tmp_path, lgsp, monkeypatch, arguments, environment, words):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ended = lgsp("doctor", "--data", tmp_path / "none", *arguments)
    assert (ended.code, code_of(ended)) == (2, "data_missing")
    assert words in ended.err


def options(command):
    """Every option of a command and of the commands in it."""
    for option in command.params:
        if option.param_type_name == "option":
            yield command.name, option
    for inner in getattr(command, "commands", {}).values():
        yield from options(inner)


def test_every_flag_has_a_variable_of_the_environment():
    from typer.main import get_command

    own = {"--help", "--version", "--serve", "--json"}  # the demo's own switches are for a person at the terminal
    lacking = [
        (name, option.opts)
        for name, option in options(get_command(build(list(COMMANDS))))
        if not option.envvar
        and not option.hidden  # what one program of ours says to another
        and "LGSP_" not in (option.help or "")
        and not own & set(option.opts)
    ]
    assert lacking == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_in_both_languages(lgsp, name):
    ended = lgsp(name, "--help")
    assert ended.code == 0
    assert " | " in " ".join(ended.out.split())


def test_a_misspelt_command_or_flag_is_told_and_ends_with_2(lgsp):
    for arguments in (["sevre"], ["serve", "--prot", "1"], ["--lang", "fr", "doctor"], ["serve", "--port", "many"]):
        ended = lgsp(*arguments)
        assert ended.code == 2
        assert "Usage" in ended.err


def test_a_variable_of_the_environment_takes_the_place_of_a_flag(data, lgsp, monkeypatch):
    monkeypatch.setenv("LGSP_DATA", str(data))
    monkeypatch.setenv("LGSP_HTTP__PORT", "8123")
    ended = lgsp("doctor")
    assert re.search(r"http\.port +8123 +LGSP_HTTP__PORT", ended.out)


# --- doctor -------------------------------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong_with_a_new_folder(data, lgsp):
    ended = lgsp("doctor", "--data", data)
    assert ended.code == 0
    assert "✗" not in ended.out
    assert "the registrar's private key lies on the gateway" in ended.out
    assert "! no witness co-signs the log" in ended.out


def _widen(data):
    (data / "keys/gateway-a.pem").chmod(0o644)


def _swap_keys(data):
    (data / "keys/gateway-a.pem").unlink()
    keyfiles.write_private(data / "keys/gateway-a.pem", keys.ed25519_from_seed(bytes(32)))


def _cut_secret(data):
    (data / "keys/body.key").write_bytes(bytes(31))


def _link_key(data):
    (data / "keys/log.pem").rename(data / "log.pem")
    (data / "keys/log.pem").symlink_to(data / "log.pem")


def _open_folder(data):
    (data / "keys").chmod(0o770)


def _swap_pin(data):
    other = keys.ed25519_from_seed(bytes(32)).public.jwk["x"]
    path = data / "lgsp.toml"
    path.write_text(re.sub('x = ".*"', f'x = "{other}"', path.read_text()))


def _listen_outside(data):
    path = data / "lgsp.toml"
    path.write_text(path.read_text().replace('"127.0.0.1"', '"0.0.0.0"'))


def _lose_ledger(data):
    (data / "bus.sqlite").unlink()


def _damage_ledger(data):
    (data / "bus.sqlite").write_bytes(b"not a database, " * 1000)


def _lose_trust(data):
    (data / "trust.json").unlink()


WRONG = {
    "wide key file": (_widen, "has mode 0644"),
    "foreign key": (_swap_keys, "is not a key of urn:lgsp:bus:91:gw:a"),
    "short secret": (_cut_secret, "does not hold 32 bytes"),
    "linked key": (_link_key, "is a symbolic link"),
    "folder that others write": (_open_folder, "chmod go-w"),
    "foreign pin": (_swap_pin, "not by the pinned registrar"),
    "in the clear": (_listen_outside, "[listen_refused]"),
    "no ledger": (_lose_ledger, "[data_missing]"),
    "damaged ledger": (_damage_ledger, "[data_unusable]"),
    "no trust file": (_lose_trust, "trust.json"),
}


@pytest.mark.parametrize(("harm", "words"), WRONG.values(), ids=WRONG.keys())
def test_doctor_names_what_is_wrong_and_how_to_mend_it(data, lgsp, harm, words):
    harm(data)
    ended = lgsp("doctor", "--data", data)
    assert ended.code == 1
    told = ended.out[ended.out.index("✗") :]
    assert words in ended.out
    assert "→" in told


def test_doctor_tells_a_port_that_is_taken(data, lgsp, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("LGSP_HTTP__PORT", str(taken.getsockname()[1]))
        ended = lgsp("doctor", "--data", data)
    assert ended.code == 1
    assert "[port_in_use]" in ended.out


def test_doctor_tells_a_broker_that_is_away_and_a_password_that_others_can_read(data, lgsp):
    path = data / "lgsp.toml"
    url = 'url = "amqp://lgsp:a-secret@127.0.0.1:9/"'
    path.write_text(f'{path.read_text()}\n[transport]\nkind = "rabbitmq"\n{url}\n')
    path.chmod(0o644)
    ended = lgsp("doctor", "--data", data)
    assert ended.code == 1
    assert "the broker cannot be reached" in ended.out
    assert f"chmod 600 {path}" in ended.out
    assert "a-secret" not in ended.out + ended.err


def test_doctor_finds_a_broker_that_is_there(data, lgsp, rabbitmq, monkeypatch):
    monkeypatch.setenv("LGSP_TRANSPORT__KIND", "rabbitmq")
    monkeypatch.setenv("LGSP_TRANSPORT__URL", rabbitmq.url)
    ended = lgsp("doctor", "--data", data)
    assert ended.code == 0
    assert "the broker takes connections" in ended.out


def test_a_folder_for_a_broker_is_made_without_one(lgsp, tmp_path):
    ended = lgsp("init", "--data", tmp_path / "new", "--transport", "rabbitmq")
    assert ended.code == 0
    written = (tmp_path / "new" / "lgsp.toml").read_text()
    assert 'kind = "rabbitmq"' in written
    ended = lgsp("doctor", "--data", tmp_path / "new")
    assert (ended.code, code_of(ended)) == (2, "config_invalid")
    assert "LGSP_TRANSPORT__URL" in ended.err


def test_a_ledger_in_a_database_is_founded_examined_and_up_to_date(lgsp, tmp_path, database, monkeypatch):
    folder = tmp_path / "new"
    ended = lgsp("init", "--data", folder, "--storage", "postgresql")
    assert (ended.code, code_of(ended)) == (2, "config_invalid")
    assert "LGSP_STORAGE__URL" in ended.err
    monkeypatch.setenv("LGSP_STORAGE__URL", database)
    assert lgsp("init", "--data", folder, "--storage", "postgresql").code == 0
    assert not (folder / "bus.sqlite").exists()
    ended = lgsp("doctor", "--data", folder)
    assert ended.code == 0, ended.out
    assert "the database takes connections" in ended.out
    assert database not in ended.out + ended.err
    ended = lgsp("db", "status", "--data", folder)
    assert (ended.code, "postgresql: tables of version" in ended.err) == (0, True)
    assert "nothing was changed" in lgsp("db", "upgrade", "--data", folder).err
    assert lgsp("audit", "verify", "--data", folder).code == 0


def test_what_carries_deliveries_is_named_by_the_option_or_by_the_variable_of_the_setting(lgsp, tmp_path, monkeypatch):
    assert lgsp("init", "--data", tmp_path / "option", "--transport", "rabbitmq").code == 0
    with monkeypatch.context() as surroundings:
        surroundings.setenv("LGSP_TRANSPORT__KIND", "rabbitmq")
        assert lgsp("init", "--data", tmp_path / "variable").code == 0
    for folder in ("option", "variable"):
        assert '[transport]\nkind = "rabbitmq"' in (tmp_path / folder / "lgsp.toml").read_text()
    monkeypatch.setenv("LGSP_TRANSPORT", "rabbitmq")
    ended = lgsp("init", "--data", tmp_path / "section")
    assert (ended.code, code_of(ended)) == (2, "config_invalid")
    assert "LGSP_TRANSPORT__KIND" in ended.err


async def nothing_but_tables(settings):
    async with ledgers.open_ledger(settings, create=True):
        pass


async def the_first_entry_too(settings):
    async with app.open_bus(settings, create=True):
        pass


@pytest.mark.parametrize("reached", [nothing_but_tables, the_first_entry_too, None])
def test_a_founding_in_a_database_that_was_stopped_is_finished_by_the_next(
    lgsp, tmp_path, database, monkeypatch, reached
):
    monkeypatch.setenv("LGSP_STORAGE__URL", database)
    folder = tmp_path / "new"
    init = ("init", "--data", folder, "--storage", "postgresql")
    publish = founding._publish_first

    async def publish_and_stop(made, *rest):
        if reached is None:
            await publish(made, *rest)
        else:
            await reached(Settings.load(made.root))
        raise Unusable("unavailable", "stopped")

    with monkeypatch.context() as stopped:
        stopped.setattr(founding, "_publish_first", publish_and_stop)
        assert code_of(lgsp(*init)) == "unavailable"
    if reached is not nothing_but_tables:  # these are as good as none
        other = lgsp("init", "--data", tmp_path / "other", "--storage", "postgresql", "--province", "92")
        assert code_of(other) == "file_exists"
    done = lgsp(*init)
    assert done.code == 0, done.err
    assert lgsp("audit", "verify", "--data", folder).code == 0
    assert lgsp("status", "--data", folder).code == 0
    assert not (folder / ".ready").exists()
    assert "nothing was changed" in lgsp(*init).err


def test_a_database_that_holds_a_log_is_not_founded_anew(lgsp, tmp_path, database, monkeypatch):
    monkeypatch.setenv("LGSP_STORAGE__URL", database)
    assert lgsp("init", "--data", tmp_path / "one", "--storage", "postgresql").code == 0
    ended = lgsp("init", "--data", tmp_path / "two", "--storage", "postgresql")
    assert code_of(ended) == "file_exists"
    assert not (tmp_path / "two" / "lgsp.toml").exists()


def test_doctor_tells_a_database_that_is_away_and_a_password_that_others_can_read(data, lgsp):
    path = data / "lgsp.toml"
    url = 'kind = "postgresql"\nurl = "postgresql://lgsp:a-secret@127.0.0.1:9/bus"'
    path.write_text(path.read_text().replace('path = "bus.sqlite"', url))
    path.chmod(0o644)
    ended = lgsp("doctor", "--data", data)
    assert ended.code == 1
    assert "[database_away]" in ended.out
    assert f"chmod 600 {path}" in ended.out
    assert "a-secret" not in ended.out + ended.err


def test_tables_of_an_older_version_are_refused_and_the_command_is_named(data, lgsp):
    with sqlite3.connect(data / "bus.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '1' WHERE name = 'schema'")
    connection.close()
    ended = lgsp("db", "status", "--data", data)
    assert (ended.code, code_of(ended)) == (1, "schema_old")
    ended = lgsp("serve", "--data", data)
    assert code_of(ended) == "schema_old"
    assert "lgsp db upgrade" in ended.err


def test_doctor_reports_every_problem_of_the_settings_at_once(data, lgsp):
    path = data / "lgsp.toml"
    path.write_text(path.read_text().replace("8791", "99999").replace("[storage]", "[stroage]"))
    ended = lgsp("doctor", "--data", data)
    assert (ended.code, code_of(ended)) == (2, "config_invalid")
    assert "did you mean storage?" in ended.err
    assert "http.port" in ended.err


# --- keys ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
def test_keys_new_makes_a_private_file_and_prints_the_public_key(tmp_path, lgsp, alg):
    ended = lgsp("keys", "new", tmp_path / "k.pem", "--alg", alg)
    assert ended.code == 0
    assert keys.public_key(json.loads(ended.out)) == keyfiles.read_private(tmp_path / "k.pem").public
    assert "PRIVATE" not in ended.out + ended.err
    assert lgsp("keys", "show", tmp_path / "k.pem").out == ended.out


def test_keys_new_overwrites_nothing_and_keeps_to_the_policy(tmp_path, lgsp):
    path = tmp_path / "k.pem"
    path.write_text("mine")
    assert code_of(lgsp("keys", "new", path)) == "file_exists"
    assert path.read_text() == "mine"
    for arguments, code in (
        (["--alg", "RS256"], "key_refused"),
        (["--role", "log", "--alg", "ES256"], "key_refused"),
        (["--role", "king"], "bad_request"),
    ):
        ended = lgsp("keys", "new", tmp_path / "other.pem", *arguments)
        assert (ended.code, code_of(ended)) == (2, code)
        assert not (tmp_path / "other.pem").exists()


def test_keys_show_reads_a_private_key_only_from_a_safe_file(tmp_path, lgsp):
    lgsp("keys", "new", tmp_path / "k.pem")
    (tmp_path / "k.pem").chmod(0o644)
    assert code_of(lgsp("keys", "show", tmp_path / "k.pem")) == "key_file_unsafe"


def test_a_key_made_by_hand_is_registered_with_its_proof(data, lgsp, tmp_path):
    made = lgsp("keys", "new", tmp_path / "k.pem").out
    (tmp_path / "k.jwk").write_text(made)
    proof = lgsp("keys", "prove", tmp_path / "k.pem", "--owner", "H01.99/a", "--trust", data / "trust.json").out.strip()
    text = '[[agency]]\nid = "H01.99"\n[[system]]\nid = "H01.99/a"\n[[key]]\nowner = "H01.99/a"\nrole = "system"\nfile = "k.jwk"\n'
    (tmp_path / "d.toml").write_text(text)
    assert code_of(lgsp("directory", "apply", tmp_path / "d.toml", "--data", data)) == "key_refused"
    (tmp_path / "d.toml").write_text(f'{text}proof = "{proof}"\n')
    assert lgsp("directory", "apply", tmp_path / "d.toml", "--data", data).code == 0


def test_keys_check_lists_the_keys_in_force(data, lgsp):
    ended = lgsp("keys", "check", "--data", data)
    assert ended.code == 0
    assert "urn:lgsp:bus:91:gw:a" in ended.out


# --- directory ----------------------------------------------------------------------------------------------------------------------


def test_a_directory_file_is_shown_then_applied_then_nothing_is_left_to_do(data, lgsp, tmp_path):
    file = tmp_path / "d.toml"
    file.write_text('[[agency]]\nid = "H01.99"\nname = "Examples"\n')
    shown = lgsp("directory", "apply", file, "--data", data, "--dry-run")
    assert (shown.code, "+ agency urn:lgsp:agency:H01.99" in shown.out) == (0, True)
    assert "H01.99" not in lgsp("directory", "show", "--data", data).out
    assert "version 2 is in force" in lgsp("directory", "apply", file, "--data", data).err
    assert "H01.99" in lgsp("directory", "show", "--data", data, "--kind", "agency").out
    assert "nothing to change" in lgsp("directory", "apply", file, "--data", data).err
    [record] = lgsp("directory", "show", "--data", data, "--kind", "agency", "--json").out.splitlines()
    assert record == '{"kind":"agency","id":"urn:lgsp:agency:H01.99","name":"Examples"}'


def test_the_reason_of_a_change_stands_in_the_log(data, lgsp, tmp_path):
    (tmp_path / "d.toml").write_text('[[agency]]\nid = "H01.99"\n')
    assert lgsp("directory", "apply", tmp_path / "d.toml", "--data", data, "--reason", "Decision 7").code == 0
    with sqlite3.connect(data / "bus.sqlite") as ledger:
        [(entry,)] = ledger.execute("SELECT data FROM entry ORDER BY seq DESC LIMIT 1").fetchall()
    ledger.close()
    assert json.loads(entry)["reason"] == "Decision 7"


@pytest.mark.parametrize(
    ("text", "code", "exit_code"),
    [
        ("[[agency", "config_invalid", 2),
        ('[[agncy]]\nid = "H01.99"', "config_invalid", 2),
        ('[[system]]\nid = "H01.98/a"', "directory_invalid", 1),
        ('[[key]]\nowner = "H01.99/a"\nrole = "system"\nfile = "none.jwk"', "data_missing", 2),
        ('[[remove]]\nkind = "key"', "config_invalid", 2),
    ],
)
def test_a_directory_file_that_cannot_be_applied_changes_nothing(data, lgsp, tmp_path, text, code, exit_code):
    (tmp_path / "d.toml").write_text(text)
    ended = lgsp("directory", "apply", tmp_path / "d.toml", "--data", data)
    assert (ended.code, code_of(ended)) == (exit_code, code)
    assert "version 1 of" in lgsp("directory", "show", "--data", data).err


def test_only_the_pinned_registrar_signs(data, lgsp, tmp_path):
    (tmp_path / "d.toml").write_text('[[agency]]\nid = "H01.99"\n')
    other = tmp_path / "other.pem"
    lgsp("keys", "new", other, "--role", "registrar")
    apply = ("directory", "apply", tmp_path / "d.toml", "--data", data)
    assert code_of(lgsp(*apply, "--registrar", other)) == "directory_invalid"
    moved = tmp_path / "registrar.pem"
    (data / "registrar/registrar.pem").rename(moved)
    assert code_of(lgsp(*apply)) == "key_file_broken"
    assert lgsp(*apply, "--registrar", moved).code == 0


def test_a_folder_that_is_held_without_a_gateway_to_ask_is_left_alone(data, lgsp, tmp_path):
    (tmp_path / "d.toml").write_text('[[agency]]\nid = "H01.99"\n')
    with hold(DataFolder(root=data)):
        assert code_of(lgsp("directory", "apply", tmp_path / "d.toml", "--data", data)) == "data_locked"
        assert code_of(lgsp("serve", "--data", data)) == "data_locked"


def test_the_template_is_a_directory_file(data, lgsp, tmp_path):
    (tmp_path / "d.toml").write_text(lgsp("directory", "template").out)
    lgsp("system", "new", "H01.99/example", "--data", data)
    (data / "systems/H01.99-example/key.jwk").rename(tmp_path / "key.jwk")
    ended = lgsp("directory", "apply", tmp_path / "d.toml", "--data", data)
    # It grants a service that this bus does not have: everything else of it holds.
    assert ended.err.count("\n") <= 4
    assert "example-verify" in ended.err


# --- system -------------------------------------------------------------------------------------------------------------------------


def test_system_new_makes_what_a_system_needs_and_prints_its_key_record(data, lgsp):
    ended = lgsp("system", "new", "H01.99/example", "--data", data)
    folder = data / "systems/H01.99-example"
    assert ended.code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["key.jwk", "key.pem", "system.toml"]
    assert keyfiles.read_private(folder / "key.pem").public.jwk["x"] in ended.out
    assert "[[key]]" in ended.out


def test_system_new_works_away_from_the_gateway_with_the_trust_file_alone(data, lgsp, tmp_path):
    out = tmp_path / "mine"
    ended = lgsp(
        "system",
        "new",
        "H01.99/example",
        "--trust",
        data / "trust.json",
        "--url",
        "https://bus.example.vn",
        "--out",
        out,
    )
    assert ended.code == 0
    assert 'url = "https://bus.example.vn"' in (out / "system.toml").read_text()


def test_system_new_never_replaces_a_system(data, lgsp):
    lgsp("system", "new", "H01.99/example", "--data", data)
    folder = data / "systems/H01.99-example"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for others in (["--url", "https://other.example.vn"], ["--alg", "ES256"]):
        assert code_of(lgsp("system", "new", "H01.99/example", "--data", data, *others)) == "file_exists"
    assert code_of(lgsp("system", "new", "H01.99/other", "--data", data, "--out", folder)) == "file_exists"
    again = lgsp("system", "new", "H01.99/example", "--data", data)
    assert (again.code, "nothing was changed" in again.err, "[[key]]" in again.out) == (0, True, True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert code_of(lgsp("system", "new", "example", "--data", data)) == "bad_request"
    assert code_of(lgsp("system", "new", "H01.99/b", "--data", data / "none")) == "data_missing"


# --- serve --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "arguments", "code"),
    [
        (_widen, [], "key_file_unsafe"),
        (_link_key, [], "key_file_unsafe"),
        (_cut_secret, [], "key_file_broken"),
        (_lose_ledger, [], "data_missing"),
        (_damage_ledger, [], "data_unusable"),
        (_swap_pin, [], "directory_invalid"),
        (_listen_outside, [], "listen_refused"),
        (lambda data: (data / "lgsp.toml").unlink(), [], "data_missing"),
        (lambda data: None, ["--port", "70000"], "config_invalid"),
    ],
)
def test_serve_does_not_start_on_what_is_wrong(data, lgsp, harm, arguments, code):
    harm(data)
    ended = lgsp("serve", "--data", data, *arguments)
    assert ended.code in {1, 2}
    assert code_of(ended) == code
    assert not (data / "admin.sock").exists()


def test_serve_on_a_port_that_is_taken_says_so(data, lgsp):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = lgsp("serve", "--data", data, "--port", taken.getsockname()[1])
    assert (ended.code, code_of(ended)) == (2, "port_in_use")


def test_a_running_gateway_takes_a_new_directory_and_stops_in_order(gateway, province, lgsp, tmp_path):
    (tmp_path / "d.toml").write_text('[[agency]]\nid = "H01.98"\n')
    assert "version 3 is in force" in lgsp("directory", "apply", tmp_path / "d.toml", "--data", province).err
    assert code_of(lgsp("serve", "--data", province)) == "data_locked"
    doctor = lgsp("doctor", "--data", province)
    assert (doctor.code, "a gateway runs on this folder" in doctor.out) == (0, True)
    assert lgsp("audit", "verify", "--data", province).code == 0


def ask(lgsp, province, body, *arguments):
    (province.parent / "body.json").write_text(body)
    return lgsp(
        "send", "vn.lgsp.examples.record.ask.v1", "H01.99/answerer", province.parent / "body.json",
        "--system", province / "systems/H01.99-asker/system.toml", *arguments,
    )  # fmt: skip


def test_two_systems_exchange_by_hand_and_the_exchange_is_proven(gateway, province, lgsp, tmp_path):
    sent = ask(lgsp, province, '{"a":1}', "--purpose", "example", "--key", "one")
    assert sent.code == 0, sent.err
    assert ask(lgsp, province, '{"a":1}', "--purpose", "example", "--key", "one").out == sent.out
    answerer = ("inbox", "--system", province / "systems/H01.99-answerer/system.toml")
    looked = json.loads(lgsp(*answerer).out)
    assert (looked["body"], looked["env"]) == ({"a": 1}, json.loads(sent.out)["env"])
    (tmp_path / "reply.json").write_text('{"b":2}')
    assert json.loads(lgsp(*answerer, "--reply", tmp_path / "reply.json").out)["env"] == looked["env"]
    asker = ("inbox", "--system", province / "systems/H01.99-asker/system.toml")
    assert json.loads(lgsp(*asker, "--accept").out)["body"] == {"b": 2}
    assert "no message came" in lgsp(*asker, "--wait", "0.3").err
    verified = lgsp("audit", "verify", "--data", province)
    assert (verified.code, "2 receipts, 2 acks" in verified.out) == (0, True), verified.out + verified.err


def test_send_tells_the_bus_s_refusal_with_code_and_hint(gateway, province, lgsp):
    ended = ask(lgsp, province, '{"a":1}', "--purpose", "marketing")
    assert (ended.code, code_of(ended)) == (1, "purpose_not_granted")
    assert code_of(ask(lgsp, province, "{")) == "body_json"
    assert code_of(ask(lgsp, province, "{}", "--schema", "x")) == "manifest"


def test_inbox_takes_one_way_to_settle(province, lgsp):
    settings = province / "systems/H01.99-asker/system.toml"
    assert code_of(lgsp("inbox", "--system", settings, "--accept", "--reject", "x")) == "bad_request"
    assert code_of(lgsp("inbox", "--system", settings, "--reject", "Not A Code")) == "bad_request"
    assert code_of(lgsp("inbox", "--system", province / "none.toml")) == "config_invalid"


def test_send_without_a_gateway_says_so(province, lgsp):
    ended = ask(lgsp, province, "{}", "--purpose", "example", "--wait", "0.5")
    assert (ended.code, "no gateway was reached" in ended.err) == (1, True)


# --- adapter ------------------------------------------------------------------------------------------------------------------------


def test_adapter_run_names_what_it_cannot_run(province, lgsp, tmp_path):
    settings = province / "systems/H01.99-asker/system.toml"
    ended = lgsp("adapter", "run", "none", "--system", settings)
    assert (ended.code, code_of(ended)) == (2, "adapter_invalid")
    assert "vnfishbase" in ended.err
    assert code_of(lgsp("adapter", "run", "police", "--system", settings)) == "config_invalid"
    (tmp_path / "adapter.toml").write_text("[adapter]\n")
    assert code_of(lgsp("adapter", "run", tmp_path, "--system", settings)) == "adapter_invalid"


# --- the real program ---------------------------------------------------------------------------------------------------------------


def test_the_installed_program_ends_as_the_tests_above_say(tmp_path):
    command = [sys.executable, "-m", "lgsp.cli", "audit", "verify", "--data", str(tmp_path / "none"), "--lang", "vi"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("lgsp: [data_missing] Thiếu")
    assert "Traceback" not in ended.stderr
