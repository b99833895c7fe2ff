import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from absa.errors import CheckpointError
from absa.exact_json import dump_exact, load_exact

KEYS = st.text() | st.sampled_from(["$float", "$tuple", "$", "$$float"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple),
    max_leaves=8,
)


def typed(value):
    """Return a form that tells 1 from 1.0 from True, -0.0 from 0.0, and lists from tuples."""
    if isinstance(value, dict):
        return {key: typed(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [typed(v) for v in value]
    return type(value), struct.pack("d", value) if isinstance(value, float) else value


@given(VALUES)
def test_plain_values_come_back_exactly(value) -> None:
    assert typed(load_exact(dump_exact(value))) == typed(value)


@given(VALUES)
def test_the_document_is_strict_json_in_ascii(value) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(dump_exact([value, math.nan, math.inf]).decode("ascii"), parse_constant=refuse)


def test_numbers_that_are_not_finite_come_back() -> None:
    nan, inf, minus = load_exact(dump_exact([math.nan, math.inf, -math.inf]))
    assert math.isnan(nan)
    assert (inf, minus) == (math.inf, -math.inf)


def test_integers_keep_all_bits() -> None:
    values = [2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**63), 10**40]
    assert load_exact(dump_exact(values)) == values


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, {2}]}, r"a\[1\] is a set"),
        (b"x", "the top is a bytes"),
        ({"a": {1: 2}}, "the key 1 at a"),
    ],
)
def test_what_is_no_plain_value_is_named(value, where: str) -> None:
    with pytest.raises(CheckpointError, match=where):
        dump_exact(value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b'{"$float": "1"}', b'{"$call": "x"}', b'{"$tuple": 1}', b"[" * 99999],
)
def test_another_document_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="not a JSON document of absa"):
        load_exact(data)


def test_values_nested_without_end_are_refused() -> None:
    endless: list = []
    endless.append(endless)
    with pytest.raises(CheckpointError, match="cannot be written"):
        dump_exact(endless)
