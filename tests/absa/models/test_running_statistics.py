import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from absa.errors import TaskError
from absa.models.conversion import convert_batch_norm
from absa.models.ghost_batch_norm import GhostBatchNorm
from absa.models.running_statistics import RunningStatistics, statistics_ignored

GROUP = 4


def network(momentum: float | None = 0.1, group: int = GROUP) -> nn.Sequential:
    """Two widths, a module that is used twice, one that tracks nothing, one per-sample rank."""
    torch.manual_seed(0)
    twice = GhostBatchNorm(5, group, momentum=momentum)
    return nn.Sequential(
        nn.Conv2d(2, 5, 3),
        twice,
        nn.ReLU(),
        twice,
        nn.Conv2d(5, 3, 2),
        GhostBatchNorm(3, group, momentum=momentum),
        GhostBatchNorm(3, group, track_running_stats=False),
        nn.Flatten(),
        GhostBatchNorm(12, group, momentum=0.3),
    ).double()


def groups(count: int) -> list[Tensor]:
    torch.manual_seed(count)
    return [torch.randn(GROUP, 2, 5, 5, dtype=torch.float64) + k for k in range(count)]


def interleaved(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts, 1).flatten(0, 1)


def packed_by(statistics: RunningStatistics, model: nn.Module, passes: list[Tensor]) -> Tensor:
    for rows in passes:
        model(rows)
    out = torch.full((statistics.size,), torch.nan, dtype=torch.float64)
    statistics.pack(out)
    return out


def close(a: nn.Module, b: nn.Module) -> None:
    torch.testing.assert_close(dict(a.state_dict()), dict(b.state_dict()))


@settings(max_examples=25)
@given(
    cut=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    first_rank=st.integers(0, 4),
    momentum=st.sampled_from([0.1, 1.0, None]),
)
def test_ranks_and_passes_do_not_change_the_result(cut, first_rank, momentum):
    """One pass of everything on one rank is what any cut over two ranks must give."""
    parts = groups(sum(cut))
    whole, ranks = network(momentum), network(momentum)
    alone, shared = RunningStatistics(whole), RunningStatistics(ranks)
    for _ in range(2):
        alone.commit(packed_by(alone, whole, [interleaved(parts)]))
        starts = [sum(cut[:k]) for k in range(len(cut))]
        passes = [interleaved(parts[a : a + n]) for a, n in zip(starts, cut, strict=True)]
        total = packed_by(shared, ranks, passes[:first_rank])
        total += packed_by(shared, ranks, passes[first_rank:])
        shared.commit(total)
    close(ranks, whole)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_one_group_per_update_is_plain_batch_norm(momentum):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5, momentum=momentum))
    ghost = convert_batch_norm(copy.deepcopy(plain), GROUP)
    statistics = RunningStatistics(ghost)
    out = torch.empty(statistics.size)
    for _ in range(5):
        x = torch.randn(GROUP, 2, 5, 5)
        assert torch.equal(ghost(x), plain(x))
        statistics.pack(out)
        statistics.commit(out)
    torch.testing.assert_close(
        dict(ghost.state_dict()), dict(plain.state_dict()), rtol=5e-7, atol=1e-7
    )


def test_passes_that_commit_at_once_agree_with_gathered_ones_for_one_pass():
    parts = groups(3)
    direct, gathered = network(), network()
    direct(interleaved(parts))
    # A module used twice commits twice at once, but once per update: leave it out.
    statistics = RunningStatistics(gathered)
    statistics.commit(packed_by(statistics, gathered, [interleaved(parts)]))
    close(gathered[5], direct[5])
    close(gathered[8], direct[8])


def test_nothing_moves_before_commit():
    model = network()
    before = copy.deepcopy(model.state_dict())
    statistics = RunningStatistics(model)
    model(interleaved(groups(2)))
    model(groups(1)[0])
    torch.testing.assert_close(dict(model.state_dict()), dict(before))
    statistics.discard()


def test_discarded_update_leaves_no_trace_even_when_not_finite():
    model, reference = network(), network()
    statistics, expected = RunningStatistics(model), RunningStatistics(reference)
    model(torch.full((GROUP, 2, 5, 5), torch.inf, dtype=torch.float64))
    statistics.discard()
    x = groups(1)
    statistics.commit(packed_by(statistics, model, x))
    expected.commit(packed_by(expected, reference, x))
    close(model, reference)


