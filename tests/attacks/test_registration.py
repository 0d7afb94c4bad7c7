"""R10, R11 and R11c at the registration: the real commands against a gateway that runs."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lgsp.domain import base64url, keys
from lgsp.domain.algorithms import ED25519_PRIME, LOW_ORDER_Y

SYSTEMS = """
[[agency]]
id = "H01.99"
[[system]]
id = "H01.99/one"
[[system]]
id = "H01.99/two"
[[key]]
owner = "H01.99/one"
role = "system"
file = "one/key.jwk"
"""
READY_SECONDS = 60
CODE = re.compile(r"^lgsp: \[([a-z_]+)\] ", re.MULTILINE)


@pytest.fixture(scope="module")
def bus(tmp_path_factory, run_command):
    """The folder of a bus whose gateway runs, and which knows one key of one of two systems."""
    folder = tmp_path_factory.mktemp("registration")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LGSP_")]:
            patch.delenv(name)
        patch.setenv("LGSP_DATA", str(folder / "bus"))
        patch.setenv("LGSP_TRUST", str(folder / "bus" / "trust.json"))
        patch.setenv("LC_ALL", "C.UTF-8")
        assert run_command("init", "--origin", "lgsp.example.vn/91/2026") == 0
        for name in ("one", "two"):
            assert run_command("system", "new", f"H01.99/{name}", "--out", folder / name) == 0
        (folder / "systems.toml").write_text(SYSTEMS)
        command = (sys.executable, "-m", "lgsp.cli", "serve", "--port", "0")
        gateway = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert any("listens on" in line for line in gateway.stderr)
            assert run_command("directory", "apply", folder / "systems.toml") == 0
            yield folder
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.communicate(timeout=READY_SECONDS)


@pytest.fixture
def lgsp(bus, run_command, capsys):
    """Run a command against the gateway; return its exit code, what it printed and the code of its refusal."""

    def call(*arguments):
        capsys.readouterr()
        code, printed = run_command(*arguments), capsys.readouterr()
        found = CODE.search(printed.err)
        return code, printed.out.strip(), found[1] if found else ""

    return call


@pytest.fixture
def offered(bus, lgsp, tmp_path):
    """Offer a public key for a system by both ways; return the codes of the refusals. Nothing of it may have come into force."""

    def offer(jwk, proof="", *, owner="H01.99/two", role="system"):
        file, members = tmp_path / "key.jwk", ", ".join(f"{name} = {json.dumps(value)}" for name, value in jwk.items())
        file.write_text(json.dumps(jwk))
        table = f'[[key]]\nowner = "{owner}"\nrole = "{role}"\nproof = "{proof}"\njwk = {{ {members} }}\n'
        (tmp_path / "key.toml").write_text(table)
        before = version(lgsp)
        codes = {lgsp("directory", "apply", tmp_path / "key.toml")[2]}
        if role == "system":
            codes.add(lgsp("keys", "add", file, "--owner", owner, "--proof", proof or "none")[2])
        assert version(lgsp) == before
        return codes

    return offer


def version(lgsp):
    code, out, _ = lgsp("status", "--json")
    assert code == 0
    return json.loads(out)["version"]


def held(bus, name):
    """Return a system's public JWK and the proof that it made of holding the private key."""
    jwk = json.loads((bus / name / "key.jwk").read_text())
    return {member: jwk[member] for member in ("kty", "crv", "x")}, jwk["proof"]


def ed25519(y):
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(y.to_bytes(32, "little"))}


WEAK = {
    **{f"low order {place}": ed25519(y) for place, y in enumerate(sorted(LOW_ORDER_Y))},
    "low order with the other sign": ed25519(1 | 1 << 255),
    "not canonical": ed25519(ED25519_PRIME + 3),
    "not canonical and of low order": ed25519(ED25519_PRIME),
    "all ones": ed25519(2**256 - 1),
    "too short": {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(bytes(31))},
    "off the curve": {"kty": "EC", "crv": "P-256", "x": base64url.encode(bytes(31) + b"\1"), "y": base64url.encode(bytes(31) + b"\2")},
}  # fmt: skip


@pytest.mark.parametrize("name", WEAK)
def test_r10_a_weak_key_is_not_registered(bus, offered, name):
    _, proof = held(bus, "two")
    assert offered(WEAK[name], proof) == {"key_refused"}


def test_r11_a_key_without_proof_of_possession_is_not_registered(bus, offered):
    jwk, _ = held(bus, "two")
    assert offered(jwk) == {"key_refused"}


def test_r11_a_proof_is_good_for_its_own_key_owner_and_bus_alone(bus, offered, lgsp, tmp_path):
    two, _ = held(bus, "two")
    _, of_one = held(bus, "one")
    assert offered(two, of_one) == {"key_refused"}, "the proof of another key"
    for_one = proof_of(lgsp, bus / "two" / "key.pem", "H01.99/one", bus / "bus" / "trust.json")
    assert offered(two, for_one) == {"key_refused"}, "the proof for another owner"
    trust = json.loads((bus / "bus" / "trust.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps(trust | {"bus": "urn:lgsp:bus:92"}))
    elsewhere = proof_of(lgsp, bus / "two" / "key.pem", "H01.99/two", tmp_path / "other.json")
    assert offered(two, elsewhere) == {"key_refused"}, "the proof for another bus"


def proof_of(lgsp, key, owner, trust: Path):
    code, proof, _ = lgsp("keys", "prove", key, "--owner", owner, "--trust", trust)
    assert code == 0
    return proof


def test_r11_a_key_that_another_system_owns_is_not_registered_though_its_holder_proves_it(bus, offered, lgsp):
    jwk, _ = held(bus, "one")
    proof = proof_of(lgsp, bus / "one" / "key.pem", "H01.99/two", bus / "bus" / "trust.json")
    assert offered(jwk, proof) == {"directory_invalid"}


def test_r11_one_new_key_is_not_registered_for_two_systems_at_once(bus, lgsp, tmp_path):
    assert lgsp("keys", "new", tmp_path / "key.pem")[0] == 0
    public = json.loads(lgsp("keys", "show", tmp_path / "key.pem")[1])
    (tmp_path / "key.jwk").write_text(json.dumps(public))
    trust, before = bus / "bus" / "trust.json", version(lgsp)
    tables = (
        f'[[key]]\nowner = "{owner}"\nrole = "system"\nfile = "key.jwk"\nproof = "{proof_of(lgsp, tmp_path / "key.pem", owner, trust)}"\n'
        for owner in ("H01.99/one", "H01.99/two")
    )
    (tmp_path / "both.toml").write_text("".join(tables))
    assert lgsp("directory", "apply", tmp_path / "both.toml")[2] == "directory_invalid"
    assert version(lgsp) == before


@pytest.mark.parametrize(
    ("owner", "role"),
    [
        ("urn:lgsp:agency:H01.99", "system"),
        ("H01.99/two", "officer"),
        ("H01.99/two", "gateway"),
        ("urn:lgsp:bus:91:gw:a", "registrar"),
        ("urn:lgsp:bus:91", "gateway"),
    ],
)
def test_r11c_a_key_is_not_registered_for_a_role_that_its_owner_cannot_hold(offered, owner, role):
    fresh = keys.ed25519_from_seed(bytes(32)).public.jwk
    jwk = {name: fresh[name] for name in ("kty", "crv", "x")}
    proof = "" if role == "gateway" else "none"
    assert offered(jwk, proof, owner=owner, role=role) <= {"directory_invalid", "key_refused", "bad_request"}
