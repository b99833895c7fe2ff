"""Operations without a second derivative are found and named, never passed over."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor
from torch.autograd.graph import Node

from absa.errors import MeasurementError

_REFUSALS = (
    "is not implemented",
    "differentiate twice",
    "ouble backward",
    "forward AD with",
    "an autograd.Function with functorch",
    "yet support saved tensor hooks",
    "incompatible with .grad()",
)
"""What torch says where it has no second derivative; it has no error type for that."""


@contextmanager
def named_refusals() -> Iterator[None]:
    """Turn torch's refusal of a second derivative into a `MeasurementError`."""
    try:
        yield
    except RuntimeError as error:
        if not any(refusal in str(error) for refusal in _REFUSALS):
            raise
        raise _refusal(str(error).splitlines()[0]) from error


def ensure_differentiable(gradients: Sequence[Tensor]) -> None:
    """Refuse gradients with a gap in their graph.

    A ``once_differentiable`` autograd function leaves in it a node that raises, but none of the
    parameters is behind that node: `torch.autograd.grad` does not visit it, and its share of the
    second derivative would be missed without a word.

    Raises:
        MeasurementError: There is such a node.
    """
    todo: list[Node | None] = [gradient.grad_fn for gradient in gradients]
    seen: set[Node] = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if node.name() == "torch::autograd::Error":
            raise _refusal("an autograd function is marked with @once_differentiable")
        seen.add(node)
        todo += [following for following, _ in node.next_functions]


def _refusal(reason: str) -> MeasurementError:
    return MeasurementError(
        f"the model or its losses use what torch cannot differentiate twice: {reason}. Use another "
        "operation where self.training is False, as it is while measuring, or try another "
        "operator: Hessian, HessianForward, GaussNewton"
    )
