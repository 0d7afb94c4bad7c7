"""What the documents say is so: files, tests, codes and layers that they name are there, and examples are the vectors' own."""

import ast
import base64
import json
import re
import tomllib
from functools import cache

import pytest

from lgsp.domain import entries
from lgsp.errors import catalogue

FENCE = re.compile(r"^ *```(json|text) (\S+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
FILE = re.compile(r"`((?:lgsp|adapters|tests|schemas|keys|docs)/[\w./-]+\.[a-z]+)`")
SHORT_FILE = re.compile(r"\b((?:http|bus|domain|ports|sdk|cli)/\w+\.py)\b")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SECTION = re.compile(r"protocol,? section (\d)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
CODE_CELL = re.compile(r"`([a-z][a-z_]+)`")


@pytest.fixture(scope="module")
def documents(project_files):
    found = {path: text for path, text in project_files.items() if path.endswith(".md")}
    assert "docs/protocol.md" in found
    return found


@pytest.fixture(scope="module")
def vectors(root):
    return json.loads((root / "tests/vectors/envelope_v1.json").read_text(encoding="utf-8"))


def anchor_of(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def at(value, path: str):
    """The value of the vectors at a dotted path; `#header` and `#payload` look into a compact JWS."""
    path, _, part = path.partition("#")
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    if part:
        encoded = value.split(".")[("header", "payload").index(part)]
        value = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    return value


def read(value, language: str):
    return json.loads(value) if language == "json" and isinstance(value, str) else value


def test_every_marked_example_is_the_vectors_own(documents, vectors):
    checked = 0
    for path, text in documents.items():
        for language, name, example in FENCE.findall(text):
            stated, wanted = (read(value, language) for value in (example, at(vectors, name)))
            assert stated == wanted, f"{path}: {name}"
            checked += 1
    assert checked >= 12


def test_every_link_between_documents_leads_somewhere(documents, root):
    broken = []
    for path, text in documents.items():
        for target, anchor in LINK.findall(text):
            file = (root / path).parent / target if target else root / path
            headings = (
                HEADING.findall(file.read_text(encoding="utf-8")) if file.suffix == ".md" and file.exists() else []
            )
            if not file.exists() or (anchor and anchor not in map(anchor_of, headings)):
                broken.append(f"{path}: {target}#{anchor}")
    assert not broken


def test_every_file_that_a_document_names_is_there(documents, root):
    missing = [
        f"{path}: {name}"
        for path, text in documents.items()
        for name in FILE.findall(text)
        if not (root / name).exists()
    ]
    missing += [
        f"{path}: {name}"
        for path, text in documents.items()
        for name in SHORT_FILE.findall(text)
        if not (root / "lgsp" / name).exists()
    ]
    assert not missing


@cache
def functions_of(file):
    """The names of a file's functions; many documents name the same file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_a_document_names_is_there(documents, root):
    missing = []
    for path, text in documents.items():
        for file, name in TEST.findall(text):
            if name not in functions_of(root / file):
                missing.append(f"{path}: {file}::{name}")
    assert not missing


def test_every_row_of_the_attacks_has_a_test(documents):
    rows = re.findall(r"^\| ([ARS][0-9A-Zbc, –]+) \|.*\| (.*) \|$", documents["docs/security.md"], re.MULTILINE)
    assert len(rows) >= 20
    assert not [ids for ids, tests in rows if not TEST.search(tests)]


def test_no_attack_of_the_list_is_left_out(documents):
    first = re.findall(r"^\| ([ARS][0-9][0-9A-Zbc, –]*) \|", documents["docs/security.md"], re.MULTILINE)
    found = {name for ids in first for part in ids.split(", ") for name in numbered(part)}
    wanted = {*numbered("A01–A44"), "A04b", *numbered("S01–S08"), *numbered("R01–R20"), "R11b", "R11c"}
    assert wanted <= found


def numbered(part):
    """The ids of a range, or the one id that stands alone."""
    low, _, high = part.partition("–")
    if not high:
        return [low]
    return [f"{low[0]}{number:02d}" for number in range(int(low[1:]), int(high[1:]) + 1)]


def test_every_threat_names_who_what_boundary_and_tests(documents):
    table = documents["docs/security.md"].partition("## Threats and what meets them")[2].partition("\n## ")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    assert head == ["who", "what they want", "boundary", "met by", "tests"]
    assert len(rows) >= 20
    assert not [row for row in rows if len(row) != len(head) or not all(row) or not TEST.search(row[-1])]


def test_the_picture_of_the_layers_is_that_of_the_import_contracts(documents, root):
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    picture = documents["ARCHITECTURE.md"].partition("## Layers")[2].partition("```text\n")[2].partition("```")[0]
    drawn = [line.strip() for line in picture.splitlines() if line.strip()]
    for layer, line in zip(contract["layers"], drawn, strict=False):
        assert line.startswith(layer.replace("lgsp.", "")), f"{layer} is drawn as: {line}"


def test_every_section_of_the_protocol_that_the_code_cites_is_there(documents, project_files):
    sections = {heading[0] for heading in HEADING.findall(documents["docs/protocol.md"]) if heading[0].isdigit()}
    cited = {
        number for path, text in project_files.items() if path.startswith("lgsp/") for number in SECTION.findall(text)
    }
    assert cited
    assert cited <= sections


def test_the_table_of_checks_names_codes_of_the_catalogue(documents):
    table = documents["docs/protocol.md"].partition("| step |")[2].partition("\n\n")[0]
    cells = [line.rsplit("|", 2)[1] for line in table.splitlines() if line.count("|") > 3]
    codes = {code for cell in cells for code in CODE_CELL.findall(cell)}
    assert len(codes) > 20
    assert codes <= catalogue().keys()


def test_the_protocol_names_every_event_and_member_of_the_log(documents):
    text = documents["docs/protocol.md"].partition("## 7.")[2].partition("## 8.")[0]
    named = set(re.findall(r"[\w.*]+", text))
    events = {event if event in named else f"{event.partition('.')[0]}.*" for event in entries.EVENTS}
    assert not (events | set(entries.MEMBERS)) - named


def test_every_decision_is_in_the_index(documents):
    index = documents["docs/adr/README.md"]
    decisions = [path for path in documents if re.fullmatch(r"docs/adr/\d{4}-.*\.md", path)]
    assert decisions
    for path in decisions:
        title = documents[path].splitlines()[0].removeprefix("# ").partition(" ")[2]
        assert f"]({path.rpartition('/')[2]}) | {title} |" in index
        assert "\n## Context\n" in documents[path]
        assert "\n## Decision\n" in documents[path]
        assert "\n## Consequences\n" in documents[path]


def test_the_vietnamese_guides_have_the_sections_of_the_english_ones(documents):
    for name in ("audit.md", "limits.md", "onboarding.md", "operations.md", "quickstart.md", "refusals.md", "sdk.md"):
        english, vietnamese = documents[f"docs/{name}"], documents[f"docs/vi/{name}"]
        assert [len(line) - len(line.lstrip("#")) for line in english.splitlines() if line.startswith("#")] == [
            len(line) - len(line.lstrip("#")) for line in vietnamese.splitlines() if line.startswith("#")
        ]
        assert english.count("\n| ") == vietnamese.count("\n| ")
