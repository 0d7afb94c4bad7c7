"""The settings of a system: one file, every problem at once, no value in any message."""

from __future__ import annotations

import pytest

from lgsp.errors import Unusable
from lgsp.keyfiles import write_private
from lgsp.sdk import SystemSettings
from lgsp.testing.authority import Authority
from lgsp.testing.world import FISHERIES, signer_named
from lgsp.tls import trusting


def text(**changes):
    stated = {
        "url": "http://127.0.0.1:8080/", "bus": "urn:lgsp:bus:91", "system": "H01.12/vnfishbase", "key": "key.pem",
        "box": "box.sqlite", "log": "lgsp.example.vn/91/2026",
    } | changes  # fmt: skip
    jwk = signer_named("registrar").public.jwk
    lines = [f'{name} = "{value}"' for name, value in stated.items()]
    return "\n".join([*lines, "[registrar]", *(f'{name} = "{value}"' for name, value in jwk.items())])


@pytest.fixture
def load(tmp_path):
    def loaded(content, environment=None):
        path = tmp_path / "system.toml"
        path.write_text(content, encoding="utf-8")
        return SystemSettings.load(path, environment or {})

    return loaded


def test_paths_are_meant_from_the_file_and_short_names_are_spelled_out(load, tmp_path):
    settings = load(text())
    assert settings.system == FISHERIES
    assert (settings.key, settings.box) == (tmp_path / "key.pem", tmp_path / "box.sqlite")
    assert settings.url == "http://127.0.0.1:8080"
    assert settings.pinned == signer_named("registrar").public


def test_the_environment_comes_before_the_file(load):
    environment = {"LGSP_URL": "https://bus.example.vn", "LGSP_SETTING_TOKEN": "t", "OTHER": "x"}
    settings = load(text() + '\n[settings]\ntoken = "f"\nseed = 3\n', environment)
    assert settings.url == "https://bus.example.vn"
    assert settings.settings == {"token": "t", "seed": 3}
    assert "'t'" not in repr(settings)


def test_further_gateways_are_tried_in_their_order(load):
    further = 'other_urls = ["https://b.example.vn/", "https://c.example.vn"]\n'
    assert load(further + text()).urls == ("http://127.0.0.1:8080", "https://b.example.vn", "https://c.example.vn")
    environment = {"LGSP_URL": "https://d.example.vn, https://e.example.vn/"}
    assert load(further + text(), environment).urls == ("https://d.example.vn", "https://e.example.vn")
    with pytest.raises(Unusable, match=r"other_urls\.1: is not an address"):
        load(text(), {"LGSP_URL": "https://d.example.vn,https://e.example.vn,"})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"url": "http://bus.example.vn"}, "url: takes http only to this machine"),
        ({"url": "ftp://127.0.0.1"}, "url: is not an address"),
        ({"url": "https://me:word@bus.example.vn"}, "url: is not an address"),
        ({"bus": "urn:lgsp:bus:x"}, "bus: is not the URN of a bus"),
        ({"system": "fisheries"}, "system: a system looks like"),
        ({"log": "Not A Log"}, "log: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_a_fault_is_named(load, changes, told):
    with pytest.raises(Unusable) as caught:
        load(text(**changes))
    assert caught.value.code == "config_invalid"
    assert told in str(caught.value)


def test_all_faults_are_told_at_once_and_no_value_with_them(load):
    with pytest.raises(Unusable) as caught:
        load(text(bus="s3cret", system="s3cret"))
    assert "bus: " in str(caught.value)
    assert "system: " in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("content", ["url = ", "", "\ufeff["])
def test_a_file_that_is_no_settings_file_is_refused(load, content):
    with pytest.raises(Unusable, match=r"system\.toml"):
        load(content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Unusable, match=r"nowhere\.toml"):
        SystemSettings.load(tmp_path / "nowhere.toml", {})


def test_the_authority_is_meant_from_the_file_and_none_is_the_machines_own(load, tmp_path):
    assert load(text(ca="ca.pem")).ca == tmp_path / "ca.pem"
    assert load(text()).ca is None
    assert trusting(None) is True


def test_a_certificate_is_given_with_its_key_and_meant_from_the_file(load, tmp_path):
    settings = load(text(certificate="own.pem", certificate_key="own.key"))
    assert (settings.certificate, settings.certificate_key) == (tmp_path / "own.pem", tmp_path / "own.key")
    for name in ("certificate", "certificate_key"):
        with pytest.raises(Unusable, match="given together or not at all"):
            load(text(**{name: "own.pem"}))


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_certificate_that_cannot_be_shown_is_refused_and_nobody_is_asked(tmp_path, encrypted):
    pair, key = Authority.make(tmp_path).sign("own"), tmp_path / "key.pem"
    write_private(key, signer_named("own"), passphrase=b"a passphrase" if encrypted else None)
    words = r"own\.pem, .*key\.pem: the key is encrypted" if encrypted else r"certificate: .*own\.pem, .*key\.pem"
    with pytest.raises(Unusable, match=words) as caught:
        trusting(None, certificate=pair.cert, key=key)
    assert caught.value.code == "config_invalid"


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_an_authority_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unusable, match=r"ca: .*ca\.pem") as caught:
        trusting(path)
    assert caught.value.code == "config_invalid"
