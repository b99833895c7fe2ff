import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from absa.errors import ConfigError, TaskError
from absa.models.ghost_batch_norm import GhostBatchNorm
from absa.models.running_statistics import statistics_ignored

C = 3
SHAPES = {1: (C,), 2: (C, 5), 3: (C, 4, 5), 4: (C, 2, 3, 4)}
CHANNELS_LAST = {3: torch.channels_last, 4: torch.channels_last_3d}
PLAIN = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}


def pair(group: int, rank: int = 3, **options) -> tuple[GhostBatchNorm, nn.Module]:
    """A ghost and a plain batch-norm of the same, not trivial, parameters in float64."""
    plain = PLAIN[rank](C, **options).double()
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    ghost = GhostBatchNorm(C, group, **options).double()
    ghost.load_state_dict(plain.state_dict())
    return ghost, plain


def interleaved(groups: list[Tensor]) -> Tensor:
    return torch.stack(groups, 1).flatten(0, 1)


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed"])
def test_groups_are_normalised_as_plain_batch_norm_does_each(rank, affine, layout):
    torch.manual_seed(0)
    ghost, plain = pair(4, rank, affine=affine)
    x = torch.randn(12, *SHAPES[rank], dtype=torch.float64)
    if layout == "channels_last":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    elif layout == "transposed":
        x = x.transpose(0, -1).contiguous().transpose(0, -1)
    ours = x.detach().requires_grad_()
    theirs = x.detach().clone().requires_grad_()
    weight = torch.randn_like(x)

    got = ghost(ours)
    expected = interleaved([plain(theirs[g::3]) for g in range(3)])
    (got * weight).sum().backward()
    (expected * weight).sum().backward()

    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)
    for mine, other in zip(ghost.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("rank", CHANNELS_LAST)
def test_channels_last_stays_channels_last(rank):
    x = torch.randn(6, *SHAPES[rank]).contiguous(memory_format=CHANNELS_LAST[rank])
    ghost = GhostBatchNorm(C, 2)
    assert ghost(x).is_contiguous(memory_format=CHANNELS_LAST[rank])


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0, None])
def test_one_group_is_plain_batch_norm_bit_for_bit(rank, momentum):
    torch.manual_seed(0)
    plain = PLAIN[rank](C, momentum=momentum)
    ghost = GhostBatchNorm(C, 7, momentum=momentum)
    for _ in range(4):
        x = torch.randn(7, *SHAPES[rank])
        assert torch.equal(ghost(x), plain(x))
    for name, value in plain.state_dict().items():
        assert torch.equal(ghost.state_dict()[name], value), name
    x = torch.randn(3, *SHAPES[rank])
    assert torch.equal(ghost.eval()(x), plain.eval()(x))


@settings(max_examples=25)
@given(cut=st.lists(st.integers(1, 3), min_size=1, max_size=5), group=st.integers(2, 4))
def test_any_cut_into_passes_gives_the_same_gradients(cut, group):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, C, 3), GhostBatchNorm(C, group), nn.ReLU()).double()
    groups = [torch.randn(group, 2, 5, 5, dtype=torch.float64) for _ in range(sum(cut))]

    def gradients(passes: list[int]) -> list[Tensor]:
        net.zero_grad()
        start = 0
        for count in passes:
            net(interleaved(groups[start : start + count])).pow(2).sum().backward()
            start += count
        return [parameter.grad.clone() for parameter in net.parameters()]

    for got, expected in zip(gradients(cut), gradients([1] * sum(cut)), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0, None])
def test_groups_of_a_pass_move_running_statistics_to_their_average(momentum):
    torch.manual_seed(0)
    ghost, plain = pair(4, momentum=momentum)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    groups = [torch.randn(4, *SHAPES[3], dtype=torch.float64) for _ in range(3)]
    ghost(interleaved(groups))

    weight = 1.0 if momentum is None else 1 - (1 - momentum) ** 3
    mean = torch.stack([g.mean((0, 2, 3)) for g in groups]).mean(0)
    var = torch.stack([g.var((0, 2, 3)) for g in groups]).mean(0)
    torch.testing.assert_close(ghost.running_mean, before["running_mean"].lerp(mean, weight))
    torch.testing.assert_close(ghost.running_var, before["running_var"].lerp(var, weight))
    assert ghost.num_batches_tracked.item() == 3


def test_running_statistics_remember_as_many_groups_as_plain_batch_norm():
    """Equal groups: the order does not matter, so one update of G equals G updates of one."""
    ghost, plain = pair(4)
    x = torch.randn(4, *SHAPES[3], dtype=torch.float64)
    for _ in range(5):
        plain(x)
    ghost(interleaved([x] * 5))
    torch.testing.assert_close(dict(ghost.state_dict()), dict(plain.state_dict()))


