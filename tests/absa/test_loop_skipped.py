"""Updates that were skipped, as the loop counts them."""

import pytest
from engine import (
    Explodes,
    Points,
    same_bits,
)
from outside import Run, rules

from absa.errors import DivergenceError
from absa.stop import StopConfig
from absa.update.replica import Replica

VERDICTS = ["host", "device"]


def weights(replica: Replica):
    return {n: t.clone() for n, t in replica.model.state_dict().items()}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_skipped_updates_in_a_row_end_the_run(verdict):
    run = Run(
        Explodes(Points(40), at={2, 4, 5, 6}),
        rules(stop=StopConfig(updates=50), checkpoint_samples=4),
        options={"verdict": verdict},
    )
    with pytest.raises(DivergenceError) as raised:
        run.train()
    assert "3 updates in a row were skipped" in str(raised.value)
    assert "the loss is not finite" in str(raised.value)
    assert "learning rate 0.1, batch 4" in str(raised.value)
    assert "last good checkpoint is checkpoint-2" in str(raised.value)
    skipped = run.boundary.of("update_skipped")
    assert [r["consecutive"] for r in skipped] == [1, 1, 2, 3]
    assert skipped[-1]["update"] == 2
    (ended,) = run.boundary.of("run_ended")
    assert (ended["reason"], ended["skipped"]) == ("diverged", 4)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_limit_in_updates_counts_those_that_were_applied(verdict):
    run = Run(
        Explodes(Points(40), at={1, 3, 4, 7}),
        rules(stop=StopConfig(updates=5)),
        options={"verdict": verdict},
    ).train()
    progress = run.outcome.state.progress
    assert (progress.updates, progress.skipped, progress.skipped_in_a_row) == (5, 3 + 1, 0)
    assert progress.samples == 9 * 4


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_checkpoint_counts_what_its_weights_have_seen(verdict):
    run = Run(
        Explodes(Points(40), at={2, 3}),
        rules(checkpoint_samples=4, stop=StopConfig(updates=3)),
        options={"verdict": verdict},
    ).train()
    counted = [
        (t.values["progress"]["updates"], t.values["progress"]["skipped"])
        for t, _ in run.saver.saved
    ]
    assert counted == [(1, 0), (1, 1), (1, 2), (2, 2), (3, 2)]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_both_verdicts_end_with_the_same_weights(verdict):
    runs = [
        Run(
            Explodes(Points(40), at={3}),
            rules(evaluate_samples=9, checkpoint_samples=7),
            options={"verdict": v, "bn_group": 2},
        ).train()
        for v in ("host", verdict)
    ]
    same_bits(weights(runs[0].replica), weights(runs[1].replica))
    for run in runs:
        assert run.outcome.state == runs[0].outcome.state
