"""What newcomers are told of the data before anybody waits for them."""

import pytest
from torch.distributed import HashStore

from absa.errors import DataError
from cluster.elastic.meeting import ensure_posted_data, post_data

DATA = [1438, 359, "accuracy"]


def test_a_newcomer_with_the_data_of_the_run_may_come():
    store = HashStore()
    post_data(store, DATA)

    ensure_posted_data(store, list(DATA))


def test_before_training_has_begun_any_data_will_do():
    ensure_posted_data(HashStore(), DATA)


@pytest.mark.parametrize("mine", [[1437, 359, "accuracy"], [1438, 359, "loss"], [1438, 359]])
def test_a_newcomer_with_other_data_is_told_so(mine):
    store = HashStore()
    post_data(store, DATA)

    with pytest.raises(DataError, match="every worker must see the same data") as error:
        ensure_posted_data(store, mine)
    assert "1438" in str(error.value)
