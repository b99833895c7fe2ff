from hypothesis import given
from hypothesis import strategies as st

from absa.order import next_range
from cluster.explaining.count_updates import count_updates


def test_the_last_update_of_an_epoch_may_be_short():
    assert count_updates([(0, 30)], 200, 100) == 8
    assert count_updates([(0, 30), (100, 50)], 200, 100) == 6


def test_stages_after_the_end_do_not_count():
    assert count_updates([(0, 10), (300, 1)], 100, 100) == 10


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), min_size=1, max_size=6),
    st.integers(1, 60),
)
def test_it_counts_what_is_made_one_by_one(stages, num_train):
    at, total, course = 0, 0, []
    for num_updates, batch in stages:
        if not course or course[-1][1] != batch:
            course.append((at, batch))
        for _ in range(num_updates):
            _, start, stop = next_range(at, batch, num_train)
            at, total = at + stop - start, total + 1
    assert count_updates(course, at, num_train) == total
