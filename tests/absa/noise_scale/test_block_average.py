import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.noise_scale.block_average import BlockAverage

# In thousandths, so that a scatter is either zero but for rounding or well above it.
NUMBER = st.floats(-100, 100).map(lambda x: round(x, 3))


@given(
    blocks=st.lists(st.tuples(NUMBER, NUMBER, NUMBER, st.floats(0.1, 10)), min_size=1, max_size=9),
    fade=st.floats(0.7, 1),
)
@settings(max_examples=30)
def test_blocks_are_averaged_like_a_list_of_all_of_them(blocks, fade):
    average = BlockAverage()
    for *said, weight in blocks:
        average = average.add(tuple(said), weight, fade)
    said, weights = np.array(blocks)[:, :3], np.array(blocks)[:, 3]
    weights = weights * fade ** np.arange(len(blocks))[::-1]
    shares = weights / weights.sum()
    means = shares @ said
    assert average.means == pytest.approx(tuple(means), abs=1e-9)
    assert average.num_blocks == pytest.approx(1 / (shares**2).sum())

    deciding = (shares**2).sum() ** 2 / (shares**4).sum()
    far = shares[:, None] * (said - means)
    found = average.result()
    variances = far.T @ far / (1 - 1 / deciding) if deciding > 1.001 else None
    share, degrees = 0.0, deciding - 1
    if deciding >= 3 and variances[2, 2] > 1e-18:
        share = min(max(-variances[1, 2] / variances[2, 2], 0), 1)
        degrees -= share > 0
    combine = np.array([[1, 0, 0], [0, 1, share]])
    assert (found.trace, found.gradient_sq) == pytest.approx(tuple(combine @ means), abs=1e-6)
    assert (found.errors is None) == (degrees < 1)
    if found.errors is not None:
        wanted = combine @ variances @ combine.T
        scale = 1e-9 + np.abs(wanted).max()
        assert found.errors.var_trace == pytest.approx(wanted[0, 0], abs=1e-6 * scale)
        assert found.errors.covariance == pytest.approx(wanted[0, 1], abs=1e-6 * scale)
        assert found.errors.var_gradient_sq == pytest.approx(wanted[1, 1], abs=1e-6 * scale)
        assert found.errors.degrees == pytest.approx(degrees)


@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=4, max_size=9))
@settings(max_examples=30)
def test_no_share_of_the_correction_is_more_exact(blocks):
    average, without = BlockAverage(), BlockAverage()
    full = BlockAverage()
    for trace, gradient_sq, correction in blocks:
        average = average.add((trace, gradient_sq, correction), 1.0, 1.0)
        without = without.add((trace, gradient_sq, 0.0), 1.0, 1.0)
        full = full.add((trace, gradient_sq + correction, 0.0), 1.0, 1.0)
    found = average.result().errors.var_gradient_sq
    for other in (without, full):
        assert found <= other.result().errors.var_gradient_sq * (1 + 1e-9) + 1e-9


def test_a_correction_that_makes_up_for_the_error_counts_whole():
    average = BlockAverage()
    for error in (3.0, -1.0, 2.0, -2.0, 1.0):
        average = average.add((10.0, 5 + error, -error), 1.0, 1.0)
    means = average.result()
    assert means.gradient_sq == pytest.approx(5)
    assert means.errors.var_gradient_sq == pytest.approx(0, abs=1e-12)


def test_nothing_is_known_before_the_first_block():
    means = BlockAverage().result()
    assert (means.trace, means.gradient_sq, means.errors) == (0.0, 0.0, None)
