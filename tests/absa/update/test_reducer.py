import pytest
import torch
import torch.nn.functional as F
from engine import run_ranks, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from absa.errors import TaskError
from absa.update.reducer import GradientReducer

TINY = 4 * 30  # bytes: a few parameters to a message, larger ones alone
SCALARS = torch.tensor([1.0, float(2**22 + 1)])


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))


def inputs(rank, number):
    generator = torch.Generator().manual_seed(100 * rank + number)
    return torch.randn(4, 3, generator=generator)


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]


def gradients(model):
    return {str(i): p.grad.clone() for i, p in enumerate(trainable(model))}


def reduced(models, losses_of_rank, bucket_bytes=TINY, updates=1):
    """Return each rank's gradients, scalars and message sizes; losses are one per pass."""

    def work(collective):
        model = models[collective.rank]
        dtype = torch.float32
        for parameter in trainable(model):
            dtype = torch.promote_types(dtype, parameter.dtype)
        reducer = GradientReducer(trainable(model), len(SCALARS), dtype, bucket_bytes)
        for _ in range(updates):
            model.zero_grad()
            losses = losses_of_rank(collective.rank, model)
            for number, loss in enumerate(losses, start=1):
                if number == len(losses):
                    reducer.arm(collective)
                loss().backward()
            scalars = SCALARS.to(dtype, copy=True)
            reducer.finish(collective, scalars)
        reducer.close()
        return gradients(model), scalars, collective.sizes

    return run_ranks(len(models), work)


def summed_by_hand(models, losses_of_rank):
    totals = {}
    for rank, model in enumerate(models):
        model.zero_grad()
        for loss in losses_of_rank(rank, model):
            loss().backward()
        for i, p in enumerate(trainable(model)):
            grad = torch.zeros_like(p) if p.grad is None else p.grad
            totals[str(i)] = totals[str(i)] + grad if str(i) in totals else grad.clone()
    return totals


def agree(ranks, expected):
    for found, scalars, sizes in ranks:
        same_bits(found, ranks[0][0])
        assert sizes == ranks[0][2]
        assert scalars.tolist() == [s * len(ranks) for s in SCALARS.tolist()]
    torch.testing.assert_close(ranks[0][0], expected)


def passes_of(counts):
    def losses_of_rank(rank, model):
        return [lambda n=n: model(inputs(rank, n)).square().sum() for n in range(counts[rank])]

    return losses_of_rank


@settings(max_examples=8)
@given(
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    bucket_bytes=st.sampled_from([1, 40, 100, 250, 1 << 20]),
)
def test_gradients_and_scalars_are_summed_over_ranks_and_passes(counts, bucket_bytes):
    models = [network() for _ in counts]
    ranks = reduced(models, passes_of(counts), bucket_bytes, updates=2)
    agree(ranks, summed_by_hand(models, passes_of(counts)))


def test_messages_leave_while_backward_runs_and_the_scalars_with_the_last():
    model, left = network(), []

    def work(collective):
        reducer = GradientReducer(trainable(model), 2, torch.float32, TINY)
        reducer.arm(collective)
        model(inputs(0, 0)).sum().backward()
        left.extend(collective.sizes)
        reducer.finish(collective, SCALARS.clone())
        return collective.sizes

    (sizes,) = run_ranks(1, work)
    assert left == sizes[:-1] == [14, 25]
    assert sizes[-1] == 3 * 5 + len(SCALARS)
    assert sum(sizes) == sum(p.numel() for p in model.parameters()) + len(SCALARS)


@pytest.mark.parametrize("users", [(), (1,), (0, 1)], ids=["none", "some", "all"])
def test_a_parameter_that_only_some_ranks_use(users):
    def with_spare():
        model = network()
        model.spare = nn.Parameter(torch.ones(40))
        return model

    def losses_of_rank(rank, model):
        def loss():
            total = inputs(rank, 0)
            for layer in [model[0], model[2], model[4]]:
                total = layer(total)
            return total.sum() + (model.spare.sum() * 3 if rank in users else 0)

        return [loss]

    models = [with_spare(), with_spare()]
    agree(reduced(models, losses_of_rank), summed_by_hand(models, losses_of_rank))


