"""Kernels that stand in for others while a model is differentiated twice."""

import pytest
import torch
from torch import nn

from absa.curvature.undisturbed import undisturbed
from absa.models.ghost_batch_norm import GhostBatchNorm

NORMS = {
    "plain": (nn.BatchNorm2d(3), (5, 3, 4, 4)),
    "without_scale": (nn.BatchNorm2d(3, affine=False), (5, 3, 4, 4)),
    "flat": (nn.BatchNorm1d(3), (5, 3)),
    "ghost": (GhostBatchNorm(3, 2), (5, 3, 2)),
    "synchronised": (nn.SyncBatchNorm(3), (5, 3, 4)),
}


@pytest.mark.parametrize(("norm", "shape"), NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("mean", [0.5, 1e4])
def test_batch_norm_is_what_its_kernel_computes(norm, shape, mean):
    torch.manual_seed(0)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    nn.init.uniform_(norm.running_mean, mean, mean + 1)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    x = mean + torch.randn(shape)
    exact = norm.eval().double()(x.double())
    norm.float()

    with undisturbed(norm):
        found = norm(x)
        assert "NativeBatchNorm" not in str(found.grad_fn)

    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    assert "forward" not in vars(norm)


class Shifted(nn.BatchNorm1d):
    def forward(self, x):
        return super().forward(x) + 1


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(3, track_running_stats=False), Shifted(3)])
def test_batch_norm_of_another_kind_stays_as_it_is(norm):
    x = 3 + torch.randn(5, 3)
    expected = norm.eval()(x)

    with undisturbed(norm):
        assert torch.equal(norm(x), expected)


def test_batch_norm_still_refuses_inputs_it_does_not_take():
    norm = nn.BatchNorm1d(3)
    with undisturbed(norm), pytest.raises(ValueError, match="expected 2D or 3D input"):
        norm(torch.ones(2, 3, 4, 4))


def test_embeddings_are_sparse_again():
    model = nn.Sequential(nn.Embedding(2, 2, sparse=True), nn.EmbeddingBag(2, 2))
    with undisturbed(model):
        assert [module.sparse for module in model] == [False, False]
    assert [module.sparse for module in model] == [True, False]


def test_models_without_recurrent_layers_keep_the_kernels_of_their_convolutions():
    before = (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled)
    with undisturbed(nn.Conv2d(1, 1, 1)):
        assert (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled) == before
