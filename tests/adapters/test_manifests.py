import importlib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from adapters.made_up.fleet import MOST_VESSELS
from lgsp.domain import names
from lgsp.sdk import Adapter, AdapterManifest
from lgsp.sdk.adapter import handled_types
from lgsp.sdk.manifest import AdapterSettings

FOLDER = Path(__file__).parents[2] / "adapters"
ADAPTERS = sorted(path.parent.name for path in FOLDER.glob("*/adapter.toml"))
SYSTEMS = {
    "vnfishbase": "urn:lgsp:agency:H01.12:sys:vnfishbase",
    "police": "urn:lgsp:agency:H01.21:sys:police",
    "one_stop": "urn:lgsp:agency:H01.31:sys:one-stop",
    "ndxp": "urn:lgsp:agency:H01.05:sys:ndxp",
    "ioc": "urn:lgsp:agency:H01.02:sys:ioc",
}
SECRETS = {"NDXP_ADDRESS": "http://127.0.0.1:1", "NDXP_CONSUMER_KEY": "bridge", "NDXP_CONSUMER_SECRET": "made up"}
DAY = date(2026, 11, 22)
each_adapter = pytest.mark.parametrize("name", ADAPTERS)


def manifest_of(name: str) -> AdapterManifest:
    return AdapterManifest.load(FOLDER / name / "adapter.toml")


def class_of(name: str) -> Any:
    module, _, found = manifest_of(name).adapter.code.partition(":")
    return getattr(importlib.import_module(module), found)


def test_each_system_of_the_province_has_its_adapter() -> None:
    assert set(ADAPTERS) == set(SYSTEMS)


@each_adapter
def test_an_adapter_serves_its_system_and_no_other(name: str) -> None:
    assert [urn for urn in SYSTEMS.values() if manifest_of(name).serves(urn)] == [SYSTEMS[name]]


@each_adapter
def test_the_class_has_a_handler_for_what_the_manifest_states(name: str) -> None:
    assert issubclass(class_of(name), Adapter)
    assert manifest_of(name).handler_problems(handled_types(class_of(name))) == []


@each_adapter
def test_the_province_grants_what_an_adapter_asks_for(name: str, directory: Any) -> None:
    assert manifest_of(name).overreach(directory, SYSTEMS[name], DAY) == []
    assert manifest_of(name).unsubscribed(directory, SYSTEMS[name]) == []


@each_adapter
def test_a_message_of_the_province_reaches_an_adapter_that_takes_it(name: str, directory: Any) -> None:
    manifest = manifest_of(name)
    principals = [held.principal for held in directory.delegations if held.bridge == SYSTEMS[name]]
    routed = {type_ for urn in (SYSTEMS[name], *principals) for type_ in directory.systems[urn].consumes}
    subscriptions = [held for group in directory.subscriptions.values() for held in group]
    routed |= {held.type for held in subscriptions if held.subscriber in {SYSTEMS[name], *principals}}
    assert routed == {type_ for type_ in (*manifest.provides, *manifest.consumes) if not names.is_reply_type(type_)}


@each_adapter
def test_an_adapter_takes_the_replies_to_what_it_sends(name: str, directory: Any) -> None:
    manifest = manifest_of(name)
    awaited = {names.reply_type(type_) for type_ in manifest.sends if directory.services[type_].reply_schemas}
    assert awaited == {type_ for type_ in manifest.consumes if names.is_reply_type(type_)}


@each_adapter
def test_the_defaults_are_enough_beside_what_the_environment_gives(name: str) -> None:
    values = manifest_of(name).values({}, SECRETS)
    assert isinstance(values, AdapterSettings)
    if "count" in manifest_of(name).settings:
        assert 1 <= values.integer("count") <= MOST_VESSELS


def test_systems_that_know_the_same_vessels_agree_on_seed_and_count() -> None:
    defaults = {
        tuple(manifest_of(name).settings[setting].default for setting in ("seed", "count"))
        for name in ("vnfishbase", "police", "one_stop")
    }
    assert len(defaults) == 1


def test_the_bridge_keeps_its_credentials_out_of_files_and_texts() -> None:
    manifest = manifest_of("ndxp")
    secret = {name: setting.environment for name, setting in manifest.settings.items() if setting.secret}
    assert secret == {"consumer_key": "NDXP_CONSUMER_KEY", "consumer_secret": "NDXP_CONSUMER_SECRET"}
    assert "made up" not in repr(manifest.values({}, SECRETS))


@each_adapter
def test_a_readme_tells_every_setting_and_type(name: str) -> None:
    manifest = manifest_of(name)
    text = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    told = [*manifest.settings, *manifest.provides, *manifest.consumes, *manifest.sends]
    assert [word for word in told if f"`{word}`" not in text] == []
