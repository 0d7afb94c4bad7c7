import json

import pytest

from lgsp.domain import strictjson

REFUSED = {
    "nothing": b"",
    "white space": b" \n",
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without BOM": "{}".encode("utf-16-le"),
    "two values": b"{} {}",
    "rest": b"{}x",
    "trailing comma": b"[1,]",
    "trailing comma in an object": b'{"a":1,}',
    "comment": b"/*x*/1",
    "single quotes": b"{'a':1}",
    "name without quotes": b"{a:1}",
    "duplicate name": b'{"a":1,"a":2}',
    "duplicate name by escape": b'{"a":1,"\\u0061":2}',
    "duplicate name inside": b'[{"b":{"c":1,"c":1}}]',
    "empty name twice": b'{"":1,"":1}',
    "NaN": b"NaN",
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "a number beyond double": b"1e999",
    "a number beyond double in a list": b"[1e999]",
    "a number beyond double in an object": b'{"a":-1e999}',
    "a number beyond double at the last level": b"[" * 32 + b"1e999" + b"]" * 32,
    "leading zero": b"01",
    "leading plus": b"+1",
    "no digit after the point": b"1.",
    "no digit before the point": b".5",
    "hexadecimal": b"0x10",
    "an integer of 5,000 digits": b"1" * 5_000,
    "a number of 60,000 digits": b"1" * 60_000 + b".5",
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"\\udc00"',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "surrogate as name": b'{"\\ud800":1}',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "bad UTF-8": b'"\xff"',
    "cut UTF-8": b'"\xc3("',
    "long spelling of a slash": b'"\xc0\xaf"',
    "control character": b'"\x00"',
    "tab in a text": b'"\t"',
    "unknown escape": b'"\\x41"',
    "open text": b'"a',
    "open list": b"[1",
    "33 levels": b"[" * 33 + b"]" * 33,
    "33 levels of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "5,000 levels": b"[" * 5_000 + b"]" * 5_000,
    "100,000 levels": b"[" * 100_000,
    "non-breaking space": "\u00a0{}".encode(),
    "capital True": b"True",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_rfc_8259_leaves_open_is_refused(name):
    with pytest.raises(strictjson.NotStrict):
        strictjson.parse(REFUSED[name])


TAKEN = [
    (b"null", None),
    (b"true", True),
    (b' {"a" : 1}\n', {"a": 1}),
    (b"-0", 0),
    (b"1.50", 1.5),
    (b"1e5", 1e5),
    (b"123456789012345678901234567890", 123456789012345678901234567890),
    (b'"\\ud83d\\ude00"', "😀"),
    ('"ỄẾ"'.encode(), "ỄẾ"),
    (b'"\\u0000"', "\x00"),
    (b'{"a":1,"A":2}', {"a": 1, "A": 2}),
    (b'[{"a":1},{"a":1}]', [{"a": 1}, {"a": 1}]),
    (b'{"b":1,"a":{"b":2}}', {"b": 1, "a": {"b": 2}}),
]


@pytest.mark.parametrize(("data", "value"), TAKEN)
def test_strict_json_is_taken(data, value):
    assert strictjson.parse(data) == value


def test_the_deepest_value_that_is_taken_has_32_levels():
    assert strictjson.parse(b"[" * 32 + b"]" * 32)
    assert strictjson.parse(b'{"a":' * 32 + b"1" + b"}" * 32)


def test_a_smaller_depth_can_be_asked_for():
    assert strictjson.parse(b'{"a":"b"}', depth=1) == {"a": "b"}
    assert strictjson.parse(b"1", depth=0) == 1
    with pytest.raises(strictjson.NotStrict, match="deep"):
        strictjson.parse(b'{"a":{}}', depth=1)


@pytest.mark.parametrize("data", [b"[]", b'"a"', b"1", b"null"])
def test_only_an_object_is_an_object(data):
    with pytest.raises(strictjson.NotStrict, match="not a JSON object"):
        strictjson.parse_object(data)


@pytest.mark.parametrize("name", REFUSED)
def test_the_words_of_a_refusal_repeat_nothing_of_the_input(name):
    with pytest.raises(strictjson.NotStrict) as caught:
        strictjson.parse(REFUSED[name])
    assert str(caught.value) in {"not strict JSON", "a number is out of range", "nested too deeply"}
    assert caught.value.__cause__ is None


NFD = "A\u0301"
NOT_NFC = [
    (NFD, ""),
    ({"name": NFD}, "/name"),
    ({"rows": ["a", {"name": NFD}]}, "/rows/1/name"),
    ({"a/b~c": [NFD]}, "/a~1b~0c/0"),
    ({NFD: "a"}, ""),
    ({"rows": [{NFD: 1}]}, "/rows/0"),
    ("\u212b", ""),
]


@pytest.mark.parametrize(("value", "pointer"), NOT_NFC)
def test_the_first_text_that_is_not_nfc_is_found(value, pointer):
    assert strictjson.first_not_nfc(value) == pointer


@pytest.mark.parametrize(
    "value", ["Á", {"tên": ["NGUYỄN THỊ ÁNH TUYẾT", 1, None, True, {"a": 1.5}]}, [], {}, 5, "한국"]
)
def test_nfc_is_nfc(value):
    assert strictjson.first_not_nfc(value) is None


def test_what_the_bus_writes_is_compact_utf8_in_the_order_given():
    assert strictjson.compact({"b": "Ễ", "a": [1, None, True]}) == '{"b":"Ễ","a":[1,null,true]}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        strictjson.compact(float("nan"))


@pytest.mark.parametrize(
    "data", [b"1e999", b"-1E+400", b"[1e0400]", b"1" + b"0" * 250 + b"e99", b"1" + b"0" * 400 + b".5"]
)
def test_a_number_beyond_a_double_is_found_however_it_is_written(data):
    with pytest.raises(strictjson.NotStrict):
        strictjson.parse(data)


@pytest.mark.parametrize("data", [b'"e1e999"', b'"1e999"', b"1e-999", b"1" * 250])
def test_what_only_looks_like_one_is_taken(data):
    assert strictjson.parse(data) == json.loads(data)


@pytest.mark.parametrize(
    ("data", "is_nfc"),
    [
        (b'{"a":"b"}', True),
        ('"Á"'.encode(), True),
        (f'"{NFD}"'.encode(), False),
        (b'"A\\u0301"', False),
        (b'"\\u00c1"', True),
        (f'{{"{NFD}":1}}'.encode(), False),
        ('"\u0301"'.encode(), True),  # a mark that opens a text stands alone
        ('"\\n\u0303"'.encode(), True),  # not the letter n with a tilde: a new line, and a mark behind it
        ('"n\u0303"'.encode(), False),
        ('"\u0327\u0301"'.encode(), True),
        ('"\u0301\u0327"'.encode(), False),
    ],
)
def test_json_is_in_nfc_when_all_its_texts_are(data, is_nfc):
    value = strictjson.parse(data)
    assert strictjson.is_nfc(data, value) is is_nfc
    assert (strictjson.first_not_nfc(value) is None) is is_nfc


def test_of_whatever_the_parser_refuses_the_byte_is_known_and_of_what_it_takes_none():
    for name, data in REFUSED.items():
        at = strictjson.breaks_at(data)
        if "beyond double" in name or name.startswith("33 levels"):  # JSON all the same: refused by what is read in it
            assert at is None, name
        else:
            assert at is not None, name
            assert 0 <= at <= len(data), name
    assert strictjson.breaks_at(b'{"a":1}') is None
