"""Encrypted key files by command: made, encrypted in their place, read by gateway and systems, refused without the passphrase."""

import json
import re

import pytest

from lgsp import keyfiles
from lgsp.cli import gateway_commands
from lgsp.config import Settings
from lgsp.domain import keys

PASSPHRASE = "tram nam trong cay"
CODE = re.compile(r"\[([a-z_]+)\] ")


def code_of(ended):
    assert ended.code == 2
    return CODE.search(ended.err)[1]


@pytest.fixture
def passphrase(tmp_path, monkeypatch):
    """Name the file that holds the passphrase; return how it is forgotten again."""
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_text(PASSPHRASE + "\n")
    monkeypatch.setenv("LGSP_KEY_PASSPHRASE_FILE", str(path))
    return lambda: monkeypatch.delenv("LGSP_KEY_PASSPHRASE_FILE")


def test_gateway_and_system_work_with_encrypted_keys_and_not_without_the_passphrase(
    province, lgsp, serve_for_a_moment, passphrase, tmp_path, monkeypatch
):
    asker = province / "systems" / "H01.99-asker"
    for path in (province / "keys/gateway-a.pem", asker / "key.pem"):
        ended = lgsp("keys", "encrypt", path)
        assert (ended.code, "is encrypted now" in ended.err) == (0, True), ended.err
        assert path.read_bytes().startswith(keyfiles.ENCRYPTED)
        assert "nothing was changed" in lgsp("keys", "encrypt", path).err
    (tmp_path / "body.json").write_text("{}")
    question = ("vn.lgsp.examples.record.ask.v1", "H01.99/answerer", tmp_path / "body.json", "--purpose", "example")
    with serve_for_a_moment():
        sent = lgsp("send", *question, "--system", asker / "system.toml")
        assert json.loads(sent.out)["env"].startswith("sha-256:"), sent.err
        passphrase()
        assert code_of(lgsp("send", *question, "--system", asker / "system.toml")) == "passphrase_missing"
        monkeypatch.setenv("LGSP_KEY_PASSPHRASE", "another passphrase")
        refused = lgsp("send", *question, "--system", asker / "system.toml")
        assert code_of(refused) == "passphrase_wrong"
        assert "another passphrase" not in refused.err
    monkeypatch.delenv("LGSP_KEY_PASSPHRASE")
    assert code_of(lgsp("serve", "--data", province, "--port", "0")) == "passphrase_missing"
    assert "[passphrase_missing]" in lgsp("doctor", "--data", province).out


def test_keys_are_made_encrypted_and_prove_what_the_registrar_asks(data, lgsp, passphrase, tmp_path):
    made = lgsp("keys", "new", tmp_path / "key.pem", "--encrypt")
    assert (tmp_path / "key.pem").read_bytes().startswith(keyfiles.ENCRYPTED)
    assert json.loads(lgsp("keys", "show", tmp_path / "key.pem").out) == json.loads(made.out)
    assert lgsp("system", "new", "H01.99/a", "--data", data, "--out", tmp_path / "a", "--encrypt").code == 0
    assert (tmp_path / "a" / "key.pem").read_bytes().startswith(keyfiles.ENCRYPTED)
    table = '[[agency]]\nid = "H01.99"\n[[system]]\nid = "H01.99/a"\n[[key]]\nowner = "H01.99/a"\nrole = "system"\nfile = "a/key.jwk"\n'
    (tmp_path / "d.toml").write_text(table)
    assert lgsp("directory", "apply", tmp_path / "d.toml", "--data", data).code == 0


def test_no_key_is_made_when_the_passphrase_is_missing_or_short(lgsp, tmp_path, monkeypatch):
    for stated in ("", "eleven sign"):
        monkeypatch.setenv("LGSP_KEY_PASSPHRASE", stated)
        assert code_of(lgsp("keys", "new", tmp_path / "key.pem", "--encrypt")) == "passphrase_missing"
        assert not (tmp_path / "key.pem").exists()


def test_a_further_gateway_gets_its_keys_encrypted_when_the_first_ones_are(data, lgsp, passphrase, tmp_path):
    assert lgsp("keys", "encrypt", data / "keys/log.pem").code == 0
    settings = Settings.load(data)
    gateway_commands._make(tmp_path / "b", settings, f"{settings.bus.urn}:gw:b", 8792)
    for name in ("gateway-b.pem", "log.pem"):
        path = tmp_path / "b" / "keys" / name
        assert path.read_bytes().startswith(keyfiles.ENCRYPTED)
        assert isinstance(keyfiles.read_private(path), keys.PrivateKey)
