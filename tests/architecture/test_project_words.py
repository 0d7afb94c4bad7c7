"""What must never stand in the repository: registry hosts, a developer's paths, private keys, real people's numbers."""

import re

import pytest

# Written in pieces, so that this file does not contain what it looks for.
REGISTRY_HOSTS = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".org",
    "npmjs" + ".com",
    "crates" + ".io",
    "deb.deb" + "ian.org",
    "proxy.golang" + ".org",
    "repo.maven" + ".apache",
    "conda.anaconda" + ".org",
]
FORBIDDEN = {
    "registry host": re.compile("|".join(map(re.escape, REGISTRY_HOSTS)), re.IGNORECASE),
    "path of a developer's machine": re.compile(r"(?<![\w.$}~-])/(?:work|tmp|home|root|Users)/\w"),
    "private key": re.compile(r"-{5}BEGIN (?:[A-Z]+ )*" + r"PRIVATE KEY-{5}"),
    # Personal numbers: made-up people have place code 099, which no place uses. The last group of a UUID is no such number.
    "twelve-digit number of a real place": re.compile(
        r"(?<![0-9a-fA-F]{4}-)(?<![0-9A-Za-z])0(?!99)[0-9]{11}(?![0-9A-Za-z])"
    ),
    # The glossary of ARCHITECTURE.md has one word for each: registrar, checkpoint, log entry, adapter.
    "Vietnamese word beside the glossary's": re.compile(
        "người đăng" + " ký|điểm" + " kiểm(?! tra)|(?:bản ghi|dòng)" + " nhật ký|bộ" + " nối", re.IGNORECASE
    ),
}


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_no_file_contains(kind, project_files):
    pattern = FORBIDDEN[kind]
    found = [
        f"{path}:{number}"
        for path, text in project_files.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, f"{kind} in {', '.join(found)}"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("registry host", "index-url = https://" + "pypi" + ".org/simple"),
        ("path of a developer's machine", "see /" + "home/an/notes"),
        ("path of a developer's machine", 'open("/' + 'tmp/x")'),
        ("private key", "-----BEGIN " + "PRIVATE KEY-----"),
        ("private key", "-----BEGIN EC " + "PRIVATE KEY-----"),
        ("twelve-digit number of a real place", '"089' + '123456789"'),
        ("twelve-digit number of a real place", "so-001" + "123456789."),
        ("Vietnamese word beside the glossary's", "khóa của người đăng" + " ký"),
        ("Vietnamese word beside the glossary's", "Điểm" + " kiểm có chữ ký"),
    ],
)
def test_the_search_finds(kind, line):
    assert FORBIDDEN[kind].search(line)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("path of a developer's machine", "https://example.vn/home/page and ./home/list and `$HOME/tmp/x`"),
        ("private key", "-----BEGIN PUBLIC KEY-----"),
        ("twelve-digit number of a real place", "099185000017"),
        ("twelve-digit number of a real place", "0198f0e2-0000-7000-8000-000000000001"),
        ("twelve-digit number of a real place", "sha256:a0123456789012b"),
        ("twelve-digit number of a real place", "1763780000000 and 0123456789"),
        ("Vietnamese word beside the glossary's", "bản ghi của danh bạ, địa điểm" + " kiểm tra"),
    ],
)
def test_the_search_leaves_alone(kind, line):
    assert not FORBIDDEN[kind].search(line)
