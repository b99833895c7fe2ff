"""``--set a.b=c``: one value of a job written on the command line."""

from typing import Any

from cluster.job_yaml import MAX_DEPTH, Draft, Finding, Mark, read_yaml
from cluster.show_value import Keys, shorten


def override(draft: Draft, text: str) -> Keys:
    """Write one value into the draft; whether its key exists is checked with all others.

    Args:
        draft: Changed in place; its data is a dict. What is wrong is added to its findings.
        text: ``a.b=value``, the value in YAML.

    Returns:
        The keys that it sets; empty if it cannot be read.
    """
    place = f"--set {shorten(text)}"
    path, equals, value_text = text.partition("=")
    keys: Keys = tuple(path.strip().split("."))
    if not equals or not all(keys) or len(keys) > MAX_DEPTH:
        message = f"{place}: must be key.path=value, such as batch.initial=64"
        draft.findings.append(Finding((), message))
        return ()
    section = _section(draft, keys[:-1], place)
    if section is None:
        draft.findings.append(Finding(keys, f"{place}: {path} lies in a value that has no keys"))
        return ()
    _forget(draft, keys)
    value = read_yaml(value_text, lambda _: place, keys)
    section[keys[-1]] = value.data
    draft.marks |= value.marks
    draft.findings += value.findings
    return keys


def _section(draft: Draft, keys: Keys, place: str) -> dict[Any, Any] | None:
    """Return the mapping at a path, made where there is none."""
    section = draft.data
    for length, key in enumerate(keys, start=1):
        if section.get(key) is None:
            section[key] = {}
            draft.marks[keys[:length]] = Mark(place)
        section = section[key]
        if not isinstance(section, dict):
            return None
    return section  # type: ignore[no-any-return]


def _forget(draft: Draft, keys: Keys) -> None:
    """Drop what is known of a value that is about to be replaced."""
    for old in [other for other in draft.marks if other[: len(keys)] == keys]:
        del draft.marks[old]
    draft.findings[:] = [found for found in draft.findings if found.keys[: len(keys)] != keys]
