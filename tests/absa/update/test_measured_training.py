"""Training is the same, bit for bit, whether or not it is measured."""

import gc
import weakref

import pytest
import torch
from engine import (
    Classify,
    Points,
    Weighed,
    close,
    dropout_network,
    make_replica,
    normed_network,
    plain_network,
    run_ranks,
    run_updates,
    same_bits,
)
from torch import nn

from absa.collective import SingleProcess
from absa.settings import Settings
from absa.update.reducer import GradientReducer
from absa.update.scalars import Flags
from absa.update.update import Turn, Updater


class Counts(nn.Module):
    """Counts its training passes, as a module of a user's may."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.passes += 1
        return x * (1 + 0.01 * self.passes.to(x.dtype))


def counting_network() -> nn.Sequential:
    return nn.Sequential(Counts(), *dropout_network())


def trained(case, *, measure):
    """Make updates of which every second one is measured; return the state and the results."""
    kind, network, bn_group, num_ranks, step, options = case
    replicas = [
        make_replica(kind(Points(27, noise=0.1), network), bn_group=bn_group, **options)
        for _ in range(num_ranks)
    ]

    def work(collective):
        replica = replicas[collective.rank]
        updater, samples, results = Updater(replica), 0, []
        for number in range(7):
            turn = Turn(samples, 0.1, Flags(), measure and number % 2 == 0)
            samples += updater.update(collective, step, turn)
            results += updater.results()
        results += updater.flush()
        updater.close()
        return results

    results = run_ranks(num_ranks, work)[0]
    moments = [value for state in replicas[0].optimizer.state.values() for value in state.values()]
    tensors = {str(i): torch.as_tensor(value) for i, value in enumerate(moments)}
    return dict(replicas[0].model.state_dict()) | tensors, results


CASES = {
    "passes": (Classify, plain_network, None, 1, Settings(7, 3), {}),
    "weighed": (Weighed, normed_network, 2, 1, Settings(8, 4), {"clip_norm": 0.1}),
    "dropout": (Weighed, dropout_network, 2, 1, Settings(8, 2), {}),
    # Not with dropout: ranks that are threads share a random stream.
    "ranks": (Weighed, normed_network, 2, 2, Settings(8, 2), {"optimizer": "lars"}),
    "an empty rank": (Classify, normed_network, 4, 3, Settings(8, 4), {"optimizer": "adamw"}),
    "probe": (Classify, counting_network, 6, 1, Settings(6, 6), {"optimizer": "adamw"}),
    "probe, ranks": (Weighed, counting_network, 6, 2, Settings(6, 6), {"verdict": "device"}),
    "bf16": (Classify, counting_network, 6, 1, Settings(6, 6), {"precision": "bf16"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_measured_update_is_the_same_to_the_bit(case, monkeypatch):
    monkeypatch.setattr(GradientReducer.__init__, "__defaults__", (16,))
    state, results = trained(CASES[case], measure=True)
    expected, others = trained(CASES[case], measure=False)
    same_bits(state, expected)
    assert [result.norms.units is not None for result in results] == [True, False] * 3 + [True]
    for mine, other in zip(results, others, strict=True):
        assert other.norms.units is None
        assert (mine.loss, mine.weight, mine.gradient_norm) == (
            other.loss,
            other.weight,
            other.gradient_norm,
        )
        assert mine.norms.gradient == other.norms.gradient


def test_an_update_in_halves_is_the_same_but_for_rounding():
    case = (Weighed, normed_network, 2, 1, Settings(8, 8), {})
    close(trained(case, measure=True)[0], trained(case, measure=False)[0])


def test_torch_draws_the_same_numbers_after_a_measured_update():
    drawn = []
    for measure in (False, True):
        replica = make_replica(Classify(Points(27), counting_network), bn_group=6)
        torch.manual_seed(5)
        run_updates(replica, [Settings(6, 6)] * 2, measure=measure)
        drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[1]


def test_an_update_that_fails_while_it_is_measured_can_be_made_again():
    class Fails(Classify):
        fail_at = 0

        def losses(self, model, batch):
            self.fail_at -= 1
            if self.fail_at == 0:
                raise ConnectionError("lost")
            return super().losses(model, batch)

    def make(fails):
        replica = make_replica(Fails(Points(27, noise=0.1), counting_network), bn_group=3)
        updater, results = Updater(replica), []
        for number, step in enumerate([Settings(6, 3), Settings(3, 3)]):
            turn = Turn(6 * number, 0.1, Flags(), measure=True)
            for fail_at in fails:
                replica.task.fail_at = fail_at
                with pytest.raises(ConnectionError):
                    updater.update(SingleProcess(), step, turn)
                # As whoever makes it again with another group does.
                replica.model[0].passes.fill_(2 * number)
            updater.update(SingleProcess(), step, turn)
            results += updater.results()
        return dict(replica.model.state_dict()), results

    state, results = make(fails=(1, 2))
    expected, others = make(fails=())
    same_bits(state, expected)
    assert results == others
    assert all(result.norms.units is not None for result in results)


def test_what_measuring_needed_is_freed():
    replica = make_replica(Classify(Points(27)))
    updater = Updater(replica)
    updater.update(SingleProcess(), Settings(6, 2), Turn(0, 0.1, Flags(), measure=True))
    kept = weakref.ref(updater._measurement._units)
    assert kept() is not None
    updater.close()
    gc.collect()
    assert kept() is None
