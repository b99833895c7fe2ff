import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.noise_scale.student_t import two_sided_quantile

CONFIDENCE = st.floats(0.05, 0.99)


@given(CONFIDENCE)
@settings(max_examples=30)
def test_one_and_two_degrees_have_closed_forms(confidence):
    assert two_sided_quantile(confidence, 1) == pytest.approx(math.tan(math.pi / 2 * confidence))
    closed = confidence * math.sqrt(2 / (1 - confidence**2))
    assert two_sided_quantile(confidence, 2) == pytest.approx(closed)


@pytest.mark.parametrize(
    ("confidence", "degrees", "published"),
    [(0.9, 4, 2.132), (0.9, 9, 1.833), (0.95, 9, 2.262), (0.95, 30, 2.042), (0.99, 120, 2.617)],
)
def test_the_tables_of_textbooks(confidence, degrees, published):
    assert two_sided_quantile(confidence, degrees) == pytest.approx(published, abs=5e-4)


@given(CONFIDENCE, st.floats(1, 1e5), st.floats(1.01, 10))
@settings(max_examples=30)
def test_more_degrees_come_nearer_to_the_normal_quantile(confidence, degrees, factor):
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    few, many = (two_sided_quantile(confidence, d) for d in (degrees, degrees * factor))
    assert few * (1 + 1e-6) >= many >= normal * (1 - 1e-6)
