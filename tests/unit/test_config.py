"""Settings come from the file, the environment and flags, in this order, and every problem is told at once."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from lgsp.cli.gateway_commands import witness_text
from lgsp.config import Settings
from lgsp.domain import keys
from lgsp.domain.limits import LIMITS
from lgsp.domain.notes import LOG_KEY, WITNESS_KEY, NoteKey, format_vkey
from lgsp.errors import Unusable

REGISTRAR = keys.ed25519_from_seed(bytes(range(32))).public
FILE = f"""\
[bus]
urn = "urn:lgsp:bus:91"
gateway = "urn:lgsp:bus:91:gw:a"
log = "lgsp.example.vn/91/2026"

[http]
port = 8700

[keys]
gateway = "keys/gateway-a.pem"

[keys.registrar]
kty = "OKP"
crv = "Ed25519"
x = "{REGISTRAR.jwk["x"]}"
"""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("LGSP_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "lgsp.toml").write_text(FILE)
    return tmp_path


def refused(data, overrides=None):
    with pytest.raises(Unusable) as caught:
        Settings.load(data, overrides)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_file_gives_settings_and_the_rest_are_defaults(data):
    found = Settings.load(data)
    assert (found.bus.urn, found.http.host, found.http.port) == ("urn:lgsp:bus:91", "127.0.0.1", 8700)
    assert found.keys.registrar_key() == REGISTRAR
    assert found.origins()["http.port"] == "lgsp.toml"
    assert found.origins()["http.host"] == "default"


def test_relative_paths_are_those_of_the_data_folder(data, monkeypatch):
    monkeypatch.setenv("LGSP_KEYS__BODY", "/run/keys/body.key")
    found = Settings.load(data)
    assert found.storage.path == data / "bus.sqlite"
    assert found.keys.gateway == data / "keys/gateway-a.pem"
    assert found.keys.body == Path("/run/keys/body.key")


def test_the_environment_goes_over_the_file_and_a_flag_over_both(data, monkeypatch):
    monkeypatch.setenv("LGSP_HTTP__PORT", "8800")
    monkeypatch.setenv("LGSP_HTTP__BEHIND_TLS_PROXY", "true")
    assert Settings.load(data).http.port == 8800
    found = Settings.load(data, {"http.port": 0, "http.host": None})
    assert (found.http.port, found.http.host, found.http.behind_tls_proxy) == (0, "127.0.0.1", True)
    assert found.origins()["http.port"] == "flag"
    assert found.origins()["http.behind_tls_proxy"] == "LGSP_HTTP__BEHIND_TLS_PROXY"


def test_the_variables_of_commands_are_no_settings(data, monkeypatch):
    monkeypatch.setenv("LGSP_LANG", "vi")
    monkeypatch.setenv("LGSP_DATA", "elsewhere")
    assert Settings.load(data).data == data


def test_every_setting_has_an_origin_and_a_value_that_can_be_shown(data):
    found = Settings.load(data)
    assert found.origins().keys() == found.values().keys()
    assert found.values()["keys.registrar"] == REGISTRAR.kid


def test_every_problem_is_told_at_once(data, monkeypatch):
    monkeypatch.setenv("LGSP_HTTP__HOST", "")
    (data / "lgsp.toml").write_text(FILE.replace("8700", "70000").replace("urn:lgsp:bus:91:gw:a", "gateway a"))
    problems = refused(data).detail.splitlines()
    assert len(problems) == 3
    assert [problem.partition(":")[0] for problem in sorted(problems)] == [
        "bus.gateway (lgsp.toml)",
        "http.host (LGSP_HTTP__HOST)",
        "http.port (lgsp.toml)",
    ]


WRONG = {
    "misspelt setting": (("port = 8700", "prot = 8700"), "http.prot: there is no such setting; did you mean port?"),
    "misspelt section": (("[http]", "[htpt]"), "htpt: there is no such setting; did you mean http?"),
    "stranger": (("port = 8700", "zzz = 1"), "http.zzz: there is no such setting"),
    "gateway of another bus": (("bus:91:gw", "bus:92:gw"), "bus (lgsp.toml): the gateway is another bus's"),
    "missing": (('gateway = "keys/gateway-a.pem"', ""), "keys.gateway (default): Field required"),
    "half of a pair": (
        ("port = 8700", 'tls_key = "k.pem"'),
        "http (lgsp.toml): tls_cert and tls_key are given together or not at all",
    ),
    "clients behind a proxy": (
        ("port = 8700", 'client_ca = "clients.pem"'),
        "http (lgsp.toml): client_ca needs tls_cert and tls_key: behind a proxy no client's certificate is seen",
    ),
    "clients of nobody": (
        ("port = 8700", 'client_certificates = "required"'),
        "http (lgsp.toml): client_certificates are required, and client_ca names nobody who gives them",
    ),
    "an old version": (
        ("port = 8700", 'tls_oldest = "1.1"'),
        "http.tls_oldest (lgsp.toml): Input should be '1.2' or '1.3'",
    ),
    "private registrar": (('kty = "OKP"', 'd = "AA"\nkty = "OKP"'), "a private key was given"),
    "low-order registrar": ((REGISTRAR.jwk["x"], "A" * 43), "the point is of low order"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_in_the_file_is_named(data, change, words):
    assert change[0] in FILE
    (data / "lgsp.toml").write_text(FILE.replace(*change))
    refusal = refused(data)
    assert refusal.code == "config_invalid"
    assert words in refusal.detail
    assert "pydantic" not in refusal.detail


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LGSP_HTTP__PROT", "1", "http.prot: there is no such setting; did you mean port?"),
        ("LGSP_HTPT__PORT", "1", "LGSP_HTPT__PORT: there is no section htpt; did you mean http?"),
        ("LGSP_HTTP__PORT", "many", "http.port (LGSP_HTTP__PORT): Input should be a valid integer"),
        ("LGSP_KEYS__REGISTRAR", "{", "LGSP_KEYS__REGISTRAR: the registrar's public key is written there as a JWK"),
        (
            "LGSP_STORAGE",
            "postgresql",
            "LGSP_STORAGE: it is a section and no setting; its settings are LGSP_STORAGE__KIND, ",
        ),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(data, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    assert words in refused(data).detail


def test_a_folder_without_settings_is_no_data_folder(tmp_path):
    assert refused(tmp_path).code == "data_missing"
    assert refused(tmp_path / "nowhere").code == "data_missing"


@pytest.mark.parametrize("content", [b"[bus", b"\xff\xfe", b'[bus]\nurn = "a"\nurn = "b"\n'])
def test_a_file_that_is_no_toml_is_named(data, content):
    (data / "lgsp.toml").write_bytes(content)
    refusal = refused(data)
    assert refusal.code == "config_invalid"
    assert "lgsp.toml" in refusal.detail


URL = "amqp://lgsp:a-secret@broker.example.vn:5672/bus"


def test_deliveries_are_carried_by_the_ledger_unless_a_broker_is_named(data, monkeypatch):
    assert Settings.load(data).transport.kind == "embedded"
    monkeypatch.setenv("LGSP_TRANSPORT__KIND", "rabbitmq")
    monkeypatch.setenv("LGSP_TRANSPORT__URL", URL)
    found = Settings.load(data).transport
    assert (found.kind, found.address) == ("rabbitmq", URL)


def test_the_password_of_the_broker_is_shown_nowhere(data, monkeypatch):
    (data / "lgsp.toml").write_text(f'{FILE}\n[transport]\nkind = "rabbitmq"\nurl = "{URL}"\n')
    found = Settings.load(data)
    assert "a-secret" not in f"{found!r} {found.values()} {found.transport}"
    assert found.origins()["transport.url"] == "lgsp.toml"
    monkeypatch.setenv("LGSP_TRANSPORT__INBOX_BYTES", "7")
    assert "a-secret" not in refused(data).detail


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('kind = "rabbitmq"', "rabbitmq needs a url"),
        ('kind = "rabbitmq"\nurl = "http://broker"', "rabbitmq needs a url"),
        ('kind = "kafka"', "transport.kind"),
        ("inbox_bytes = 1000", "transport.inbox_bytes"),
        ('hostname = "broker"', "transport.hostname"),
    ],
)
def test_what_is_wrong_with_the_transport_is_named(data, lines, words):
    (data / "lgsp.toml").write_text(f"{FILE}\n[transport]\n{lines}\n")
    assert words in refused(data).detail


DATABASE = "postgresql://lgsp:a-secret@db.example.vn:5432/bus"


def test_the_ledger_is_a_file_unless_a_database_is_named(data, monkeypatch):
    assert Settings.load(data).storage.kind == "sqlite"
    monkeypatch.setenv("LGSP_STORAGE__KIND", "postgresql")
    monkeypatch.setenv("LGSP_STORAGE__URL", DATABASE)
    found = Settings.load(data)
    assert (found.storage.kind, found.storage.address) == ("postgresql", DATABASE)
    assert "a-secret" not in f"{found!r} {found.values()} {found.storage}"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"KIND": "postgresql"}, "postgresql needs a url"),
        ({"KIND": "postgresql", "URL": "mysql://db"}, "postgresql needs a url"),
        ({"KIND": "oracle"}, "storage.kind"),
    ],
)
def test_what_is_wrong_with_the_storage_is_named(data, monkeypatch, values, words):
    for name, value in values.items():
        monkeypatch.setenv(f"LGSP_STORAGE__{name}", value)
    assert words in refused(data).detail


WITNESS = NoteKey(name="witness.example.vn/1", kind=WITNESS_KEY, public=REGISTRAR.x)
LOG = NoteKey(name="witness.example.vn/1", kind=LOG_KEY, public=REGISTRAR.x)


def test_a_sender_has_the_rate_of_the_protocol_unless_the_gateway_takes_more_of_it(data, monkeypatch):
    assert Settings.load(data).limits() == LIMITS
    monkeypatch.setenv("LGSP_HTTP__SENDER_RATE", "1500")
    found = Settings.load(data).limits()
    assert (found.rate, found.burst) == (1500.0, 3000)


@pytest.mark.parametrize("rate", ["0", "-1", "100001", "many"])
def test_a_rate_that_is_none_is_named(data, monkeypatch, rate):
    monkeypatch.setenv("LGSP_HTTP__SENDER_RATE", rate)
    assert "http.sender_rate (LGSP_HTTP__SENDER_RATE)" in refused(data).detail


def name_a_witness(data, **stated):
    values = {"url": '"https://witness.example.vn/ndxp"', "vkey": f'"{format_vkey(WITNESS)}"'} | stated
    lines = [f"{name} = {value}" for name, value in values.items() if value]
    (data / "lgsp.toml").write_text(FILE + "\n".join(["\n[witness]", *lines, ""]))


def test_there_is_no_witness_unless_one_is_named(data):
    assert Settings.load(data).witness.url == ""
    assert Settings.load(data).limits().unwitnessed is None
    name_a_witness(data, ca='"ca.pem"', stop_after="3600")
    found = Settings.load(data)
    assert (found.witness.key(), found.witness.ca) == (WITNESS, data / "ca.pem")
    assert found.limits().unwitnessed == timedelta(hours=1)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"vkey": ""}, "together"),
        ({"url": ""}, "together"),
        ({"vkey": '"witness"'}, "vkey: not a note key"),
        ({"vkey": f'"{format_vkey(LOG)}"'}, "a log's key"),
        ({"url": '"http://witness.example.vn"'}, "http goes to this machine itself alone"),
        ({"url": '"https://name:word@witness.example.vn"'}, "an address like"),
        ({"url": '"https://witness.example.vn?x=1"'}, "an address like"),
        ({"stop_after": "60"}, "600 seconds and more"),
        ({"stop_after": "-1"}, "witness.stop_after"),
        ({"every": "1"}, "no such setting"),
    ],
)
def test_what_is_wrong_with_the_witness_is_named(data, stated, words):
    name_a_witness(data, **stated)
    assert words in refused(data).detail


def test_a_further_gateway_has_the_same_witness(data, tmp_path):
    (tmp_path / "ca.pem").write_text("an authority")
    name_a_witness(data, ca='"ca.pem"', stop_after="3600")
    settings, other = Settings.load(data), tmp_path / "b"
    other.mkdir()
    (other / "lgsp.toml").write_text(FILE + witness_text(other, settings))
    found = Settings.load(other)
    assert found.witness.model_copy(update={"ca": settings.witness.ca}) == settings.witness
    assert found.witness.ca.parent == other
    assert found.witness.ca.read_text() == "an authority"
