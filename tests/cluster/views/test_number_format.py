import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.views import number_format as show

finite = st.floats(-1e300, 1e300)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1, "0.100"),
        (0.0875, "0.0875"),
        (1.234e-5, "1.23e-5"),
        (0.0, "0"),
        (12.0, "12.0"),
        (None, "-"),
    ],
)
def test_learning_rate_has_three_significant_digits(value: float | None, shown: str) -> None:
    assert show.learning_rate(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2.30259, "2.303"),
        (0.00121, "0.001210"),
        (9.99999, "10.00"),
        (1e9, "1.000e9"),
        (-0.5, "-0.5000"),
    ],
)
def test_loss_has_four_significant_digits(value: float, shown: str) -> None:
    assert show.loss(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (999.7, "1.00k"),
        (12_400, "12.4k"),
        (999_600, "1.00M"),
        (3.27, "3.27"),
    ],
)
def test_large_numbers_get_a_prefix(value: float, shown: str) -> None:
    assert show.si(value) == shown


def test_bytes_stand_apart_from_their_number() -> None:
    assert show.si(304_128, "B") == "304 kB"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0354, "35 ms"),
        (0.9999, "1.0 s"),
        (4.23, "4.2 s"),
        (9.97, "10 s"),
        (59.7, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.9, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (360_000, "4 d 04 h"),
        (-1, "0 ms"),
    ],
)
def test_duration_carries_over_into_the_next_unit(seconds: float, shown: str) -> None:
    assert show.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(7, "0:07"), (59.6, "1:00"), (3723, "1:02:03"), (273_906, "3d 04:05:06")]
)
def test_clock_shows_what_a_clock_would(seconds: float, shown: str) -> None:
    assert show.clock(seconds) == shown


@given(value=finite, digits=st.integers(1, 8))
def test_significant_digits_are_within_half_a_digit(value: float, digits: int) -> None:
    shown = float(show.significant(value, digits))
    assert shown == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits), abs=1e-320)


@given(value=finite)
def test_every_number_has_a_look(value: float) -> None:
    for look in (
        show.loss,
        show.si,
        show.percent,
        show.clock,
        show.duration,
        show.count,
        show.epoch,
    ):
        assert look(value)
