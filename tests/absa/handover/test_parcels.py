import torch
from hypothesis import given
from hypothesis import strategies as st
from states import bits, trees

from absa.handover.layout import describe
from absa.handover.parcels import Bucket, Lines, Piece, Sizes, cut, pack, unpack
from absa.state import StateTree

CPU = torch.device("cpu")


@st.composite
def sizes(draw) -> Sizes:
    return Sizes(
        large_bytes=draw(st.integers(1, 500)),
        piece_bytes=draw(st.integers(1, 200)),
        bucket_bytes=draw(st.integers(1, 300)),
    )


@given(trees(), sizes())
def test_every_byte_travels_once(tree, sizes):
    forms = describe(tree).forms
    whole: list[str] = []
    pieces: dict[str, int] = {}
    for parcel in cut(forms, sizes):
        if isinstance(parcel, Bucket):
            whole += [name for run in parcel.runs for name in run.names]
        else:
            assert pieces.get(parcel.name, 0) == parcel.begin
            assert 0 < parcel.end - parcel.begin <= sizes.piece_bytes
            pieces[parcel.name] = parcel.end
    assert len(whole) == len(set(whole))
    assert not pieces.keys() & whole
    assert pieces == {n: f.num_bytes for n, f in forms.items() if f.num_bytes >= sizes.large_bytes}
    assert {*whole, *pieces} == {name for name, form in forms.items() if form.num_bytes}


@given(trees(), sizes())
def test_what_is_received_is_what_was_sent(tree, sizes):
    forms = describe(tree).forms
    got = {name: torch.zeros_like(tensor) for name, tensor in tree.tensors.items()}
    away, home = Lines(tree.tensors, forms, CPU), Lines(got, forms, CPU)
    for parcel in cut(forms, sizes):
        if isinstance(parcel, Piece):
            home.to_receive(parcel).copy_(away.to_send(parcel))
        else:
            message = torch.empty(parcel.num_bytes, dtype=torch.uint8)
            pack(parcel, tree.tensors, message)
            unpack(parcel, got, message)
    home.settle()
    for name, tensor in tree.tensors.items():
        assert torch.equal(bits(got[name]), bits(tensor)), name


def test_a_bucket_is_no_longer_than_its_limit_and_alignment():
    forms = {str(i): describe_one(torch.zeros(10, dtype=torch.float32)) for i in range(20)}
    buckets = cut(forms, Sizes(bucket_bytes=100))
    assert [parcel.num_bytes for parcel in buckets] == [80] * 10


def test_a_large_piece_leaves_before_the_buckets_are_packed():
    forms = {"small": describe_one(torch.zeros(2)), "large": describe_one(torch.zeros(100))}
    first, second, third = cut(forms, Sizes(large_bytes=100, piece_bytes=200))
    assert (first, third) == (Piece("large", 0, 200), Piece("large", 200, 400))
    assert isinstance(second, Bucket)


def test_a_large_tensor_is_sent_and_received_where_it_lies():
    tensors = {"x": torch.randn(4, 8, 8, 8).to(memory_format=torch.channels_last)}
    forms = {"x": describe_one(tensors["x"])}
    line = Lines(tensors, forms, CPU).to_receive(Piece("x", 0, forms["x"].num_bytes))
    assert line.data_ptr() == tensors["x"].data_ptr()


def describe_one(tensor):
    return describe(StateTree({"x": tensor}, {})).forms["x"]
