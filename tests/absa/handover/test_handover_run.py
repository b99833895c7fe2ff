import pytest
import torch
from engine import Classify, Points, make_replica, normed_network, plain_network, run_ranks
from engine import run_updates as update

from absa.errors import ResizeError
from absa.handover.run import agree_on_run
from absa.handover.wire import Wire
from absa.progress import Progress
from absa.run_state import RunState, gather
from absa.settings import Settings
from absa.state import clone_to_host

STATE = RunState(Progress(samples=12, updates=3, best={"accuracy": 0.5}), Settings(4, 2))


def replica_of(optimizer="sgd", model=normed_network, updates=0):
    replica = make_replica(Classify(Points(20), model), optimizer, bn_group=2)
    update(replica, [Settings(4, 2)] * updates)
    return replica


def join(source, newcomer):
    """Let a newcomer join; return the states of both."""
    replicas, held = [newcomer, source], [None, gather(source, STATE)]

    def work(rank):
        me = rank.rank
        agreed = agree_on_run(replicas[me], held[me], Wire(rank), 1, current=me == 1)
        agreed.finish()
        return agreed.state

    return run_ranks(2, work)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
@pytest.mark.parametrize("warm_up", [0, 1])
def test_a_newcomer_has_the_source_s_state_in_its_own_live_tensors(optimizer, warm_up):
    source, newcomer = replica_of(optimizer, updates=3), replica_of(optimizer, updates=warm_up)
    live = gather(newcomer, STATE).tensors
    assert join(source, newcomer) == [STATE, STATE]
    theirs, mine = gather(source, STATE), gather(newcomer, STATE)
    assert mine.values == theirs.values
    assert mine.tensors.keys() == theirs.tensors.keys()
    for name, tensor in mine.tensors.items():
        assert torch.equal(tensor, theirs.tensors[name]), name
        assert name not in live or tensor.data_ptr() == live[name].data_ptr(), name


def test_a_source_before_its_first_update_takes_the_newcomer_s_warm_up_away():
    newcomer = replica_of(updates=2)
    join(replica_of(), newcomer)
    assert not newcomer.optimizer.state


@pytest.mark.parametrize(
    ("newcomer", "why"),
    [
        (lambda: replica_of(model=plain_network), "another model: .* 'model/|another model: "),
        (lambda: replica_of("adamw"), "the optimizer 'SGD', this job uses AdamW"),
    ],
)
def test_another_job_is_refused_and_nothing_has_changed(newcomer, why):
    replicas = [newcomer(), replica_of(updates=1)]
    before = [clone_to_host(gather(replica, STATE)) for replica in replicas]

    def attempt(rank):
        me = rank.rank
        held = gather(replicas[me], STATE) if me == 1 else None
        with pytest.raises(ResizeError) as caught:
            agree_on_run(replicas[me], held, Wire(rank), 1, current=me == 1)
        return str(caught.value)

    messages = run_ranks(2, attempt)
    with pytest.raises(ResizeError, match=why):
        raise ResizeError(messages[0])
    assert "ranks [0] refused" in messages[1]
    for replica, kept in zip(replicas, before, strict=True):
        after = gather(replica, STATE)
        assert all(torch.equal(after.tensors[name], t) for name, t in kept.tensors.items())
