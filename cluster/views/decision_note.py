"""Say in one sentence what the policy has decided."""

from absa.events import Record
from cluster.views import number_format as show
from cluster.views.fields import number, printable, text

_LEVERS = ("global_batch", "lr_scale", "adversarial_ratio")


def decision_words(record: Record) -> str | None:
    """Return what has changed and why; None where everything was kept.

    That the learning rate has followed the noise scale a little is seen on its curve.
    """
    if record.get("rule") == "rate":
        return None
    pairs = {name: lever_pair(record, name) for name in _LEVERS}
    words = [
        _said(name, *pair)
        for name, pair in pairs.items()
        if pair is not None and pair[0] != pair[1]
    ]
    if not words:
        return None
    reason, rule = text(record, "reason"), text(record, "rule")
    why = reason or rule or ""
    limits = record.get("limited_by")
    bounds = [printable(str(limit)) for limit in limits] if isinstance(limits, list) else []
    return ", ".join(words) + (f": {why}" if why else "") + "".join(f"; {b}" for b in bounds)


def lever_pair(record: Record, name: str) -> tuple[float, float] | None:
    """Return where a lever stood before and after a decision; None if that is not recorded."""
    found = record.get(name)
    if not isinstance(found, list | tuple) or len(found) != 2:
        return None
    before, after = (number({name: value}, name) for value in found)
    return None if before is None or after is None else (before, after)


def _said(name: str, before: float, after: float) -> str:
    if name == "global_batch":
        return f"batch {show.count(before)} → {show.count(after)}"
    if name == "lr_scale":
        return "learning rate" if before == 0 else f"learning rate x {_factor(after / before)}"
    return f"share perturbed {show.percent(before)} → {show.percent(after)}"


def _factor(value: float) -> str:
    return f"{value:.3g}"
