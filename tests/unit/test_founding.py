"""Founding a data folder: what a second command at the same time must not do."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from lgsp import datafolder
from lgsp.cli.founding import Founding, found
from lgsp.cli.reopening import next_origin
from lgsp.datafolder import DataFolder

FOUNDING = Founding(bus="urn:lgsp:bus:91", gateway="urn:lgsp:bus:91:gw:a", origin="lgsp.example.vn/91/2026", port=8_791)


def test_a_folder_that_another_command_completed_meanwhile_is_left_as_it_is(tmp_path, monkeypatch):
    folder, hold = DataFolder(root=tmp_path / "data"), datafolder.hold

    @contextmanager
    def late(asked, **given):
        """Hold the folder only after somebody else has made it."""
        monkeypatch.setattr(datafolder, "hold", hold)
        assert found(folder, FOUNDING)
        before.extend([folder.trust.read_bytes(), (folder.root / "bus.sqlite").read_bytes()])
        with hold(asked, **given):
            yield

    before = []
    monkeypatch.setattr(datafolder, "hold", late)
    assert not found(folder, FOUNDING)
    assert [folder.trust.read_bytes(), (folder.root / "bus.sqlite").read_bytes()] == before


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("lgsp.example.vn/91/2026", "lgsp.example.vn/91/2026/r2"),
        ("lgsp.example.vn/91/2026/r2", "lgsp.example.vn/91/2026/r3"),
        ("lgsp.example.vn/91/2026/r9", "lgsp.example.vn/91/2026/r10"),
        ("lgsp.example.vn/r", "lgsp.example.vn/r/r2"),
    ],
)
def test_a_log_that_is_reopened_has_the_next_name(name, following):
    assert next_origin(name) == following
