import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import MeasurementError
from absa.noise_scale.groups import MAX_GROUPS, Groups, layer_groups


def test_a_group_is_a_child_of_the_model():
    names = ["conv1.weight", "layer1.0.conv1.weight", "layer1.1.conv1.weight", "fc.weight"]
    assert layer_groups(names) == Groups(("conv1", "layer1", "fc"), (0, 1, 1, 2))


def test_what_all_names_begin_with_is_left_out():
    names = ["module.net.0.weight", "module.net.0.bias", "module.net.2.weight"]
    assert layer_groups(names) == Groups(("0", "2"), (0, 0, 1))


def test_a_model_of_one_layer_is_grouped_by_its_parameters():
    assert layer_groups(["0.weight", "0.bias"]) == Groups(("weight", "bias"), (0, 1))


def test_neighbours_share_a_group_where_there_are_many():
    found = layer_groups([f"{i}.weight" for i in range(32)])
    assert found.names[:2] == ("0 to 1", "2 to 3")
    assert found.members == tuple(i // 2 for i in range(32))


def test_a_model_without_parameters_has_no_groups():
    assert layer_groups([]) == Groups()


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["", ".a", ".a.b"])), unique=True))
@settings(max_examples=50)
def test_every_tensor_has_a_group_and_every_group_a_tensor(paths):
    names = [f"{child}{rest}" for child, rest in paths]
    found = layer_groups(names)
    assert len(found.members) == len(names)
    assert set(found.members) == set(range(len(found.names)))
    assert len(found.names) <= MAX_GROUPS
    sums = found.sums([1.0] * len(names))
    assert sums[0] == len(names)
    assert sum(sums[1:]) == len(names)


def test_groups_of_another_model_are_refused():
    with pytest.raises(MeasurementError, match="of 3 tensors, but groups of 2"):
        layer_groups(["a.x", "b.x"]).sums([1.0, 2.0, 3.0])
    with pytest.raises(MeasurementError, match="group 1"):
        Groups(("a",), (0, 1))
