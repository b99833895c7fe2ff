import pytest
import torch

from absa.optim.layout import is_dense


@pytest.mark.parametrize(
    ("tensor", "dense"),
    [
        (torch.ones(3, 4), True),
        (torch.ones(3, 4).t(), True),
        (torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last), True),
        (torch.ones(()), True),
        (torch.ones(0, 3), True),
        (torch.ones(4, 10)[:, ::2], False),  # even gaps: one view with a stride of 2
        (torch.ones(4, 10)[:, :3], False),
        (torch.ones(4, 1).expand(4, 3), False),
    ],
)
def test_dense_is_without_gaps_and_overlaps(tensor, dense):
    assert is_dense(tensor) is dense
