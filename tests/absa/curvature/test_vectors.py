import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.curvature.vectors import flatten, unflatten
from absa.errors import MeasurementError

SHAPES = st.lists(st.lists(st.integers(0, 3), max_size=4).map(torch.Size), min_size=1, max_size=4)


@settings(max_examples=30)
@given(SHAPES)
def test_a_vector_becomes_tensors_and_itself_again(shapes):
    vector = torch.randn(sum(shape.numel() for shape in shapes))

    parts = unflatten(vector, shapes)

    assert [part.shape for part in parts] == shapes
    assert torch.equal(flatten(parts), vector)


def test_a_vector_is_in_row_major_order_whatever_the_order_in_memory():
    image = torch.randn(2, 3, 4, 4)
    stored_otherwise = [image.to(memory_format=torch.channels_last), image.mT.contiguous().mT]

    for tensor in stored_otherwise:
        assert torch.equal(flatten([tensor]), image.flatten())


def test_a_vector_has_no_graph():
    assert not flatten([torch.randn(3, requires_grad=True) * 2]).requires_grad


@pytest.mark.parametrize("shape", [(5,), (7,)])
def test_a_vector_of_another_shape_is_refused(shape):
    with pytest.raises(MeasurementError, match="it must be flat"):
        unflatten(torch.zeros(shape), [torch.Size([2, 3])])
