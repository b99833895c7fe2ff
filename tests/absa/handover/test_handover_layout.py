import pytest
import torch
from hypothesis import given
from states import assorted, trees

from absa.errors import ResizeError
from absa.handover.layout import Layout, decode, describe, encode
from absa.state import StateTree


@given(trees())
def test_a_layout_comes_back_from_bytes(tree):
    layout = describe(tree)
    assert decode(encode(layout)) == Layout(layout.forms, tree.values, tree.kinds)


def test_an_empty_tensor_of_a_form_lies_in_memory_like_the_original():
    tensors = assorted(1).tensors
    for name, form in describe(StateTree(tensors, {})).forms.items():
        made = form.empty(torch.device("cpu"))
        assert form.fits(tensors[name])
        assert (made.dtype, made.shape) == (tensors[name].dtype, tensors[name].shape)
    image = describe(StateTree(tensors, {})).forms["model/channels_last"]
    assert image.empty(torch.device("cpu")).stride() == tensors["model/channels_last"].stride()


def test_the_forms_of_rows_say_nothing_of_their_number():
    tree = StateTree({"seen/positions": torch.arange(3)}, {}, {"seen": "per_position"})
    assert describe(tree).forms["seen/positions"].shape == (0,)


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (torch.eye(2).to_sparse(), "sparse_coo"),
        (torch.empty(2, device="meta"), "meta"),
    ],
)
def test_a_tensor_that_is_not_dense_is_refused_by_name(tensor, what):
    with pytest.raises(ResizeError, match=f"'model/x' of the state is .*{what}"):
        describe(StateTree({"model/x": tensor}, {}))


def test_a_value_that_is_not_plain_is_refused():
    with pytest.raises(ResizeError, match=r"cannot be handed over.*set"):
        encode(describe(StateTree({}, {"progress": {1, 2}})))
