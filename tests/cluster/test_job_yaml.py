import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.job_yaml import MAX_DEPTH, Draft, read_yaml, write_yaml

text_values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text_values
    | st.sampled_from(
        ["1e-3", "no", "on", "null", "", "010", "1:30", "2020-01-01", "=", "<<", ".5"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text_values, inner, max_size=4),
    max_leaves=12,
)


def read(text: str) -> Draft:
    return read_yaml(text, lambda line: f"f:{line}")


def messages(text: str) -> list[str]:
    return [found.message for found in read(text).findings]


@given(plain_values)
@settings(max_examples=100)
def test_plain_data_survives_writing_and_reading(value):
    draft = read(write_yaml(value))

    assert not draft.findings
    assert draft.data == value
    assert repr(draft.data) == repr(value)


@given(plain_values)
@settings(max_examples=30)
def test_a_reader_of_yaml_1_1_reads_the_same(value):
    assert repr(yaml.safe_load(write_yaml(value))) == repr(value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("7.", 7.0),
        ("50_000", 50_000),
        ("-0", 0),
        ("true", True),
        ("~", None),
        ("no", "no"),
        ("off", "off"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("nan", "nan"),
        ("'64'", "64"),
        ("1e", "1e"),
        ("=", "="),
    ],
)
def test_unquoted_words_mean_what_they_look_like(written, value):
    draft = read(f"key: {written}")

    assert not draft.findings
    assert repr(draft.data["key"]) == repr(value)


def test_every_value_has_its_line():
    draft = read("a: 1\nb:\n  c: x\n  d:\n  - 5\n  -\n    e: 2\n")

    lines = {keys: mark.place for keys, mark in draft.marks.items()}
    assert lines[("a",)] == "f:1"
    assert lines[("b", "c")] == "f:3"
    assert lines[("b", "d", 0)] == "f:5"
    assert lines[("b", "d", 1, "e")] == "f:7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: a is given twice, first in line 1"),
        ("s:\n  a: 1\n  a: 1", "f:3: s.a is given twice, first in line 2"),
        ("1: a", "f:1: a key must be text: put it in quotes if it is meant"),
        ("null: a", "f:1: a key must be text: put it in quotes if it is meant"),
        ("? [a]\n: b", "f:1: a key must be text: put it in quotes if it is meant"),
        ("a: .inf", "f:1: a must be a finite number, not .inf"),
        ("a: -.INF", "f:1: a must be a finite number, not -.INF"),
        ("a: .nan", "f:1: a must be a finite number, not .nan"),
        ("a: 1e999", "f:1: a must be a finite number, not 1e999"),
        (
            "a: 9223372036854775808",
            "f:1: a must be an integer below 2**63, not 9223372036854775808",
        ),
        ('a: "\\ud800"', 'f:1: "\\ud800" holds characters that are not text'),
        ('"\\0": 1', 'f:1: "\\u0000" holds characters that are not text'),
        ('a: "\\UFFFFFFFF"', "f:1: an escape that is no character"),
        ("a: 1\n\tb: 2", "f:2: cannot be read as YAML: a tab: indent with spaces"),
        (
            "a: 1\n---\nb: 2",
            "f:2: cannot be read as YAML: a second document begins here: one job per file",
        ),
        ("a: 1\nb: \x07", "f:2: a character that is not text"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, message):
    assert messages(text) == [message]


def test_a_number_of_ten_thousand_digits_is_refused_without_being_converted():
    (message,) = messages("a: " + "9" * 10_000)

    assert message.startswith("f:1: a must be an integer below 2**63, not 9999")
    assert len(message) < 120


def test_aliases_are_refused_so_that_a_file_cannot_grow():
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"

    assert messages(bomb) == [
        "f:2: cannot be read as YAML: the alias *a is not supported: write the value out"
    ]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [true]", "!!str 1", "! x", "!a b"]
)
def test_tags_are_refused(tag):
    (message,) = messages(f"a: {tag}")

    assert "the tag !" in message or "the tag tag:" in message
    assert "is not supported" in message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_before_it_exhausts_the_stack(opening):
    (message,) = messages(opening * 20_000)

    assert message == f"f:1: cannot be read as YAML: nested deeper than {MAX_DEPTH} levels"


@given(st.text(max_size=60) | st.text("a:-[]{},&*!|>'\"%@`#? \n\t\\x0\r~<=.1e", max_size=60))
@settings(max_examples=100)
def test_any_text_gives_data_or_findings(text):
    draft = read(text)

    assert isinstance(draft, Draft)
    assert all(found.message.startswith("f:") for found in draft.findings)
    assert not any(isinstance(v, float) and not math.isfinite(v) for v in [draft.data])
