"""Plain lines for logs and pipes: one per evaluation and per record worth a note."""

from typing import TextIO

from absa.events import Record
from cluster.views import number_format as show
from cluster.views.fields import number
from cluster.views.note import describe
from cluster.views.progress import Progress, advance
from cluster.views.steady_stream import SteadyStream
from cluster.views.summary import has_begun, headline, rows

_COLUMNS = "{:>10}  {:>6}  {:>8}  {:>9}  {:>6}  {:>6}  {:>8}  {:>6}  {}"
_MARKS = {"warning": "warning: ", "bad": "ERROR: "}
_SILENCE_S = 60.0
"""After so long without a line an observation gets one: a log must show that a run is alive."""


class LineView:
    """Writes aligned lines without colours or cursor movements.

    Args:
        stream: Where the lines go; flushed after each.
    """

    def __init__(self, stream: TextIO) -> None:
        self._out = SteadyStream(stream)
        self._progress = Progress()
        self._header: tuple[str, ...] | None = None
        self._last_row: float | None = None

    def __call__(self, record: Record) -> None:
        """Write what is new, if anything is."""
        before, self._progress = self._progress, advance(self._progress, record)
        match record.get("event"):
            case "evaluation":
                # It measures the weights at hand: this is where the training loss belongs too.
                self._row("best" if record.get("best") is True else "")
            case "observation":
                if self._is_overdue(before):
                    self._row("")
            case "phase":
                if self._progress.phase != before.phase:
                    self._note(record)
            case "run_ended":
                pass  # the summary begins with it
            case _:
                self._note(record)

    def close(self) -> None:
        """Write the summary."""
        if not has_begun(self._progress):
            return
        self._line("")
        self._line(headline(self._progress))
        for label, value in rows(self._progress):
            self._line(f"  {label:<10}  {value}")

    def _is_overdue(self, before: Progress) -> bool:
        now = self._progress.now
        since = self._last_row if self._last_row is not None else before.started
        return now is not None and since is not None and now - since >= _SILENCE_S

    def _row(self, mark: str) -> None:
        p = self._progress
        name = p.metric or "accuracy"
        self._last_row = p.now
        self._print_header(name)
        self._line(
            _COLUMNS.format(
                show.clock(p.elapsed_s),
                show.epoch(p.epoch) if p.epoch is not None else show.si(p.samples),
                show.loss(p.loss),
                show.metric(name, p.last),
                show.count(p.global_batch),
                show.noise_scale(p.noise, p.noise_at_least),
                show.learning_rate(p.learning_rate),
                show.si(p.samples_per_s),
                mark,
            )
        )

    def _print_header(self, metric: str) -> None:
        # Beside the loss of the updates, the loss of an evaluation needs a name of its own.
        judged = "eval loss" if metric == "loss" else metric[:9]
        header = ("time", "epoch", "loss", judged, "batch", "noise", "lr", "/s", "")
        if self._header != header:
            self._header = header
            self._line(_COLUMNS.format(*header))

    def _note(self, record: Record) -> None:
        note = describe(record)
        if note is not None:
            when = "" if number(record, "time") is None else show.clock(self._progress.elapsed_s)
            self._line(f"{when:>10}  {_MARKS.get(note.tone, '')}{note.text}")

    def _line(self, line: str) -> None:
        self._out.write(line.rstrip() + "\n")
        self._out.flush()
