"""The public test kit needs nothing that the project's own development needs, so that a department installs the SDK alone."""

import re
import subprocess
import sys
import tomllib

import pytest

NAMES = {
    "pytest-asyncio": "pytest_asyncio",
    "pytest-timeout": "pytest_timeout",
    "pytest-xdist": "xdist",
    "pyyaml": "yaml",
}
"""Packages whose module has another name."""


@pytest.fixture(scope="module")
def for_development(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [re.split(r"[><=\[]", each)[0] for each in project["optional-dependencies"]["dev"]]
    return [NAMES.get(each, each.replace("-", "_")) for each in wanted]


@pytest.mark.parametrize("module", ["lgsp.testing", "lgsp.sdk"])
def test_it_is_imported_without_what_development_needs(module, for_development):
    assert "pytest" in for_development
    script = f"import sys\nsys.modules.update(dict.fromkeys({for_development!r}))\nimport {module}\n"
    command = [sys.executable, "-W", "error", "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
