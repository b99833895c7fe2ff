"""The job of a run, changed: a run's own file has every default of its choices written out."""

from collections.abc import Iterator, Sequence
from typing import Any

from absa.choice import ChoiceSection
from cluster.job import Job
from cluster.job_overrides import override
from cluster.job_yaml import Draft
from cluster.load_job import checked_job, read_draft
from cluster.show_value import Keys


def parse_run_job(content: bytes, file: str, overrides: Sequence[str] = ()) -> Job:
    """Return the job of a run with some values changed.

    Where another choice is made (``optimizer.name``, ``policy.kind``), the options of the old one
    are left out, unless they are among the changes.

    Args:
        content: The bytes of the run's file.
        file: Its name, for messages.
        overrides: As for `cluster.load_job.load_job`.

    Raises:
        ConfigError: As for `cluster.load_job.load_job`.
    """
    draft = read_draft(content, file)
    override_run(draft, overrides)
    return checked_job(draft, file)


def override_run(draft: Draft, overrides: Sequence[str]) -> None:
    """Change values of a run's job; see `parse_run_job`.

    Args:
        draft: The job; changed.
        overrides: ``key.path=value`` each.
    """
    before = {keys: _chosen(draft, keys, section) for keys, section in _choices()}
    for text in overrides:
        override(draft, text)
    written = {text.partition("=")[0].strip() for text in overrides}
    for keys, section in _choices():
        if _chosen(draft, keys, section) != before[keys]:
            _forget_unread(draft, keys, section, written)


def forget(draft: Draft, keys: Keys) -> None:
    """Forget where the values at a path and below it were written."""
    for old in [one for one in draft.marks if one[: len(keys)] == keys]:
        del draft.marks[old]


def _choices(section: Any = Job, keys: Keys = ()) -> Iterator[tuple[Keys, type[ChoiceSection]]]:
    """Yield the sections whose options depend on a choice, with their paths."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and hasattr(kind, "model_fields"):
            if issubclass(kind, ChoiceSection):
                yield (*keys, name), kind
            yield from _choices(kind, (*keys, name))


def _section(draft: Draft, keys: Keys) -> dict[str, Any] | None:
    found: Any = draft.data
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _chosen(draft: Draft, keys: Keys, section: type[ChoiceSection]) -> object:
    found = _section(draft, keys)
    return None if found is None else found.get(section.choice)


def _forget_unread(
    draft: Draft, keys: Keys, section: type[ChoiceSection], written: set[str]
) -> None:
    """Leave out what the new choice does not read, unless it was asked for."""
    found, chosen = _section(draft, keys), _chosen(draft, keys, section)
    every = {name for table in section.reads.values() for name in table}
    read = section.reads.get(chosen, {}) if isinstance(chosen, str) else {}
    for name in every - set(read):
        path = ".".join(map(str, (*keys, name)))
        if found is not None and name in found and path not in written:
            del found[name]
            forget(draft, (*keys, name))
