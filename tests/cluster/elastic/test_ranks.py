from hypothesis import given
from hypothesis import strategies as st

from cluster.elastic.ranks import Ranks, ranks


def test_workers_of_a_node_are_numbered_in_the_order_of_ranks_and_nodes_as_they_appear():
    assert ranks(["b", "a", "b"]) == (
        Ranks(rank=0, world_size=3, local_rank=0, local_world_size=2, node_rank=0),
        Ranks(rank=1, world_size=3, local_rank=0, local_world_size=1, node_rank=1),
        Ranks(rank=2, world_size=3, local_rank=1, local_world_size=2, node_rank=0),
    )


def test_a_worker_alone_is_the_first_of_everything():
    assert ranks(["only"]) == (Ranks(0, 1, 0, 1, 0),)


@given(st.lists(st.sampled_from("abcd"), max_size=12))
def test_local_ranks_count_up_on_every_node(nodes):
    found = ranks(nodes)
    assert [each.rank for each in found] == list(range(len(nodes)))
    for node_rank, node in enumerate(dict.fromkeys(nodes)):
        here = [each for each, at in zip(found, nodes, strict=True) if at == node]
        assert [each.local_rank for each in here] == list(range(len(here)))
        assert {each.local_world_size for each in here} == {len(here)}
        assert {each.node_rank for each in here} == {node_rank}
