import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

COMMON = Path(__file__).parents[2] / "schemas" / "common"
DOCUMENTS: dict[str, Any] = {
    path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in COMMON.glob("*/1.0.0.json")
}
REGISTRY: Registry[Any] = Registry().with_resources(
    [(document["$id"], Resource.from_contents(document)) for document in DOCUMENTS.values()]
)
NAME = "NGUYỄN THỊ NGỌC ÁNH"

# identifier: (good ones, bad ones)
TABLE: dict[str, tuple[list[str], list[Any]]] = {
    "agency-code": (
        ["H01", "H01.05", "G12.18", "H01.12.003.4", "G09.20.1.22.333"],
        ["", "h01", "H1", "H001", "000.00.05.H01", "H01.", "H01.1234", "H01..05", "H01.1.2.3.4.5", "H٠١"],
    ),
    "agency-code-legacy": (
        ["000.00.05.H01", "000.00.00.H49", "001.02.03.G18"],
        ["H01.05", "00.00.05.H01", "000.00.05.h01", "000-00-05-H01", "000.00.05.H1"],
    ),
    "agency-code-any": (["H01.05", "000.00.05.H01"], ["", "05.H01", "000.00.05", 105]),
    "procedure-code": (
        ["1.001612.000.00.00.H01", "3.000181.000.00.00.H22", "2.002492.000.00.00.G05"],
        ["1.001612", "1.001612.000.00.00.A01", "1.01612.000.00.00.H01", "1.001612.000.00.H01"],
    ),
    "procedure-code-short": (
        ["2.002492", "1.005129"],
        ["2.02492", "22.002492", "2-002492", "2.002492.", 2.002492],
    ),
    "field-code": (["G03-GD10", "G15-TP110"], ["G3-GD10", "H03-GD10", "G03GD10", "G03-GD1", "G03-GD1000"]),
    "dossier-code": (
        ["G09.20-20260609-0092637", "H01.31-20261122-0000001", "H01-20250718-0001"],
        [
            "000.00.05.H01-250718-0001",
            "H01.31-20261322-0001",
            "H01.31-20261100-0001",
            "H01.31-20261122-001",
            "H01.31-20261122-00000001",
            "A01-20261122-0001",
        ],
    ),
    "dossier-code-legacy": (
        ["000.00.05.H01-250718-0001", "000.00.05.H01-250718-0000001"],
        [
            "H01.05-20250718-0001",
            "000.00.05.H01-20250718-0001",
            "000.00.05.H01-251318-0001",
            "000.00.05.H01-250732-0001",
        ],
    ),
    "dossier-component": (
        ["000.00.00.G09-KQ002269"],
        ["000.00.00.G09-002269", "G09-KQ002269", "000.00.00.G09-KQ02269"],
    ),
    "result-code": (
        ["KQ.G07.000122", "KQ.DVC.000017", "KQ.DVC.AG-7"],
        ["KQ.G07.00122", "KQ.DVC.", "kq.G07.000122", "KQ.DVC.a b"],
    ),
    "personal-number": (
        ["099085000123", "099301999999"],
        [
            "99085000123",
            "0990850001234",
            "099 85000123",
            "099.850.00123",
            "09908500012a",
            "٠٩٩٠٨٥٠٠٠١٢٣",
            99085000123,
            None,
        ],
    ),
    "old-number": (
        ["990000123", "999999999"],
        ["99000012", "9900001234", "99 000 012", "99000012O", 990000123],
    ),
    "calendar-date": (
        ["2026-11-22", "1900-01-01"],
        ["2026-13-01", "2026-00-10", "2026-01-32", "22/11/2026", "20261122", "2026-1-2"],
    ),
    "birth-date-full": (
        ["1965-05-12", "2004-02-29"],
        ["1965-05", "1965", "12/05/1965", "1765-05-12", "1965-05-00"],
    ),
    "birth-year-month": (["1965-05", "2001-12"], ["1965-13", "1965-00", "05/1965", "1965-5", "1965"]),
    "birth-year": (["1965", "2001"], ["65", "3001", "1765", "19655", 1965]),
    "birth-date": (
        ["1965-05-12", "1965-05", "1965"],
        ["", "1965-", "1965-05-", "0000", "12/05/1965", "19650512"],
    ),
    "person-name": (
        [NAME, "Danh Sà Rươl", "Y-BLƠ", "K'BRỂP", "LÊ ĐỨC", "Trần Thị Ỷ"],
        [
            "",
            "A",
            " LÊ ĐỨC",
            "LÊ ĐỨC ",
            "LÊ  ĐỨC",
            "LÊ\tĐỨC",
            "LÊ\u00a0ĐỨC",
            "LÊ ĐỨC 2",
            "LÊ_ĐỨC",
            "<LÊ>",
            "LÊ\u200bĐỨC",
            unicodedata.normalize("NFD", NAME),
            "Ê" * 121,
        ],
    ),
    "social-insurance-number": (["9900000017"], ["990000017", "99000000170", "99 0000 0017"]),
    "health-insurance-card": (
        ["DN4919900000017", "9900000017"],
        [
            "DN6919900000017",
            "DN0919900000017",
            "D4919900000017",
            "dn4919900000017",
            "DN491990000001",
            "DN 4919900000017",
        ],
    ),
    "province-code": (["91", "01"], ["1", "091", "9a", 91]),
    "commune-code": (["30742", "00004"], ["4", "3074", "307420", "3074a", 30742]),
    "catalogue-version": (["2025-07", "2026-12"], ["2025-13", "2025", "1999-01", "2025-07-01"]),
    "vessel-registration": (
        ["AG-00012-TS", "KG-91234-TS", "BTRE-00001-TS"],
        [
            "KG91234TS",
            "KG-1234-TS",
            "KG-912345-TS",
            "kg-91234-TS",
            "KG-91234-ts",
            "KG-91234",
            "-91234-TS",
            "ABCDE-91234-TS",
        ],
    ),
    "enterprise-number": (
        ["9900000009", "9900000009-001"],
        ["990000000", "9900000009-1", "9900000009001", "9900000009-", "99-0000000"],
    ),
    "driver-health-certificate": (
        ["00001/GKSKLX/34001/20"],
        ["1/GKSKLX/34001/20", "00001/gksklx/34001/20", "00001/GKSKLX/34001/2020", "00001-GKSKLX-34001-20"],
    ),
    "health-facility": (["34001"], ["3400", "340011", "A4001"]),
    "dossier-status": ([str(code) for code in range(1, 11)], ["0", "11", "01", "", 1]),
    "document-status": (
        ["01", "02", "03", "04", "05", "06", "13", "15", "16"],
        ["1", "00", "07", "14", "17", 13],
    ),
    "list-id": (["20261122-30742-001", "a", "A.b_c"], ["", "-a", "a b", "a/b", "a" * 65]),
}
GOOD = [(name, text) for name, (good, _) in TABLE.items() for text in good]
BAD = [(name, text) for name, (_, bad) in TABLE.items() for text in bad]


def is_valid(name: str, text: object) -> bool:
    reference = {"$ref": f"urn:lgsp:schema:common:{name}:1.0.0"}
    return Draft202012Validator(reference, registry=REGISTRY).is_valid(text)


def test_the_table_names_every_identifier() -> None:
    assert set(TABLE) == set(DOCUMENTS)


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_a_good_identifier_passes(name: str, text: str) -> None:
    assert is_valid(name, text)


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_bad_identifier_is_refused(name: str, text: object) -> None:
    assert not is_valid(name, text)


@pytest.mark.parametrize(("name", "text"), GOOD)
def test_nothing_may_stand_before_or_after_an_identifier(name: str, text: str) -> None:
    for wrapped in (f"{text}\n", f"\n{text}", f" {text}", f"{text} ", f"{text}\u0000"):
        assert not is_valid(name, wrapped)
