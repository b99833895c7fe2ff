"""The closing words of a run: how it ended, what came out and where it lies."""

from cluster.views import number_format as show
from cluster.views.note import stop_words
from cluster.views.progress import Progress


def has_begun(progress: Progress) -> bool:
    """Return whether there is anything to sum up."""
    return progress.name is not None or bool(progress.samples) or progress.path is not None


def headline(progress: Progress) -> str:
    """Return how the run ended, in one line."""
    name = progress.name or "run"
    if progress.end_reason is None:
        return f"{name}: stopped before its end"
    return f"{name}: {stop_words(progress.end_reason)}"


def rows(progress: Progress) -> list[tuple[str, str]]:
    """Return what came out as pairs of label and value; what is not known is left out."""
    return [
        *_result(progress),
        *_effort(progress),
        *([("run folder", progress.path)] if progress.path else []),
        *([("report", progress.report)] if progress.report else []),
        *_way_on(progress),
    ]


def _result(progress: Progress) -> list[tuple[str, str]]:
    name = progress.metric
    if name is None or progress.last is None:
        return []
    best = "" if progress.best is None else f", best {show.metric(name, progress.best)}"
    return [(name, show.metric(name, progress.last) + best)]


def _effort(progress: Progress) -> list[tuple[str, str]]:
    found = []
    if progress.update is not None:
        skipped = f", {show.count(progress.skipped)} skipped" if progress.skipped else ""
        found.append(("updates", show.count(progress.update) + skipped))
    if progress.samples is not None:
        epochs = "" if progress.epoch is None else f" ({show.epoch(progress.epoch)} epochs)"
        found.append(("samples", show.count(progress.samples) + epochs))
    seconds = progress.elapsed_s if progress.seconds is None else progress.seconds
    if seconds is not None:
        found.append(("time", show.duration(seconds)))
    return found


def _way_on(progress: Progress) -> list[tuple[str, str]]:
    if progress.end_reason != "interrupted" or not (progress.path and progress.checkpoint):
        return []
    return [("go on with", f"absa train --resume {progress.path}")]
