import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.elastic.config import PlanStep
from cluster.elastic.plan import wanted


def steps(*pairs: tuple[float, int]) -> tuple[PlanStep, ...]:
    return tuple(PlanStep(epochs=epochs, workers=workers) for epochs, workers in pairs)


@pytest.mark.parametrize("plan", [None, (), steps((0, 3))])
def test_training_begins_with_the_smallest_number(plan):
    assert wanted(plan, 1, 4, None) == 1


def test_without_a_plan_all_workers_are_wanted_as_soon_as_training_has_begun():
    assert wanted(None, 1, 4, 0.0) == 4


def test_an_empty_plan_keeps_the_smallest_number():
    assert wanted((), 2, 4, 1e6) == 2


@pytest.mark.parametrize(
    ("epochs", "workers"),
    [(0.0, 1), (1.99, 1), (2.0, 4), (3.49, 4), (3.5, 2), (100.0, 2)],
)
def test_a_step_holds_from_its_epoch_until_the_next(epochs, workers):
    assert wanted(steps((2, 4), (3.5, 2)), 1, 4, epochs) == workers


@given(
    plan=st.dictionaries(st.floats(0, 50), st.integers(2, 5), max_size=6),
    epochs=st.none() | st.floats(0, 60),
)
def test_it_agrees_with_walking_through_the_plan_and_stays_within_the_limits(plan, epochs):
    found = 2
    for epoch in sorted(plan):
        if epochs is not None and epoch <= epochs:
            found = plan[epoch]

    assert wanted(steps(*sorted(plan.items())), 2, 5, epochs) == found
    assert 2 <= found <= 5
