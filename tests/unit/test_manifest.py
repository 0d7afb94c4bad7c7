"""The manifest of an adapter: all problems at once, settings by kind, and asking within what was granted."""

from __future__ import annotations

import pytest

from lgsp.domain.directory import day_of
from lgsp.errors import Unusable
from lgsp.sdk.manifest import AdapterManifest
from lgsp.testing.world import FISHERIES, ONE_STOP, POPULATION, VERIFY, World

GOOD = f"""
provides = ["vn.lgsp.fisheries.owner-list.complete.v1"]
consumes = ["vn.lgsp.population.citizen.verify.reply.v1"]
sends = ["{VERIFY}"]
hosts = ["ndxp.example.vn:443"]
pull_every = 0.5
concurrency = 8

[adapter]
name = "fisheries"
version = "1.0.0"
class = "adapters.vnfishbase.adapter:Fisheries"
title = {{ en = "Fisheries", vi = "Thủy sản" }}

[system]
agency = "H01.12"
name = "vnfishbase"

[[asks]]
type = "{VERIFY}"
audience = "{POPULATION}"
purposes = ["dpv:IdentityVerification"]
legalbases = ["dpv:LegalObligation"]
procedures = ["1.004359"]
officers = ["7f3a91"]
basis = "Decree 278/2025"

[settings.seed]
type = "integer"
default = 1
description = "What the made-up records are drawn from"

[settings.token]
type = "text"
secret = true
environment = "FISH_TOKEN"
description = "The source's password"
"""


@pytest.fixture
def load(tmp_path):
    def loaded(text=GOOD):
        path = tmp_path / "adapter.toml"
        path.write_text(text, encoding="utf-8")
        return AdapterManifest.load(path)

    return loaded


def test_a_good_manifest_is_read(load):
    manifest = load()
    assert (manifest.adapter.name, manifest.adapter.code) == ("fisheries", "adapters.vnfishbase.adapter:Fisheries")
    assert (manifest.concurrency, manifest.pull_every) == (8, 0.5)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('version = "1.0.0"', 'version = "one"', "adapter.version"),
        ('class = "adapters', 'class = "adapters adapters', "adapter.class"),
        ("concurrency = 8", "concurrency = 0", "concurrency"),
        ("concurrency = 8", "concurency = 8", "concurency"),
        ("pull_every = 0.5", "pull_every = -1", "pull_every"),
        ('name = "vnfishbase"', 'name = "VN Fishbase"', "system.name"),
        ('hosts = ["ndxp', 'hosts = ["https://ndxp', "hosts.0"),
        (f'sends = ["{VERIFY}"]', "sends = []", "does not send"),
        (
            f'sends = ["{VERIFY}"',
            f'sends = ["{VERIFY}", "vn.lgsp.a.b.c.v1"',
            "sends vn.lgsp.a.b.c.v1 without asking leave",
        ),
        ("[[asks]]", "[[ask]]", "ask: "),
        ('provides = ["vn.lgsp.fisheries.owner-list.complete.v1"]', f'provides = ["{VERIFY}.x"]', "provides.0"),
        ("default = 1", 'default = "one"', "settings.seed: the default is no integer"),
        ("secret = true", 'secret = true\ndefault = "x"', "settings.token: a secret has no default"),
        ("[system]", "[system", "adapter.toml"),
    ],
)
def test_a_fault_is_named(load, old, new, told):
    with pytest.raises(Unusable, match=told) as caught:
        load(GOOD.replace(old, new, 1))
    assert caught.value.code == "adapter_invalid"


def test_a_manifest_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    for name, told in (("latin.toml", "not UTF-8"), ("nowhere.toml", "No such file")):
        with pytest.raises(Unusable, match=rf"{name}: {told}") as caught:
            AdapterManifest.load(tmp_path / name)
        assert caught.value.code == "adapter_invalid"


def test_all_faults_are_told_at_once(load):
    text = GOOD.replace('version = "1.0.0"', 'version = "x"').replace("concurrency = 8", "concurrency = 0")
    with pytest.raises(Unusable, match=r"(?s)adapter\.version.*concurrency"):
        load(text)


