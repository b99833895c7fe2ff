import math

import numpy as np
import pytest
import torch
from dense_curvature import DenseCurvature, network_curvature, orthogonal, with_spectrum
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.curvature.band_lanczos import begin, dot, extend, ritz_vectors
from absa.curvature.projection import largest_part, ritz, rounding


def starts(dim, num, seed=1, dtype=torch.float64):
    return list(torch.randn(num, dim, dtype=dtype, generator=torch.Generator().manual_seed(seed)))


def grown(operator, krylov, num_products, choose=lambda krylov: 0):
    for _ in range(num_products):
        if krylov.pending:
            krylov = extend(operator, krylov, choose(krylov))
    return krylov


spectra = st.lists(
    st.one_of(st.sampled_from([-2.0, 0.0, 1.0, 1.0 + 1e-9, 3.0]), st.floats(-10, 10)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=6, deadline=None)
@given(spectra, st.integers(1, 3), st.data())
def test_the_projection_is_what_the_basis_makes_of_the_operator(spectrum, num_starts, data):
    operator = with_spectrum(spectrum)
    krylov = begin(starts(len(spectrum), num_starts))
    while krylov.pending:
        which = data.draw(st.integers(0, len(krylov.pending) - 1))
        krylov = extend(operator, krylov, which)
        basis = torch.stack(krylov.basis).T
        product = operator.matrix @ basis
        left = product - basis @ torch.from_numpy(krylov.projection.matrix)
        outside = torch.from_numpy(krylov.projection.outside)
        scale = max(1.0, float(operator.matrix.abs().max()))
        close = {"rtol": 0, "atol": 1e-11 * scale**2}
        torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]).double(), **close)
        torch.testing.assert_close(basis.T @ left, torch.zeros_like(basis.T @ left), **close)
        torch.testing.assert_close(left.T @ left, outside.T @ outside, **close)


@settings(max_examples=6, deadline=None)
@given(spectra, st.integers(1, 3), st.data())
def test_ritz_values_rise_towards_their_eigenvalues_and_never_beyond(spectrum, num_starts, data):
    operator = with_spectrum(spectrum)
    true = np.linalg.eigvalsh(operator.matrix.numpy())[::-1]
    krylov, before = begin(starts(len(spectrum), num_starts)), np.zeros(0)
    while krylov.pending:
        which = data.draw(st.integers(0, len(krylov.pending) - 1))
        krylov = extend(operator, krylov, which)
        pairs = ritz(krylov.projection)
        assert (pairs.values <= true[: len(pairs.values)] + 1e-10).all()
        assert (pairs.values[: len(before)] >= before - 1e-10).all()
        distances = np.abs(true[:, None] - pairs.values).min(axis=0)
        assert (distances <= pairs.residuals + 1e-9).all()
        before = pairs.values


@pytest.mark.parametrize("num_starts", [1, 2, 3])
def test_a_complete_basis_has_all_eigenvalues(num_starts):
    operator = with_spectrum([9, 4, 3.99, 1, 0, -2, -7])
    krylov = grown(operator, begin(starts(7, num_starts)), 7)
    assert not krylov.pending
    np.testing.assert_allclose(
        ritz(krylov.projection).values, [9, 4, 3.99, 1, 0, -2, -7], atol=1e-12
    )


def test_residuals_and_vectors_are_those_of_the_operator():
    operator = network_curvature()
    krylov = grown(operator, begin(starts(operator.dim, 3)), 11)
    pairs, vectors = ritz(krylov.projection), ritz_vectors(krylov, 4)
    left = vectors @ operator.matrix - torch.from_numpy(pairs.values[:4].copy())[:, None] * vectors
    np.testing.assert_allclose(left.norm(dim=1), pairs.residuals[:4], rtol=1e-10)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(4, dtype=torch.float64))


