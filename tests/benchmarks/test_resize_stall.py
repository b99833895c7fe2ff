"""What the benchmark of resizes says about a run, from marks whose stalls are known."""

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from absa.tasks.check import check_task
from benchmarks.resize_stall import task
from benchmarks.resize_stall.cases import (
    GROW,
    KILL_OTHER,
    SHRINK,
    SIZES,
    Change,
    Script,
    distinct,
    scripts,
)
from benchmarks.resize_stall.floor import Floor, floor_s, measure_floor
from benchmarks.resize_stall.our_run import job
from benchmarks.resize_stall.ours import Calm, Happened, Made, our_stalls
from benchmarks.resize_stall.peer import peer_stalls
from benchmarks.resize_stall.rows import ABOVE_FLOOR, SHORTER, phase_table, rows
from benchmarks.resize_stall.stall import SETTLE_UPDATES, Stall, lost_worker_s, normal_update_s
from benchmarks.resize_stall.task import SyntheticTask, mark_updates, network
from benchmarks.resize_stall.trace import RANK, UPDATE, Marks, Trace, age_s, read_marks
from benchmarks.resize_stall.wish import Wish, read_wish, write_wish
from cluster.job import Job, fill_defaults

SIZE = SIZES[0]
ROOT = Path(__file__).parents[2]


def marks(role, *pairs, updates=(), pid=1):
    return Marks(role, pid, tuple(sorted([*pairs, *((t, UPDATE) for t in updates)])))