def test_packing_starts_anew_even_when_what_gathered_was_not_finite():
    model = network()
    statistics = RunningStatistics(model)
    assert (
        packed_by(statistics, model, [torch.full((GROUP, 2, 5, 5), torch.inf).double()])
        .isnan()
        .any()
    )
    assert packed_by(statistics, model, groups(1)).isfinite().all()


def test_ignored_and_evaluation_passes_pack_nothing():
    model = network()
    statistics = RunningStatistics(model)
    with statistics_ignored(model):
        model(groups(1)[0])
    model.eval()(groups(1)[0])
    out = torch.ones(statistics.size)
    statistics.pack(out)
    assert not out.any()


def test_update_without_groups_changes_nothing():
    model = network(momentum=None)
    before = copy.deepcopy(model.state_dict())
    statistics = RunningStatistics(model)
    statistics.commit(torch.zeros(statistics.size))
    torch.testing.assert_close(dict(model.state_dict()), dict(before))


def test_frozen_module_keeps_its_statistics_while_others_move():
    model = network()
    before = copy.deepcopy(model.state_dict())
    statistics = RunningStatistics(model)
    model[5].eval()
    statistics.commit(packed_by(statistics, model, groups(2)))
    assert torch.equal(model[5].running_mean, before["5.running_mean"])
    assert not torch.equal(model[8].running_mean, before["8.running_mean"])
    assert model[8].num_batches_tracked.item() == 2


def test_size_is_two_values_per_channel_and_a_count_per_module():
    assert RunningStatistics(network()).size == 2 * (5 + 3 + 12) + 3


def test_model_without_batch_norm_packs_nothing():
    statistics = RunningStatistics(nn.Linear(2, 2))
    assert statistics.size == 0
    out = torch.empty(0)
    statistics.pack(out)
    statistics.commit(out)
    statistics.discard()
    statistics.close()


def test_closing_lets_passes_commit_again():
    model = network()
    statistics = RunningStatistics(model)
    model(groups(1)[0])
    statistics.close()
    assert model[5].num_batches_tracked.item() == 0
    model(groups(1)[0])
    assert model[5].num_batches_tracked.item() == 1
    RunningStatistics(model)


def test_copies_of_a_gathering_model_commit_on_their_own():
    model = network()
    RunningStatistics(model)
    other = copy.deepcopy(model)
    other(groups(1)[0])
    assert other[5].num_batches_tracked.item() == 1
    assert model[5].num_batches_tracked.item() == 0


def test_model_is_gathered_by_one_at_a_time():
    model = network()
    RunningStatistics(model)
    with pytest.raises(TaskError, match="gathered already"):
        RunningStatistics(model)


def test_batch_norms_of_two_dtypes_are_refused():
    model = nn.Sequential(GhostBatchNorm(2, 2), GhostBatchNorm(2, 2).double())
    with pytest.raises(TaskError, match=r"torch.float32 on cpu, torch.float64 on cpu"):
        RunningStatistics(model)


@pytest.mark.cpu_heavy
def test_compiled_passes_are_counted_and_compiled_once_per_size():
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    model, reference = network(), network()
    statistics, expected = RunningStatistics(model), RunningStatistics(reference)
    compiled = torch.compile(model, backend=backend)
    parts = groups(10)
    passes = [interleaved(p) for p in (parts[:1], parts[1:2], parts[2:4], parts[4:6], parts[6:])]
    for _ in range(2):
        statistics.commit(packed_by(statistics, compiled, passes))
        expected.commit(packed_by(expected, reference, passes))
    assert len(graphs) == 3
    close(model, reference)


@pytest.mark.cpu_heavy
def test_compiled_and_eager_passes_may_share_an_update():
    model, reference = network(), network()
    statistics, expected = RunningStatistics(model), RunningStatistics(reference)
    parts = groups(3)
    torch.compile(model, backend="eager")(parts[0])
    statistics.commit(packed_by(statistics, model, [interleaved(parts[1:])]))
    expected.commit(packed_by(expected, reference, parts))
    close(model, reference)


def test_checkpoint_loaded_while_gathering_is_what_moves():
    model, source = network(), network()
    statistics = RunningStatistics(model)
    source(groups(1)[0])
    model.load_state_dict(source.state_dict())
    x = groups(2)
    statistics.commit(packed_by(statistics, model, x))
    other = RunningStatistics(source)
    other.commit(packed_by(other, source, x))
    close(model, source)
