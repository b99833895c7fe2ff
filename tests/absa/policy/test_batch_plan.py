import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import ConfigError
from absa.policy.batch_plan import Passes, Portion, batch_plan
from absa.update.cut import cut_update

few = settings(max_examples=40)


@st.composite
def _asked(draw):
    bn_group = draw(st.none() | st.integers(1, 80))
    most_micro = (bn_group or 1) + draw(st.integers(0, 300))
    return draw(st.integers(1, 2000)), draw(st.integers(1, 40)), bn_group, most_micro


def plan_of(asked):
    batch, workers, bn_group, most_micro = asked
    return batch_plan(batch, workers, bn_group=bn_group, most_micro=most_micro)


def cut_of(asked, micro_batch):
    batch, workers, bn_group, _ = asked
    return cut_update(batch, bn_group=bn_group, micro_batch=micro_batch, world_size=workers)


@few
@given(_asked())
def test_the_integers_multiply_out_exactly(asked):
    plan = plan_of(asked)
    products = [
        portion.workers * one.num * one.micro_batch
        for portion in plan.portions
        for one in portion.passes
    ]
    assert sum(products) == plan.global_batch == asked[0]
    assert min(products) >= 1


@few
@given(_asked())
def test_a_plan_is_how_the_update_will_be_cut(asked):
    plan = plan_of(asked)
    shares = cut_of(asked, plan.micro_batch)
    assert plan.worker_batch == max(sum(p.size for p in share) for share in shares)
    assert plan.accumulation_steps == max(len(share) for share in shares)
    assert plan.idle == sum(not share for share in shares)
    passes = sum(portion.workers * portion.accumulation_steps for portion in plan.portions)
    assert passes == sum(map(len, shares))


@few
@given(_asked())
def test_the_micro_batch_fits_and_no_larger_one_would_save_a_pass(asked):
    plan = plan_of(asked)
    assert (asked[2] or 1) <= plan.micro_batch <= asked[3]
    assert cut_of(asked, plan.micro_batch) == cut_of(asked, asked[3])


@few
@given(_asked())
def test_a_smaller_micro_batch_would_take_more_passes_or_none_is_possible(asked):
    plan = plan_of(asked)
    if plan.micro_batch > (asked[2] or 1):
        smaller = cut_of(asked, plan.micro_batch - 1)
        assert sum(map(len, smaller)) > sum(map(len, cut_of(asked, plan.micro_batch)))


@few
@given(_asked())
def test_the_load_is_that_of_the_busiest_worker(asked):
    plan = plan_of(asked)
    load = plan.load(workers_per_node=4)
    assert (load.workers, load.nodes) == (asked[1], -(-asked[1] // 4))
    assert load.accumulation_steps <= load.worker_batch <= asked[0]
    assert load.worker_batch * asked[1] >= asked[0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((256, 1, 32, 64), "1 x 4 x 64 = 256"),
        ((256, 2, 32, 64), "2 x 2 x 64 = 256"),
        ((256, 4, 32, 256), "4 x 1 x 64 = 256"),
        ((256, 3, 32, 32), "2 x 3 x 32 + 1 x 2 x 32 = 256"),
        ((256, 3, 32, 128), "2 x 1 x 96 + 1 x 1 x 64 = 256"),
        ((256, 3, 32, 64), "2 x (1 x 64 + 1 x 32) + 1 x 1 x 64 = 256"),
        ((256, 3, None, 256), "1 x 1 x 86 + 2 x 1 x 85 = 256"),
        ((10, 4, 8, 8), "2 x 1 x 5 = 10"),
    ],
)
def test_plans_are_said_in_integers(asked, said):
    assert str(plan_of(asked)) == said


def test_a_batch_over_three_workers_is_held_in_whole_groups():
    plan = plan_of((256, 3, 32, 96))
    assert plan.portions == (Portion(2, (Passes(1, 96),)), Portion(1, (Passes(1, 64),)))
    assert (plan.worker_batch, plan.accumulation_steps, plan.idle) == (96, 1, 0)


def test_workers_beyond_the_groups_are_said_to_be_idle():
    assert plan_of((64, 5, 32, 64)).idle == 3


def test_a_micro_batch_below_a_group_is_refused():
    with pytest.raises(ConfigError, match="micro"):
        plan_of((64, 2, 32, 31))
