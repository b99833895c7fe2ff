"""What an operator asks of a run, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from absa.boundary import Command
from absa.errors import ConfigError
from cluster.elastic.wish import Wish
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.operator import Operator, Order

JOB = resolve(load_job(None, ["batch.initial=64", "batch.max=512", "workers.max=2"]))


@pytest.fixture
def commands():
    return []


@pytest.fixture
def wish():
    return Wish(JOB, 2)


@pytest.fixture
def operator(wish, commands):
    return Operator(JOB, wish, commands.append)


@given(
    st.one_of(
        st.builds(Order, wish=st.integers()),
        st.builds(Order, hold=st.booleans()),
        st.builds(Order, max_batch=st.integers()),
    )
)
def test_an_order_survives_its_message(order):
    assert Order.read(order.write()) == order


@pytest.mark.parametrize(
    "message",
    [b"", b"{}", b"[]", b'{"hold": 1}', b'{"max_batch": true}', b'{"wish": 1, "hold": true}', b"7"],
)
def test_what_is_no_order_is_none(message):
    assert Order.read(message) is None


def test_workers_are_wished_for(operator, commands):
    assert operator.obey(Order(wish=2)) == "2 worker(s) are wanted from now on"
    with pytest.raises(ConfigError, match="9 workers"):
        operator.obey(Order(wish=9))
    assert commands == []


def test_everything_is_held_and_let_go(operator, commands):
    assert operator.obey(Order(hold=True)) == "everything is held as it is"
    assert operator.obey(Order(hold=False)) == "the policy decides again"
    assert [command.hold for command in commands] == [True, False]


def test_the_largest_batch_may_be_lowered(operator, commands):
    assert "256 at most" in operator.obey(Order(max_batch=256))
    assert commands == [Command("an operator set the largest batch to 256", max_batch=256)]


@pytest.mark.parametrize(("batch", "asked"), [(None, 63), (256, 255), (256, 513)])
def test_a_limit_that_makes_no_sense_changes_nothing(operator, wish, commands, batch, asked):
    if batch is not None:
        wish.take({"event": "observation", "samples": 0, "global_batch": batch})
    with pytest.raises(ConfigError, match=f"ask for {batch or 64} to 512"):
        operator.obey(Order(max_batch=asked))
    assert commands == []