def every(step, begin, num):
    return [begin + step * i for i in range(num)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_models_have_the_parameters_that_their_names_say(size):
    with torch.device("meta"):
        counted = sum(p.numel() for p in network(size).parameters())
    assert counted == size.num_parameters
    assert counted == pytest.approx(1e6 * int(size.name[:-1]), rel=0.02)
    assert size.batch % 4 == 0


@pytest.mark.parametrize(("asked", "times"), [("quick", 3), ("usual", 5), ("full", 5)])
def test_every_change_begins_where_the_one_before_ended_and_comes_often_enough(asked, times):
    planned = scripts(asked)
    for script in planned:
        assert script.changes[0].before == 1
        for one, following in pairwise(script.changes):
            assert one.after == following.before
    for size in {script.size for script in planned}:
        changes = [c for script in planned if script.size == size for c in script.changes]
        assert min(changes.count(GROW), changes.count(SHRINK)) >= times
        assert {change.victim for change in changes} == {None, 0, 1}
        assert sum(change.victim is not None for change in changes) >= times
        if asked != "quick":
            assert min(changes.count(change) for change in changes) >= times
            assert {(c.before, c.after) for c in changes} == {(1, 2), (2, 4), (4, 2), (2, 1)}


def test_marks_are_read_back_without_a_torn_end(tmp_path):
    trace = Trace(tmp_path, "peer")
    trace.mark("restored 3")
    trace.mark(UPDATE, at_s=5.0)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as torn:
        torn.write(b"17.25 upd")
    (found,) = read_marks(tmp_path)
    assert (found.role, found.pid) == ("peer", os.getpid())
    assert [name for _, name in found.all] == ["born", "restored 3", UPDATE]
    assert found.times(UPDATE) == [5.0]
    assert found.first("born") <= found.first("restored 3")
    with pytest.raises(LookupError, match="never reached 'entered'"):
        found.first("entered")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_age_of_a_process_is_what_psutil_says():
    # Both clocks count in hundredths, and psutil's from a boot time in whole seconds.
    assert age_s() == pytest.approx(time.time() - psutil.Process().create_time(), abs=1.5)


def test_newest_wish_is_read(tmp_path):
    write_wish(tmp_path, Wish(0, 1))
    write_wish(tmp_path, Wish(1, 2, when_lost=True))
    assert read_wish(tmp_path) == Wish(1, 2, when_lost=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_normal_update_leaves_out_the_first_ones():
    cold = [0.0, 9.0, 18.0]
    assert len(cold) == SETTLE_UPDATES
    assert normal_update_s([*cold, 20.0, 20.1, 20.2, 20.4]) == pytest.approx(0.1)


def test_lost_time_counts_those_who_wait_those_who_warm_up_and_those_who_are_slowed_down():
    assert lost_worker_s(Change(2, 1), 0.5) == 0.5
    assert lost_worker_s(Change(4, 2), 0.5) == 1.0
    # two wait 0.5 s, two are held for 6 s, two are slower by a quarter for 5 s
    assert lost_worker_s(Change(2, 4), 0.5, [6.0, 6.0], 0.25, 5.0) == 1.0 + 12.0 + 2.5


def test_stall_of_a_restart_is_cut_into_its_phases():
    before = marks("peer", (0.0, "restored 0"), (20.0, "asked 1"), updates=every(0.1, 1.0, 10))
    after = [
        marks(
            "peer",
            (21.0 + late, "born"),
            (24.0 + late, "entered"),
            (25.0 + late, "restored 1"),
            updates=every(0.2, 25.5 + late, 10),
        )
        for late in (0.0, 0.5)
    ]
    controller = marks("controller", (0.0, "decided 0"), (20.25, "decided 1"))
    (stall,) = peer_stalls(Script(SIZE, (GROW,)), [before, *after, controller])
    assert stall.seconds == pytest.approx(26.0 - 20.0 - 0.2)
    assert stall.normal_s == pytest.approx(0.2)
    assert list(stall.phases.values()) == pytest.approx([0.25, 1.25, 3.0, 1.0, 0.3])
    # the one that stays waits, the younger one is held from its start on
    assert stall.lost_worker_s == pytest.approx(5.8 + (25.8 - 21.5))


def test_restart_that_never_happened_is_an_error():
    before = marks("peer", (0.0, "restored 0"), (2.0, "asked 1"), updates=every(0.1, 1.0, 10))
    with pytest.raises(LookupError, match="ended early"):
        peer_stalls(Script(SIZE, (GROW,)), [before, marks("controller", (0.0, "decided 0"))])


@given(
    st.floats(0.01, 2.0),
    st.floats(0.0, 1.0),
    st.lists(st.floats(0.09, 0.11), min_size=20, max_size=20),
)
def test_our_stall_is_the_gap_that_the_journal_points_at(stall_s, point, jitter):
    slow_elsewhere = [0.0, 5.0]  # a longer gap that is none of the resize's
    before, end = list(slow_elsewhere), slow_elsewhere[-1]
    for step in jitter:
        end += step
        before.append(end)
    first_after = end + stall_s + 0.1  # made by the survivor alone
    after = every(0.2, first_after, 20)
    survivor = marks("ours", (0.0, "born"), updates=[*before, *after])
    newcomer = marks("ours", (end - 2.0, "born"), updates=after, pid=2)
    another = marks("ours", (50.0, "born"), updates=every(0.2, 60.0, 20), pid=3)
    record = {
        "time": end + stall_s + 0.1 * point,
        "seconds": stall_s,
        "phases": {"group": 0.25 * stall_s, "transfer": 0.5 * stall_s},
    }
    calm = [Calm(1, 4.0, end), Calm(2, end, after[-1])]
    happened = Happened([Made(GROW, 0.0, record)], calm)
    (stall,) = our_stalls(SIZE, happened, [survivor, newcomer, another])
    assert stall.seconds == pytest.approx(stall_s, abs=0.011)
    assert stall.phases["rest"] == pytest.approx(0.25 * stall_s, abs=0.011)
    # updates are not slowed down here, but for the grain of one update in two seconds
    assert stall.lost_worker_s == pytest.approx(2.0 + 2 * stall_s + 0.2, abs=0.5)


def test_our_kill_leaves_a_survivor_whose_gap_counts():
    victim = marks("ours", updates=every(0.1, 1.0, 20))
    survivor = marks("ours", updates=[*every(0.1, 1.0, 20), *every(0.1, 3.2, 20)], pid=2)
    record = {"time": 3.15, "seconds": 0.25, "phases": {"notice": 0.15, "group": 0.05}}
    happened = Happened([Made(KILL_OTHER, 3.0, record)], [Calm(1, 3.2, 9.0), Calm(2, 0.0, 2.95)])
    (stall,) = our_stalls(SIZE, happened, [victim, survivor])
    assert stall.seconds == pytest.approx(3.2 - 2.9 - 0.1)
    assert stall.lost_worker_s == stall.seconds


def test_floor_has_a_transfer_only_when_somebody_joins():
    floor = Floor(2, (0.001, 0.002, 0.004), {SIZE.state_bytes: (0.01, 0.03, 0.02)})
    four = Floor(4, (0.008,), {SIZE.state_bytes: (0.1,)})
    assert floor_s(GROW, SIZE, [floor, four]) == pytest.approx(0.022)
    assert floor_s(Change(4, 2), SIZE, [floor, four]) == pytest.approx(0.002)
    assert floor_s(SHRINK, SIZE, [floor, four]) == 0.0


def stalls(size, change, seconds):
    return [Stall(size, change, s, 0.1, {"group": s / 2, "rest": s / 2}, 2 * s) for s in seconds]


@pytest.mark.parametrize(("ours_s", "met"), [((0.03, 0.04, 0.05), True), ((0.3, 0.5, 0.4), False)])
def test_rows_judge_ours_by_the_restart_and_by_the_floor(ours_s, met):
    size = SIZES[1]
    cases = distinct([Script(size, (GROW, SHRINK, GROW))])
    mine = [s for _, change in cases for s in stalls(size, change, ours_s)]
    theirs = [s for _, change in cases for s in stalls(size, change, (6.0, 5.0, 7.0))]
    floor = Floor(2, (0.01,), {size.state_bytes: (0.02,)})
    found = rows(cases, mine, theirs, "restart", [floor])
    judged = {(r.case, r.peer_name): (r.aim, r.met) for r in found if r.aim is not None}
    assert judged == {
        ("11M, 1 -> 2", "restart"): ("<= 0.05", met),
        ("11M, 2 -> 1", "restart"): ("<= 0.05", met),
        ("11M, 1 -> 2", "floor"): ("<= 2", met),
    }
    grow = next(r for r in found if r.peer_name == "restart")
    assert grow.ratio == pytest.approx(sorted(ours_s)[1] / 6.0)
    assert grow.spread[0] <= grow.ratio <= grow.spread[1]
    assert (grow.ours, grow.peer) == (sorted(ours_s)[1], 6.0)


def test_aims_are_those_of_the_issue():
    assert {name: 1 / aim.bound for name, aim in SHORTER.items()} == {"1M": 50, "11M": 20}
    assert {name: aim.bound for name, aim in ABOVE_FLOOR.items()} == {"11M": 2.0}


def test_phase_table_has_one_line_for_each_side_of_a_case():
    text = phase_table({"ours": stalls(SIZE, GROW, [0.2, 0.4]), "peer": stalls(SIZE, GROW, [4.0])})
    assert "| 1M, 1 -> 2 | ours | 2 | 0.3 | 0.25 - 0.35 | group 0.15, rest 0.15 |" in text
    assert "| 1M, 1 -> 2 | peer | 1 | 4 | 4 - 4 | group 2, rest 2 |" in text


def test_task_keeps_its_contract():
    synthetic = SyntheticTask("1M")
    source = synthetic.datasets().train
    batch = source.transform(source.fetch(torch.arange(8).numpy(), None))
    assert check_task(synthetic, synthetic.build_model(), batch) == ()


def test_steps_are_marked_with_the_rank_they_were_made_in(tmp_path, monkeypatch):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 0.1)
    handle = mark_updates(str(tmp_path))
    try:
        assert mark_updates(str(tmp_path)) is handle
        for rank in ("0", "0", "1"):
            monkeypatch.setenv("RANK", rank)
            weight.sum().backward()
            optimizer.step()
    finally:
        handle.remove()
        task.mark_updates.cache_clear()
    (found,) = read_marks(tmp_path)
    names = [name for _, name in found.all]
    assert names == ["born", f"{RANK} 0", UPDATE, UPDATE, f"{RANK} 1", UPDATE]


def test_our_job_is_one_that_absa_takes(tmp_path):
    written = job(Script(SIZE, (GROW, Change(2, 4))), tmp_path)
    known = {key: value for key, value in written.items() if key in Job.model_fields}
    resolved = fill_defaults(Job.model_validate(known))
    assert (resolved.workers.min, resolved.workers.max) == (1, 4)
    # The next group fits beside the one that is about to end.
    assert resolved.workers.cpus * 2 * 4 <= os.cpu_count()
    assert resolved.task.use == f"{SyntheticTask.__module__}:{SyntheticTask.__qualname__}"


@pytest.mark.cpu_heavy
def test_floor_is_measured_by_as_many_processes_as_asked():
    floor = measure_floor(2, [SIZE])
    assert len(floor.group_s) == len(floor.broadcast_s[SIZE.state_bytes])
    assert min(floor.group_s) > 0
    assert floor.bytes_per_s(SIZE.state_bytes) > 0


def run_peer(tmp_path, changes):
    code = (
        "from benchmarks.resize_stall.peer import peer\n"
        "from benchmarks.resize_stall.cases import *\n"
        "from cluster.interrupt import interrupts\n"
        "with interrupts():\n"
        f"    for stall in peer(Script(Size('tiny', 8, 1, 8), ({changes},))):\n"
        "        print(stall.change.name, sum(stall.phases.values()) - stall.seconds)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "ABSA_"))}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.ray
def test_peer_grows_and_survives_a_kill_and_leaves_nothing(tmp_path):
    process = run_peer(tmp_path, "GROW, KILL_OTHER")
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    names = [line.rpartition(" ")[0] for line in out.splitlines()]
    assert names == [GROW.name, KILL_OTHER.name]
    assert not list(tmp_path.glob("stall-*"))


@pytest.mark.ray
def test_interrupted_peer_leaves_no_process_and_no_folder(tmp_path):
    process = run_peer(tmp_path, "GROW, SHRINK")
    try:
        while not list(tmp_path.glob("stall-*/peer-*.trace")):
            assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(2)
        process.communicate(timeout=300)
    finally:
        process.kill()
    assert len(children) > 3
    assert not psutil.wait_procs(children, timeout=60)[1]
    assert not list(tmp_path.glob("stall-*"))