@pytest.mark.parametrize("shape", [(1, C), (3, C), (1, C, 1, 1)])
def test_group_without_variance_is_normalised_by_running_statistics(shape):
    ghost, plain = pair(1, 3)
    ghost.running_mean.normal_()
    plain.load_state_dict(ghost.state_dict())
    before = copy.deepcopy(ghost.state_dict())
    x = torch.randn(shape, dtype=torch.float64)
    expected = plain.eval()(x.reshape(-1, C, 1, 1)).reshape(shape)
    torch.testing.assert_close(ghost(x), expected)
    torch.testing.assert_close(dict(ghost.state_dict()), dict(before))


def test_no_rows_give_no_rows():
    ghost, _ = pair(4)
    assert ghost(torch.empty(0, *SHAPES[3], dtype=torch.float64)).shape == (0, *SHAPES[3])
    assert ghost.num_batches_tracked.item() == 0


def test_evaluation_is_plain_batch_norm_for_any_number_of_rows():
    ghost, plain = pair(4)
    x = torch.randn(7, *SHAPES[3], dtype=torch.float64)
    assert torch.equal(ghost.eval()(x), plain.eval()(x))


def test_without_running_statistics_groups_are_still_normalised():
    ghost, plain = pair(2, track_running_stats=False)
    x = torch.randn(4, *SHAPES[3], dtype=torch.float64)
    torch.testing.assert_close(ghost(x), interleaved([plain(x[0::2]), plain(x[1::2])]))
    assert list(ghost.state_dict()) == ["weight", "bias"]


def test_ignored_passes_leave_running_statistics_alone():
    ghost, _ = pair(2)
    before = copy.deepcopy(ghost.state_dict())
    x = torch.randn(4, *SHAPES[3], dtype=torch.float64)
    with statistics_ignored(nn.Sequential(ghost)):
        ignored = [ghost(x), ghost(x[:2])]
    torch.testing.assert_close(dict(ghost.state_dict()), dict(before))
    assert torch.equal(ignored[0], ghost(x))
    assert ghost.num_batches_tracked.item() == 2


def test_rows_that_do_not_split_evenly_are_refused():
    with pytest.raises(TaskError, match="groups of 4: 7 samples in one pass do not split into 2"):
        GhostBatchNorm(C, 4)(torch.randn(7, *SHAPES[3]))


@pytest.mark.parametrize("shape", [(4,), (4, C + 1), (4, 4, C)])
def test_wrong_input_shape_is_refused(shape):
    with pytest.raises(TaskError, match="batch-norm of 3 channels got an input of shape"):
        GhostBatchNorm(C, 4)(torch.randn(shape))


@pytest.mark.parametrize("group", [0, -4])
def test_group_must_be_positive(group):
    with pytest.raises(ConfigError, match="at least 1 sample"):
        GhostBatchNorm(C, group)


@pytest.mark.parametrize("training", [True, False])
def test_first_and_second_derivatives_are_right(training):
    torch.manual_seed(0)
    ghost, _ = pair(3, 1)
    ghost.train(training)
    x = torch.randn(6, C, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        with statistics_ignored(ghost):
            return functional_call(ghost, {"weight": weight, "bias": bias}, x)

    arguments = (x, ghost.weight, ghost.bias)
    assert torch.autograd.gradcheck(function, arguments)
    assert torch.autograd.gradgradcheck(function, arguments)


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated:DeprecationWarning"
)  # torch.func.jvp's own
def test_hessian_vector_products_go_through_torch_func():
    torch.manual_seed(0)
    ghost, _ = pair(3, 1)
    weights = {name: p.detach() for name, p in ghost.named_parameters()}
    x = torch.randn(6, C, dtype=torch.float64)

    def loss(weights: dict[str, Tensor]) -> Float[Tensor, ""]:
        return functional_call(ghost, weights, x).sigmoid().pow(2).sum()

    with statistics_ignored(ghost):
        direction = {name: torch.ones_like(p) for name, p in weights.items()}
        _, product = torch.func.jvp(torch.func.grad(loss), (weights,), (direction,))
        hessian = torch.func.hessian(loss)(weights)
    for row in weights:
        expected = sum(hessian[row][column].sum(-1) for column in weights)
        torch.testing.assert_close(product[row], expected)


def test_autocast_keeps_statistics_in_float32():
    torch.manual_seed(0)
    ghost = GhostBatchNorm(C, 4)
    x = torch.randn(8, *SHAPES[3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ghost(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert ghost.running_var.dtype == torch.float32
    exact = GhostBatchNorm(C, 4)
    exact(x.bfloat16().float())
    torch.testing.assert_close(ghost.running_var, exact.running_var)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_work_alone(clone):
    ghost, _ = pair(2)
    x = torch.randn(4, *SHAPES[3], dtype=torch.float64)
    other = clone(ghost)
    assert torch.equal(other(x), ghost(x))
    torch.testing.assert_close(dict(other.state_dict()), dict(ghost.state_dict()))


def test_two_passes_may_run_forward_before_either_runs_backward():
    ghost, _ = pair(4)
    x = torch.randn(4, *SHAPES[3], dtype=torch.float64, requires_grad=True)
    F.relu(ghost(x) + ghost(2 * x)).sum().backward()
    assert x.grad is not None