def test_a_parameter_that_only_an_early_pass_uses():
    def losses_of_rank(rank, model):
        whole = lambda: model(inputs(rank, 0)).sum()  # noqa: E731
        part = lambda: model[0](inputs(rank, 1)).sum()  # noqa: E731
        return [whole, part]

    models = [network(), network()]
    agree(reduced(models, losses_of_rank), summed_by_hand(models, losses_of_rank))


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2))
    model[2].weight = model[0].weight
    return model


def frozen():
    model = network()
    model[2].requires_grad_(False)
    return model


def transposed():
    model = network()
    model[2].weight = nn.Parameter(torch.ones(5, 4).t())
    return model


def with_gaps():
    model = network()
    model[2].weight = nn.Parameter(torch.ones(4, 10)[:, ::2])
    return model


def mixed_dtypes():
    model = network()
    model[4].double()
    model[3] = Cast(torch.float64)
    return model


def low_dtype():
    model = network()
    model[4].bfloat16()
    model[3] = Cast(torch.bfloat16)
    return model


class Cast(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, x):
        return x.to(self.dtype)


KINDS = [tied, frozen, transposed, with_gaps, mixed_dtypes, low_dtype]


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_parameters(kind):
    torch.manual_seed(0)
    models = [kind(), kind()]
    models[1].load_state_dict(models[0].state_dict())
    ranks = reduced(models, passes_of((2, 1)), updates=2)
    for found, _, _ in ranks:
        for grad, parameter in zip(found.values(), trainable(models[0]), strict=True):
            assert grad.dtype == parameter.dtype
    if kind is not low_dtype:
        agree(ranks, summed_by_hand(models, passes_of((2, 1))))


def test_channels_last_gradients_keep_their_layout():
    def convolution():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
        return layers.to(memory_format=torch.channels_last)

    def losses_of_rank(rank, model):
        images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(rank))
        return [lambda: model(images.to(memory_format=torch.channels_last)).square().sum()]

    models = [convolution(), convolution()]
    agree(reduced(models, losses_of_rank), summed_by_hand(models, losses_of_rank))
    reduced(models, losses_of_rank)
    for parameter in models[0].parameters():
        assert parameter.grad.stride() == parameter.stride()


def test_a_gradient_that_arrives_twice_is_refused():
    """Reentrant checkpointing runs a backward of its own for each use of the module."""
    model = network()

    def work(collective):
        reducer = GradientReducer(trainable(model), 0, torch.float32, 1)
        reducer.arm(collective)
        x = inputs(0, 0).requires_grad_()
        twice = [checkpoint(model[0], x, use_reentrant=True) for _ in range(2)]
        model[4](model[2](twice[0] + twice[1])).sum().backward()

    with pytest.raises(TaskError, match=r"twice in one backward pass.*use_reentrant=False"):
        run_ranks(1, work)


def test_sparse_gradients_are_refused():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 1), nn.Embedding(5, 2, sparse=True))

    def losses_of_rank(rank, model):
        return [lambda: model[0](model[1](torch.tensor([1]))).sum()]

    with pytest.raises(TaskError, match=r"shape \(5, 2\).*sparse=False"):
        reduced([model], losses_of_rank)


def test_after_closing_no_hook_is_left():
    model = network()
    reducer = GradientReducer(trainable(model), 0, torch.float32, 1)
    hooks = lambda: [len(p._post_accumulate_grad_hooks or ()) for p in model.parameters()]  # noqa: E731
    assert hooks() == [0, 1, 1, 1, 1, 1]  # the first parameter's gradient comes last
    reducer.close()
    assert sum(hooks()) == 0
    F.mse_loss(model(inputs(0, 0)), torch.zeros(4, 2)).backward()
