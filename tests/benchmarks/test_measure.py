"""What the benchmarks share, and the tensors that the LARS benchmark claims to step."""

import json
import math

import pytest
import torch

from absa.optim.lars import LARS
from benchmarks import lars_step
from benchmarks.lars_step import parameters, plain_foreach_lars, resnet50_shapes
from benchmarks.measure import Aim, Arguments, alternate, arguments, compare, report, table


def test_resnet50_has_its_161_tensors_and_25_6_million_parameters():
    shapes = list(resnet50_shapes())
    assert len(shapes) == 161
    assert sum(math.prod(shape) for shape in shapes) == 25_557_032


def test_plain_peer_computes_the_same_as_ours(monkeypatch):
    monkeypatch.setattr(lars_step, "resnet50_shapes", lambda: iter([(4, 3), (4,), (2, 4)]))
    mine, theirs = parameters("cpu"), parameters("cpu")
    ours = LARS(mine, lars_step.LR, exclude="one_dimensional")
    peer = plain_foreach_lars(theirs)
    for _ in range(3):
        ours.step()
        peer()
    assert all(torch.allclose(a, b, rtol=1e-5) for a, b in zip(mine, theirs, strict=True))


def test_calls_alternate_and_take_turns_at_being_first():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = alternate(calls, rounds=2, clock=lambda call: call() or 1.0, warmup=1)
    assert "".join(order) in ("baabba", "abbaab")
    assert times == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("aim", "met", "text"),
    [(Aim("<=", 1.4), False, "<= 1.4"), (Aim(">=", 1.4), True, ">= 1.4"), (None, None, None)],
)
def test_ratio_is_the_median_of_the_rounds_and_judged_by_the_aim(aim, met, text):
    row = compare("case", "ms", [2.0, 4.0, 30.0], [1.0, 2.0, 3.0], "peer", aim)
    assert (row.ours, row.peer, row.ratio, row.spread) == (4.0, 2.0, 2.0, (2.0, 6.0))
    assert (row.met, row.aim) == (met, text)


def test_report_prints_the_table_and_writes_the_rows(tmp_path, capsys):
    row = compare("case", "ms", [2.0], [1.0], "peer")
    report("demo", [row], Arguments("quick", tmp_path / "out.json"))
    written = json.loads((tmp_path / "out.json").read_text())
    assert list(written) == ["name", "commit", "machine", "rows"]
    keys = ["case", "metric", "ours", "peer", "peer_name", "ratio", "spread", "aim", "met"]
    assert list(written["rows"][0]) == keys
    assert table([row]) in capsys.readouterr().out


def test_command_line_knows_three_sizes():
    assert arguments("demo", "", []).size == "usual"
    assert arguments("demo", "", ["--quick"]).size == "quick"
    assert arguments("demo", "", ["--full", "--json", "x"]).size == "full"


def test_missing_peer_is_named_with_the_way_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(lars_step, "PEERS", False)
    assert lars_step.main([]) == 2
    assert 'pip install "absa[benchmarks]"' in capsys.readouterr().err
