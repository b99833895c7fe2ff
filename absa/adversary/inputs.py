"""What of a batch can be perturbed: the task says it, for the engine knows nothing of batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from absa.errors import ConfigError, TaskError
from absa.task import Batch, Task


@dataclass(frozen=True)
class Inputs:
    """The values of a batch that a loss can be differentiated by, and how far they may go.

    A task says so in an optional method ``adversarial_inputs(batch) -> Inputs``. The unit of a
    perturbation is the task's own, such as pixels from 0 to 1 for images that the model takes
    normalised.

    Args:
        values: A floating tensor of the batch, or one that the task makes up (such as an offset of
            embeddings, zero); its first dimension is samples.
        unit: How far a perturbation of 1 moves them; broadcasts to ``values``, > 0.
        lowest: The least that they may be; broadcasts to ``values``, may be -inf.
        highest: The most that they may be.
        put: Returns the batch with other values of the same shape in the place of these; the batch
            itself stays as it is.
    """

    values: Float[Tensor, "n ..."]
    unit: Tensor
    lowest: Tensor
    highest: Tensor
    put: Callable[[Tensor], Batch]


class HasInputs(Protocol):
    """A task whose inputs can be perturbed."""

    def adversarial_inputs(self, batch: Batch) -> Inputs:
        """Return what can be perturbed of a batch, which `absa.task.Source.transform` returned."""
        ...


def perturbable(task: Task) -> HasInputs:
    """Return the task as one whose inputs can be perturbed.

    Raises:
        ConfigError: It does not say what its inputs are.
    """
    if not callable(getattr(task, "adversarial_inputs", None)):
        raise ConfigError(
            f"a share of each batch is to be perturbed, but {type(task).__name__} does not say "
            "what its inputs are: give it a method adversarial_inputs(batch) that returns "
            "absa.adversary.inputs.Inputs, or choose a policy without adversary (abs, not absa)"
        )
    found: HasInputs = task  # type: ignore[assignment]
    return found


def checked_inputs(task: HasInputs, batch: Batch, num_samples: int) -> Inputs:
    """Return what the task says of a batch.

    Raises:
        TaskError: It is not `Inputs` with one row of floating values per sample.
    """
    found: object = task.adversarial_inputs(batch)
    wanted = (
        "it must return absa.adversary.inputs.Inputs, whose values are a floating tensor with "
        f"{num_samples} rows, one for each sample"
    )
    if not isinstance(found, Inputs) or not isinstance(found.values, Tensor):
        raise TaskError(f"task.adversarial_inputs returned a {type(found).__name__}; {wanted}")
    values = found.values
    if values.ndim == 0 or len(values) != num_samples or not values.is_floating_point():
        raise TaskError(
            f"task.adversarial_inputs returned values of {values.dtype} and shape "
            f"{tuple(values.shape)}; {wanted}"
        )
    return found
