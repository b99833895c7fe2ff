"""Which updates of a loop show the gradient noise."""

import pytest
from engine import Classify, Points, normed_network, same_bits
from outside import Run, rules

from absa.instruments import NoiseMeter
from absa.loop import loop as loop_module
from absa.noise_scale.average import NoiseWindow
from absa.settings import Settings
from absa.stop import StopConfig

STOP = StopConfig(updates=8)
NOISE = NoiseMeter(NoiseWindow(1e9, 64), 0.9)


class Gathered(Classify):
    """Counts its passes."""

    passes = 0

    def losses(self, model, batch):
        self.passes += 1
        return super().losses(model, batch)


def train(monkeypatch, bn_group, verdict="host", stop=STOP, noise=NOISE, **changes):
    """Train; return the run and which of its updates told of their units."""
    samples = []

    def take_in(training, result):
        samples.append(result.norms)
        kept(training, result)

    kept = loop_module.take_in
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "take_in", take_in)
        run = Run(
            Gathered(Points(64), normed_network),
            rules(stop=stop, **changes),
            Settings(4, 4),
            options={"bn_group": bn_group, "verdict": verdict},
            instruments={"noise": noise},
        ).train()
    return run, [sample.units is not None for sample in samples]


@pytest.mark.parametrize("verdict", ["host", "device"])
def test_units_are_seen_in_each_update_at_first_and_then_in_every_so_many(verdict, monkeypatch):
    stop = StopConfig(updates=120)
    _, found = train(monkeypatch, 2, verdict, stop, noise_updates=3, probe_updates=2)
    # On the device the average learns of an update when the next one has been sent off.
    assert found[:10] == ([True] * 10 if verdict == "host" else [True, False] * 5)
    assert sum(found[-15:]) == (5 if verdict == "host" else 4)


def test_nothing_is_seen_without_an_interval_or_without_a_meter(monkeypatch):
    _, found = train(monkeypatch, 2)
    assert found == [False] * 8
    _, found = train(monkeypatch, 2, noise=None, noise_updates=1)
    assert found == [False] * 8


@pytest.mark.parametrize(("noise", "probe", "num_probes"), [(1, None, 0), (1, 4, 2), (None, 3, 3)])
def test_probes_have_an_interval_of_their_own(noise, probe, num_probes, monkeypatch):
    run, found = train(monkeypatch, 4, noise_updates=noise, probe_updates=probe)
    assert sum(found) == num_probes
    assert run.task.passes == 8 + num_probes


def test_a_measured_run_is_the_same_run(monkeypatch):
    ends = []
    for changes in ({}, {"noise_updates": 2, "probe_updates": 2}):
        run, _ = train(monkeypatch, 4, **changes)
        ends.append(run)
    a, b = (dict(run.replica.model.state_dict()) for run in ends)
    same_bits(a, b)
    assert ends[0].outcome.state.progress.samples == ends[1].outcome.state.progress.samples
