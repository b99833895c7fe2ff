"""What a task returns for its samples is checked here, wherever it is differentiated."""

from jaxtyping import Float
from torch import Tensor

from absa.errors import TaskError


def checked_losses(losses: Tensor, num_samples: int) -> Float[Tensor, " samples"]:
    """Return the losses of ``num_samples`` samples, in at least 32 bits.

    Raises:
        TaskError: They are not one floating number per sample, or no gradient can flow.
    """
    losses = _per_sample(losses, "task.losses", num_samples)
    if not losses.requires_grad:
        raise TaskError(
            "task.losses returned a tensor that does not depend on the model's parameters: no "
            "gradient can flow; it must not detach or run under torch.no_grad"
        )
    # In bfloat16 the factor 1 / num_samples would be off by up to 0.4 %.
    return losses.float() if losses.dtype.itemsize < 4 else losses


def checked_weights(weights: Tensor, num_samples: int) -> Float[Tensor, " samples"]:
    """Return what each of ``num_samples`` samples weighs, as constants.

    Raises:
        TaskError: They are not one floating number per sample.
    """
    return _per_sample(weights, "task.weights", num_samples).detach()


def _per_sample(values: Tensor, what: str, num_samples: int) -> Float[Tensor, " samples"]:
    if isinstance(values, Tensor) and values.shape == (num_samples,) and values.is_floating_point():
        return values
    if isinstance(values, Tensor):
        got = f"{values.dtype} of shape {tuple(values.shape)}"
        advice = ", not a mean or sum over them" if values.ndim == 0 else ""
    else:
        got, advice = f"a {type(values).__name__}", ""
    raise TaskError(
        f"{what} returned {got} for {num_samples} samples; it must return one finite number per "
        f"sample, a floating tensor of shape ({num_samples},){advice}"
    )
