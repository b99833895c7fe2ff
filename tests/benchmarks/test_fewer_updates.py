"""What the benchmark of updates says of runs, and which runs it makes."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import ConfigError, DataError
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from benchmarks.fewer_updates import __main__ as command
from benchmarks.fewer_updates.arms import ARMS, SHARES, TABLE, Ask, Key, trial
from benchmarks.fewer_updates.cells import Cell, Cells
from benchmarks.fewer_updates.match import clock_interval, clock_updates, even_batch
from benchmarks.fewer_updates.network import three_convolutions
from benchmarks.fewer_updates.outcome import (
    CHANCE,
    Measured,
    Noise,
    Outcome,
    Stretch,
    as_values,
    from_values,
    outcome_of,
)
from benchmarks.fewer_updates.paired import difference, mean_and_spread
from benchmarks.fewer_updates.plot import draw
from benchmarks.fewer_updates.price import num_probes, price
from benchmarks.fewer_updates.replayed import Replayed, shuffled
from benchmarks.fewer_updates.running import Order, all_needed, run
from benchmarks.fewer_updates.size import NUM_TRAIN, SIZES
from benchmarks.fewer_updates.tables import growth_table, main_table, rows, tuning_table
from benchmarks.fewer_updates.train import Work, train
from cluster.job import Job
from cluster.job_rules import check_with_data, resolve

USUAL = SIZES["usual"]
WHOLE = 15 * NUM_TRAIN


def grown(accuracy=0.7, updates=1500):
    """Return a run that grew twice and was attacked at first."""
    return Outcome(
        updates=updates,
        samples=WHOLE,
        accuracy=accuracy,
        seconds=90.0,
        diverged=False,
        stretches=(
            Stretch(0, 0, 128, 0.0),
            Stretch(12_800, 100, 128, 0.2, "attack"),
            Stretch(64_000, 500, 256, 0.1, "patience", "2 epochs without growth"),
            Stretch(128_000, 750, 512, 0.1, "curvature", "it fell <a lot>"),
            Stretch(256_000, 1000, 512, 0.0, "end of attack"),
        ),
        eigenvalues=(Measured(50_000, 12.0, 32, 5), Measured(100_000, None, 32, 1)),
        noise=(Noise(2560, 300.0, 200.0), Noise(5120, None, 900.0), Noise(7680, None, None)),
        probe_updates=125,
    )


def test_the_network_has_the_parameters_that_are_stated():
    model = three_convolutions((3, 32, 32), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 26_266
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@settings(max_examples=30)
@given(share=st.floats(0.0, 1.0))
def test_the_clock_makes_the_updates_that_it_is_to_match(share):
    least, most = WHOLE / USUAL.max_batch, WHOLE / 128
    wanted = least + share * (most - least)
    assert clock_updates(clock_interval(wanted, USUAL), USUAL) == pytest.approx(wanted, rel=1e-6)


def test_a_clock_is_counted_stretch_by_stretch():
    # 3.5 epochs each at 128, 256, 512, 1024, and the last one at 2048.
    expected = NUM_TRAIN * (3.5 / 128 + 3.5 / 256 + 3.5 / 512 + 3.5 / 1024 + 1 / 2048)
    assert clock_updates(3.5, USUAL) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("updates", "batch"), [(5865, 128), (1500, 512), (1000, 768), (183, 4096), (100, 4096)]
)
def test_the_even_batch_makes_as_many_updates_in_whole_groups(updates, batch):
    assert even_batch(replace(grown(), updates=updates), USUAL) == batch


def test_growths_are_stretches_with_another_batch():
    assert [growth.batch for growth in grown().growths] == [256, 512]


@settings(max_examples=30)
@given(seed=st.integers(0, 100))
def test_shuffled_growths_keep_their_number_sizes_and_last_time(seed):
    starts = (0, 1000, 1500, 4000, 10_000)
    stretches = tuple(Stretch(s, 0, 128 * 2**i, 0.0, "r") for i, s in enumerate(starts))
    course = shuffled(replace(grown(), stretches=stretches), seed)
    assert [batch for _, batch in course] == [256, 512, 1024, 2048]
    times = [0, *(samples for samples, _ in course)]
    assert times[-1] == 10_000 - 1024  # decided an update before it was in force
    waits = sorted(b - a for a, b in pairwise(times))
    assert waits == [372, 872, 2244, 5488]


def test_a_replayed_course_grows_where_it_says_and_nowhere_else():
    policy, state = Replayed(((100, 256), (300, 512))), {}
    batch, seen = 128, []
    for samples in range(0, 500, 50):
        observation = Observation(0, samples, NUM_TRAIN, WHOLE, batch, 1.0)
        state, proposal = policy.step(state, observation, Limits(4096))
        batch = proposal.batch
        seen.append(batch)
    assert seen == [128] * 2 + [256] * 4 + [512] * 4
    assert policy.question(state) is None


def test_a_price_counts_updates_attacks_probes_and_products():
    found = price(grown())
    assert found.updates == WHOLE / 128
    attacked = 0.2 * 51_200 + 0.1 * (256_000 - 64_000)
    assert found.attacks == pytest.approx(2 / 3 * attacked / 128)
    # Probes at updates 0, 125, 250, 375; the eigenvalues took 5 and 1 products.
    assert num_probes(grown()) == 4
    assert found.signals == pytest.approx(4 + 32 / 128 * (0.8 + 5 * 2.6 + 0.8 + 2.6))
    assert found.whole == found.updates + found.attacks + found.signals


def test_without_signals_and_attacks_a_price_is_that_of_the_updates():
    plain = Outcome(7038, WHOLE, 0.7, 60.0, False, (Stretch(0, 0, 128, 0.0),))
    assert price(plain).whole == WHOLE / 128


def test_a_record_says_what_is_kept_of_it():
    noise = {"event": "observation", "noise_lower": 100.0, "noise_scale": None}
    decision = {
        "event": "decision",
        "rule": "noise",
        "reason": "it is larger",
        "adversarial_ratio": [0.0, 0.0],
    }
    records = [
        {"event": "run_started", "samples": 0},
        {**noise, "samples": 2560},
        {**decision, "samples": 2560, "update": 20, "global_batch": [128, 128]},
        {**decision, "samples": 5120, "update": 40, "global_batch": [128, 256]},
        {"event": "curvature", "samples": 5120, "value": 3.0, "num_samples": 32, "num_products": 4},
        {
            "event": "run_ended",
            "samples": 7680,
            "update": 50,
            "seconds": 2.0,
            "reason": "epochs",
            "metrics": {"accuracy": 0.5},
        },
    ]
    found = outcome_of(records, Stretch(0, 0, 128, 0.0), 125)
    assert found == Outcome(
        updates=50,
        samples=7680,
        accuracy=0.5,
        seconds=2.0,
        diverged=False,
        stretches=(Stretch(0, 0, 128, 0.0), Stretch(5120, 40, 256, 0.0, "noise", "it is larger")),
        eigenvalues=(Measured(5120, 3.0, 32, 4),),
        noise=(Noise(2560, None, 100.0),),
        probe_updates=125,
    )
    lost = [*records[:-1], {**records[-1], "reason": "diverged", "metrics": None}]
    diverged = outcome_of(lost, Stretch(0, 0, 128, 0.0), None)
    assert (diverged.accuracy, diverged.diverged) == (CHANCE, True)


def test_an_outcome_survives_json():
    assert from_values(json.loads(json.dumps(as_values(grown())))) == grown()


@settings(max_examples=30)
@given(values=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6))
def test_a_paired_difference_has_the_interval_of_a_t_test(values):
    ours = {seed: a for seed, (a, _) in enumerate(values)}
    peer = {seed: b for seed, (_, b) in enumerate(values)}
    found = difference(ours | {99: 5.0}, peer)
    differences = [a - b for a, b in values]
    mean, error = sum(differences) / len(values), scipy.stats.sem(differences)
    assert found.mean == pytest.approx(mean)
    quantile = scipy.stats.t.ppf(0.975, len(values) - 1)
    assert found.half_width == pytest.approx(quantile * error, rel=1e-6, abs=1e-12)
    assert found.num_seeds == len(values)


def test_a_single_pair_has_no_interval_and_no_pair_no_difference():
    assert str(difference({0: 2.0}, {0: 1.5})) == "+0.50"
    assert difference({0: 2.0}, {1: 1.5}) is None
    assert mean_and_spread([70.0]) == "70.00"
    assert mean_and_spread([70.0, 72.0]) == "71.00 (1.41)"


def make(key, work=None):
    return key, Cell(work or Work({"seed": key.seed}), grown(), "abc", "here")


def test_cells_are_found_again_by_size(tmp_path):
    path = tmp_path / "cells.jsonl"
    Cells(path, "usual").add(*make(Key("abs", 0), Work({"seed": 0}, ((5, 256),))))
    Cells(path, "full").add(*make(Key("abs", 1)))
    found = Cells(path, "usual")
    assert found.outcomes() == {Key("abs", 0): grown()}
    assert found.has(Key("abs", 0), Work({"seed": 0}, ((5, 256),)))
    assert not found.has(Key("abs", 0), Work({"seed": 0}))
    assert found.same(Work({"seed": 0}, ((5, 256),))) == grown()
    assert found.same(Work({"seed": 1})) is None


def test_a_line_that_a_killed_process_left_is_dropped_and_does_not_spoil_the_next(tmp_path, capsys):
    path = tmp_path / "cells.jsonl"
    Cells(path, "usual").add(*make(Key("sgd", 0)))
    path.write_bytes(path.read_bytes() + b'{"size": "usual", "arm"')
    cells = Cells(path, "usual")
    assert "no cell" in capsys.readouterr().err
    assert list(cells.known) == [Key("sgd", 0)]
    cells.add(*make(Key("sgd", 1)))
    assert list(Cells(path, "usual").known) == [Key("sgd", 0), Key("sgd", 1)]


def run_all(order, cells, clock=lambda: 0.0):
    """Run with threads; return the jobs in the order in which they were begun."""
    begun = []

    def do(work):
        begun.append(work)
        batch = work.job["batch"]["initial"]
        fewer = work.job["policy"]["kind"] in ("abs", "absa", "noise_scale", "hybrid", "clock")
        updates = 1500 if fewer else math.ceil(WHOLE / batch)
        # The second-largest learning rate is the best.
        lr = work.job.get("optimizer", {}).get("lr", 0.1)
        return grown(0.7 - abs(lr - 0.05), updates)

    with ThreadPoolExecutor(order.side_by_side) as pool:
        run(order, cells, pool, do, clock)
    return begun


def everything(seeds=(0, 1), side_by_side=2):
    keys = [Key(arm, seed) for arm in TABLE for seed in seeds]
    return Order(USUAL, keys, side_by_side)


def test_each_cell_is_run_once_after_what_it_needs_and_never_again(tmp_path):
    path = tmp_path / "cells.jsonl"
    begun = run_all(everything(), Cells(path, "usual"))
    cells = Cells(path, "usual")
    assert {key.arm for key in cells.known} == set(ARMS)
    # 11 arms with 2 seeds, of which the tuned ones of seed 0 are trials, and 2 x 3 and 1 trials.
    assert len(begun) == len(set(map(repr, begun))) == 2 * 12 - 2 + 6 + 1
    assert run_all(everything(), Cells(path, "usual")) == []


def test_what_an_arm_needs_is_run_too(tmp_path):
    cells = Cells(tmp_path / "cells.jsonl", "usual")
    order = Order(USUAL, [Key("even_tuned", 1)], 1)
    trials = [Key(trial("even", share), 0) for share in SHARES]
    expected = [Key("hybrid", 0), Key("hybrid", 1), *trials, Key("even_tuned", 1)]
    assert all_needed(order) == expected
    assert len(run_all(order, cells)) == len(expected)
    assert cells.known[Key("even_tuned", 1)].work.job["optimizer"]["lr"] == 0.05


def test_a_cell_whose_job_has_changed_is_run_again(tmp_path):
    cells = Cells(tmp_path / "cells.jsonl", "usual")
    order = Order(USUAL, [Key("sgd", 0)], 1)
    cells.add(*make(Key("sgd", 0), Work({"seed": 0, "stop": {"epochs": 1}})))
    assert len(run_all(order, cells)) == 1
    assert cells.known[Key("sgd", 0)].work.job["stop"]["epochs"] == 15


def test_an_override_is_for_the_arms_that_grow_and_makes_them_other_cells(tmp_path):
    keys = [Key("sgd", 0), Key("abs", 0)]
    cells = Cells(tmp_path / "cells.jsonl", "usual")
    assert len(run_all(Order(USUAL, keys, 1), cells)) == 2
    (again,) = run_all(Order(USUAL, keys, 1, overrides=("schedule.scaling=sqrt",)), cells)
    assert again.job["policy"]["kind"] == "abs"
    assert again.job["schedule"]["scaling"] == "sqrt"
    with pytest.raises(ConfigError, match="scaling"):
        run_all(Order(USUAL, keys, 1, overrides=("schedule.scaling=cubic",)), cells)


def test_after_a_time_no_cell_is_begun_and_the_next_call_goes_on(tmp_path):
    cells = Cells(tmp_path / "cells.jsonl", "usual")
    order = replace(everything(side_by_side=1), start_s=3.0)
    ticks = count()  # a second for each look at the clock, the first one at the start
    first = run_all(order, cells, lambda: float(next(ticks)))
    assert len(first) == len(cells.known) == 3
    rest = run_all(everything(), cells)
    assert {key.arm for key in cells.known} == set(ARMS)
    assert not set(map(repr, first)) & set(map(repr, rest))


def jobs(arm, size=USUAL):
    known = {Key(name, seed): grown() for name in ARMS for seed in (0, 1)}
    return ARMS[arm].job(Ask(size, 1, known))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_every_arm_is_a_job_that_can_be_resolved(size):
    for arm in ARMS:
        job = resolve(Job.model_validate(jobs(arm, size).job))
        check_with_data(job, NUM_TRAIN)
        assert (job.optimizer.momentum, job.optimizer.weight_decay) == (0.9, 5e-4)
        assert job.batch.bn_group == 128


def test_policies_have_nothing_but_their_kind_set():
    for arm in ("abs", "absa", "noise_scale", "hybrid"):
        assert jobs(arm).job["policy"] == {"kind": arm}


def test_the_short_run_makes_as_many_updates_as_the_adaptive_one():
    epochs = jobs("sgd_short").job["stop"]["epochs"]
    whole, rest = divmod(round(epochs * NUM_TRAIN), NUM_TRAIN)
    assert abs(whole * 391 + math.ceil(rest / 128) - grown().updates) <= 1


@pytest.fixture
def few_images(tmp_path, monkeypatch):
    """Stand in for CIFAR-10 by 640 random images, with 128 to test on."""
    draw = np.random.default_rng(0)
    for part, length in (("train", 640), ("test", 128)):
        images = draw.integers(0, 256, (length, 32, 32, 3), dtype=np.uint8)
        np.save(tmp_path / f"{part}_images.npy", images)
        np.save(tmp_path / f"{part}_labels.npy", draw.integers(0, 10, length))
    monkeypatch.setenv("ABSA_DATA", str(tmp_path))


@pytest.mark.cpu_heavy
def test_a_run_is_the_loop_of_a_job_with_its_growths_and_measurements(few_images):
    tiny, changed = replace(USUAL, epochs=9, max_batch=512), {"observe": {"every_updates": 1}}
    found = train(Work(jobs("absa", tiny).job | changed))
    assert found.samples == 9 * 640
    assert not found.diverged
    assert [growth.batch for growth in found.growths] == [256, 512]
    assert {growth.rule for growth in found.growths} <= {"patience", "eigenvalue"}
    assert [stretch.ratio for stretch in found.stretches] == [0.2, 0.1, 0.0]
    # An epoch here may be over before a measurement has taken its share of the time.
    assert 1 <= len(found.eigenvalues) <= 9
    assert all(each.num_products > 0 for each in found.eigenvalues)
    assert price(found).attacks > 0


def test_a_replayed_run_grows_where_it_is_told(few_images):
    tiny, changed = replace(USUAL, epochs=3, max_batch=512), {"observe": {"every_updates": 1}}
    found = train(Work(jobs("abs", tiny).job | changed, course=((384, 256), (640, 512))))
    # In force an update after it was decided: 384 + 128; the epoch ends with an update of 128.
    grown_at = [(growth.samples, growth.batch, growth.rule) for growth in found.growths]
    assert grown_at == [(512, 256, "replayed"), (896, 512, "replayed")]


def outcomes():
    found = {}
    for seed in (0, 1):
        found |= {Key(arm, seed): grown(0.7 + 0.01 * seed) for arm in TABLE}
        found[Key("sgd", seed)] = Outcome(
            7038, WHOLE, 0.69 + 0.02 * seed, 60.0, False, (Stretch(0, 0, 128, 0.0),)
        )
    return found


def test_the_table_has_a_line_for_each_arm_with_its_paired_difference():
    table = main_table(outcomes(), USUAL)
    lines = {line[0]: dict(zip(table.columns, line, strict=True)) for line in table.rows}
    assert len(lines) == len(TABLE)
    hybrid = lines["hybrid"]
    assert hybrid["updates"] == "1500"
    assert hybrid["test accuracy, % (s.d.)"] == "70.50 (0.71)"
    assert hybrid["difference to SGD, 128"] == "+0.50 +- 6.35"
    assert hybrid["growths by rule"] == "patience 2, curvature 2"
    assert lines["SGD, 128"]["difference to SGD, 128"] is None


def test_the_aims_are_judged_by_updates_and_mean_accuracy():
    judged = {(row.case, row.metric, row.peer_name): row for row in rows(outcomes())}
    fewer = judged["hybrid", "updates", "SGD, 128"]
    assert (fewer.met, fewer.ratio) == (False, pytest.approx(1500 / 7038))
    assert judged["hybrid", "mean test accuracy, %", "SGD, 128"].met
    clock = ARMS["clock"].title
    assert judged["hybrid", "mean test accuracy, %", clock].met is False
    assert judged["abs", "mean test accuracy, %", "abs, growth times shuffled"].met is None


def test_tables_of_a_file_with_few_cells_hold_what_there_is():
    known = {Key("abs", 0): grown(), Key("large@0.5", 0): grown()}
    assert [line[0] for line in main_table(known, USUAL).rows] == ["abs"]
    assert rows(known) == []
    assert len(tuning_table(known, 0).rows) == 1
    assert [line[3:6] for line in growth_table(known, 0).rows] == [
        ("256", "patience", 12.0),
        ("512", "curvature", None),
    ]


def test_the_plot_is_a_picture_with_every_growth_and_its_rule():
    root = ElementTree.fromstring(draw({"abs": grown(), "sgd <0>": grown()}, USUAL))
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")]
    assert texts.count("patience") == texts.count("curvature") == 2
    assert any(text.startswith("sgd <0>: 1500 updates") for text in texts)
    heights = [float(c.get("cy")) for c in root.iter() if c.tag.endswith("circle")]
    assert all(0 <= height <= 240 for height in heights)


def test_without_the_data_it_says_so_and_runs_nothing(tmp_path, monkeypatch, capsys):
    def run_none(order, cells, pool):
        raise DataError("data set cifar10 is not in /nowhere")

    monkeypatch.setattr(command, "run", run_none)
    assert command.main(["--quick", "--cells", str(tmp_path / "c.jsonl")]) == 2
    assert "cifar10 is not in /nowhere" in capsys.readouterr().err


def test_an_unknown_arm_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit):
        command.main(["--arms", "sgd,abc"])
    assert "abc: no such arm; there are hybrid, abs" in capsys.readouterr().err