def test_the_order_of_the_chains_does_not_change_what_is_found():
    operator = network_curvature()
    found = [
        ritz(grown(operator, begin(starts(operator.dim, 2)), 8, choose).projection).values
        for choose in (
            lambda krylov: 0,
            lambda krylov: int(
                np.argmin([krylov.projection.num_products[r.chain] for r in _left(krylov)])
            ),
        )
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


def _left(krylov):
    return krylov.projection.remainders


def test_a_repeated_eigenvalue_ends_the_chains():
    krylov = grown(with_spectrum([2.0] * 6), begin(starts(6, 2)), 6)
    assert len(krylov.basis) == 2
    np.testing.assert_allclose(ritz(krylov.projection).values, [2, 2])
    assert krylov.projection.dropped < 1e-14


def test_two_starts_find_an_eigenvalue_twice():
    spectrum = [5, 5, 1, 0.5, 0]
    # A fifth product from one start finds the second 5 by rounding alone.
    alone = ritz(grown(with_spectrum(spectrum), begin(starts(5, 1)), 4).projection)
    together = ritz(grown(with_spectrum(spectrum), begin(starts(5, 2)), 5).projection)
    np.testing.assert_allclose(alone.values, [5, 1, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(together.values, spectrum, atol=1e-12)


@pytest.mark.parametrize("dim", [1, 2])
def test_more_starts_than_dimensions_are_dropped(dim):
    krylov = grown(with_spectrum([3.0, 1.0][:dim]), begin(starts(dim, 3)), 9)
    assert len(krylov.basis) == dim
    assert all(krylov.projection.holds(start) for start in range(3))
    np.testing.assert_allclose(ritz(krylov.projection).values, [3.0, 1.0][:dim])


def test_a_start_of_length_zero_is_dropped():
    krylov = begin([torch.zeros(4), torch.ones(4)])
    assert [r.chain for r in krylov.projection.remainders] == [1]


def test_a_start_that_the_basis_holds_is_dropped():
    first, second = starts(5, 2)
    krylov = grown(with_spectrum(range(5)), begin([first, second, first + second]), 2)
    assert [r.chain for r in krylov.projection.remainders] == [0, 1]
    assert krylov.projection.holds(2)


def test_the_zero_matrix_has_the_value_zero():
    krylov = grown(DenseCurvature(torch.zeros(5, 5)), begin(starts(5, 2, dtype=torch.float32)), 9)
    assert ritz(krylov.projection).values.tolist() == [0, 0]
    assert rounding(krylov.projection, 1e-7) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_product_that_is_not_finite_shows(bad):
    operator = with_spectrum(range(4))
    krylov = grown(operator, begin(starts(4, 2)), 1)
    assert krylov.projection.finite
    operator.matrix[2, 2] = bad
    assert not extend(operator, krylov).projection.finite


def test_extending_changes_nothing_that_it_was_given():
    operator = with_spectrum(range(6))
    krylov = grown(operator, begin(starts(6, 3)), 2)
    before = [vector.clone() for vector in (*krylov.basis, *krylov.pending)]
    extend(operator, krylov)
    assert all(map(torch.equal, (*krylov.basis, *krylov.pending), before))


def test_a_float32_basis_stays_orthonormal_beyond_convergence():
    spectrum = np.concatenate([[1000, 100, 10], np.linspace(-0.1, 0.1, 57)])
    operator = with_spectrum(spectrum, dtype=torch.float32)
    krylov = grown(operator, begin(starts(60, 2, dtype=torch.float32)), 30)
    basis = torch.stack(krylov.basis).double()
    assert (basis @ basis.T - torch.eye(30)).abs().max() < 1e-6
    assert ritz(krylov.projection).values[0] == pytest.approx(1000, rel=1e-6)


def test_rounding_of_the_products_is_seen():
    operator = with_spectrum(np.linspace(-1, 1, 40))
    noise = torch.randn(40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = DenseCurvature(operator.matrix + 1e-4 * noise)
    krylov = grown(noisy, begin(starts(40, 2)), 16)
    allowance = rounding(krylov.projection, 2e-16)
    assert 1e-4 < allowance < 1e-2
    assert ritz(krylov.projection).values[0] - allowance < 1


def test_the_largest_part_of_a_residual_is_told():
    operator = with_spectrum([5, 1, 0.5, 0.2, 0])
    nearly = torch.tensor(orthogonal(5)[:, 0] + 0.01 * orthogonal(5)[:, 3])
    krylov = grown(operator, begin([nearly, *starts(5, 1)]), 2)
    for column, chain in enumerate((0, 1)):
        which = largest_part(krylov.projection, np.eye(2)[column])
        assert krylov.projection.remainders[which].chain == chain


def test_inner_products_of_long_vectors_are_exact():
    long = torch.rand(3_000_000, generator=torch.Generator().manual_seed(0))
    assert dot(long, long) == pytest.approx(float(long.double() @ long.double()), rel=1e-6)


def test_the_numbers_of_rank_zero_are_what_is_gone_on_with():
    operator = with_spectrum(range(6))
    told = []
    krylov = extend(operator, begin(starts(6, 1), lambda n: told.append(n) or n), 0)
    again = begin(starts(6, 1, seed=2), lambda numbers: told[0])
    krylov_again = extend(operator, again, 0, lambda numbers: numbers * 0 + 7)
    assert krylov.projection.matrix[0, 0] != 7
    assert krylov_again.projection.matrix[0, 0] == 7