def test_handlers_and_manifest_must_agree(load):
    manifest = load()
    owner_list = "vn.lgsp.fisheries.owner-list.complete.v1"
    assert manifest.handler_problems([owner_list]) == []
    assert manifest.handler_problems([]) == [f"no handler for {owner_list}"]
    assert "which the manifest does not state" in manifest.handler_problems([owner_list, VERIFY])[0]
    assert manifest.handler_problems([owner_list, owner_list]) == [f"two handlers for {owner_list}"]


@pytest.mark.parametrize(
    ("given", "environment", "token", "seed"),
    [
        ({"token": "a"}, {}, "a", 1),
        ({"token": "a", "seed": 7}, {"FISH_TOKEN": "b"}, "b", 7),
        ({"token": "a", "seed": "8"}, {}, "a", 8),
    ],
)
def test_settings_come_from_environment_file_and_default_in_this_order(load, given, environment, token, seed):
    values = load().values(given, environment)
    assert (values.text("token"), values.integer("seed")) == (token, seed)
    assert token not in repr(values) or token == "a"


OTHER_KINDS = """
[settings.share]
type = "number"
default = 0.5
description = "Which share of the answers is late"

[settings.rehearsal]
type = "boolean"
default = false
environment = "FISH_REHEARSAL"
description = "Whether nothing is written to the source"
"""


@pytest.mark.parametrize(
    ("given", "environment", "share", "rehearsal"),
    [
        ({}, {}, 0.5, False),
        ({"share": 2, "rehearsal": True}, {}, 2.0, True),
        ({"share": "0.25", "rehearsal": "0"}, {"FISH_REHEARSAL": " True"}, 0.25, True),
    ],
)
def test_numbers_and_truth_values_are_read_as_such(load, given, environment, share, rehearsal):
    values = load(GOOD + OTHER_KINDS).values({"token": "a"} | given, environment)
    assert (values.number("share"), values.flag("rehearsal")) == (share, rehearsal)


@pytest.mark.parametrize(
    ("given", "told"),
    [({"share": "much"}, "share: is no number"), ({"rehearsal": "maybe"}, "rehearsal: is no boolean")],
)
def test_what_is_no_number_or_truth_value_is_told(load, given, told):
    with pytest.raises(Unusable, match=f"settings.{told}"):
        load(GOOD + OTHER_KINDS).values({"token": "a"} | given, {})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "settings.token: is missing"),
        ({"token": 7}, "settings.token: is no text"),
        ({"token": "s3cret", "sed": 1}, "settings.sed: is no setting"),
        ({"token": "s3cret", "seed": "x"}, "settings.seed: is no integer"),
        ({"token": "s3cret", "seed": True}, "settings.seed: is no integer"),
    ],
)
def test_wrong_settings_are_told_without_their_values(load, given, told):
    with pytest.raises(Unusable, match=told) as caught:
        load().values(given, {})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('purposes = ["dpv:IdentityVerification"]', 'purposes = ["dpv:IdentityVerification", "dpv:Marketing"]'),
        ('procedures = ["1.004359"]', 'procedures = ["1.000001"]'),
        ('officers = ["7f3a91"]', 'officers = ["0bad00"]'),
        (f'audience = "{POPULATION}"', f'audience = "{ONE_STOP}"'),
    ],
)
def test_asking_for_more_than_was_granted_is_found(load, old, new):
    world = World.make()
    today = day_of(world.now)
    assert load().overreach(world.directory, FISHERIES, today) == []
    assert len(load(GOOD.replace(old, new, 1)).overreach(world.directory, FISHERIES, today)) == 1


def test_a_grant_that_has_ended_grants_nothing(load):
    world = World.make(changes={"g-verify": {"valid_to": "2026-01-01"}})
    assert load().overreach(world.directory, FISHERIES, day_of(world.now)) != []


@pytest.mark.parametrize(
    ("system", "serves"),
    [(FISHERIES, True), (FISHERIES.replace("H01.12", "H02.12"), False), (ONE_STOP, False), ("fisheries", False)],
)
def test_an_adapter_serves_the_system_it_names(load, system, serves):
    assert load().serves(system) is serves
