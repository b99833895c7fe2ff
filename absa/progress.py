"""How far a run has come: the few numbers that everything else is a function of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Part of the state tree, the same on every rank.

    Args:
        samples: Samples consumed; with the size of the training set it says which come next.
        updates: Updates applied to the weights.
        skipped: Updates dropped because the loss or the gradient was not finite.
        skipped_in_a_row: Of these, how many since the last update that was applied.
        training_s: Seconds of training before this process started.
        best: The metrics of the best evaluation so far, or None.
    """

    samples: int = 0
    updates: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    training_s: float = 0.0
    best: dict[str, float] | None = None
