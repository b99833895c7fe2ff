"""From plain data with marks to a configuration section, with one message for each problem."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from json import dumps
from typing import Any, TypeVar

from pydantic import ValidationError

from absa.config import Section
from cluster.job_schema import Schema, allowed, keys_at, suggestion
from cluster.job_yaml import Draft, Finding
from cluster.show_value import Keys, show, show_path

S = TypeVar("S", bound=Section)

_WORDS = {"yes": True, "on": True, "no": False, "off": False}
"""What YAML 1.1 took for booleans; read as such only where a boolean must stand."""

_NO_FORM = ("union_tag_not_found", "union_tag_invalid")
"""Errors of a section that has several forms, chosen by one of its keys."""


def validate(model: type[S], draft: Draft, file: str) -> tuple[S | None, list[Finding]]:
    """Check data against a section and everything below it.

    Types are strict, with what the user plainly means made good: ``64.0`` for an integer, ``yes``
    for a boolean, an unquoted number for text, and a section left empty.

    Args:
        model: The section.
        draft: The data; the values that are made good are changed in place.
        file: Its file, for messages about what is not there.

    Returns:
        The section, without the values that are wrong (None if it cannot do without them), and
        a finding for each of these, those of the draft included.
    """
    section, errors = _attempt(model, draft.data)
    made_good = [_make_good(draft, error) for error in errors]
    if any(made_good):
        section, errors = _attempt(model, draft.data)
    if section is not None:
        return section, list(draft.findings)
    known = {found.keys for found in draft.findings}
    schema = model.model_json_schema()
    places = _Places(draft, file)
    findings: dict[Keys, Finding] = {}
    for error in errors:
        keys = _keys(draft.data, error)
        if keys not in known:
            findings.setdefault(keys, Finding(keys, _message(schema, places, keys, error)))
    rest, _ = _attempt(
        model, _without(draft.data, [_faulty(error, draft.data) for error in errors])
    )
    return rest, [*draft.findings, *findings.values()]


def _attempt(model: type[S], data: Any) -> tuple[S | None, list[Any]]:
    # Strict validation of JSON takes lists for tuples, which that of Python objects does not.
    try:
        return model.model_validate_json(dumps(data), strict=True), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _make_good(draft: Draft, error: Any) -> bool:
    """Replace a value whose meaning is plain although its type is wrong; say whether it was."""
    keys, value, kind = _keys(draft.data, error), error["input"], error["type"]
    mark = draft.marks.get(keys)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        meant: Any = int(value)
    elif kind == "bool_type" and isinstance(value, str) and value.lower() in _WORDS:
        meant = _WORDS[value.lower()]
    elif kind == "string_type" and number and mark is not None and mark.word is not None:
        meant = mark.word
    elif kind in ("model_type", "dict_type") and value is None and keys:
        meant = {}
    else:
        return False
    _inside(draft.data, keys[:-1])[keys[-1]] = meant
    return True


def _keys(data: Any, error: Any) -> Keys:
    """Return the path of an error in the data: pydantic's, without the names of union members."""
    keys: list[str | int] = []
    for step in error["loc"]:
        if (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        ):
            keys.append(step)
            data = data[step]
    if _lacks_key(error):
        keys.append(error["loc"][-1])
    if error["type"] in _NO_FORM:
        keys.append(error["ctx"]["discriminator"].strip("'"))
    return tuple(keys)


def _inside(data: Any, keys: Sequence[str | int]) -> Any:
    for key in keys:
        data = data[key]
    return data


def _faulty(error: Any, data: Any) -> Keys:
    """Return what to leave out so that the rest can be checked."""
    keys = _keys(data, error)
    return keys[:-1] if _lacks_key(error) or error["type"] in _NO_FORM else keys


def _lacks_key(error: Any) -> bool:
    """Return whether a section lacks a key; the items of a list that is too short are no keys."""
    return error["type"] == "missing" and isinstance(error["loc"][-1], str)


def _without(data: Any, paths: Sequence[Keys]) -> Any:
    rest = deepcopy(data)
    for keys in paths:
        parent = rest
        for key in keys[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if keys and isinstance(parent, dict):
            parent.pop(keys[-1], None)
    return rest


@dataclass(frozen=True)
class _Places:
    draft: Draft
    file: str

    def __call__(self, keys: Keys) -> str:
        for length in range(len(keys), -1, -1):
            mark = self.draft.marks.get(keys[:length])
            if mark is not None:
                return mark.place
        return self.file


def _message(schema: Schema, places: _Places, keys: Keys, error: Any) -> str:
    data, kind = places.draft.data, error["type"]
    where, path = places(keys), show_path(keys)
    if kind == "extra_forbidden":
        return f"{where}: {path}: {_unknown(schema, data, keys)}"
    if _lacks_key(error) or kind == "union_tag_not_found":
        return f"{where}: {path} is missing: it must be {allowed(schema, data, keys)}"
    value = _inside(data, keys)
    if kind in ("value_error", "assertion_error"):
        reason = str(error["ctx"]["error"])
        if isinstance(value, dict):
            return f"{places(_named(reason, value, keys))}: {path}: {reason}"
        return f"{where}: {path} = {show(value)}: {reason}"
    return f"{where}: {path} must be {allowed(schema, data, keys)}, not {show(value)}"


def _unknown(schema: Schema, data: Any, keys: Keys) -> str:
    section = keys[:-1]
    meant = suggestion(schema, data, keys)
    hint = f"; did you mean {meant}?" if meant else ""
    where = f"in {show_path(section)}" if section else "at the top"
    names = ", ".join(keys_at(schema, data, section))
    value = show(_inside(data, keys))
    return f"unknown key (value {value}){hint}\n    allowed {where}: {names}"


def _named(reason: str, section: Mapping[str, Any], keys: Keys) -> Keys:
    """Return the first key of a section that a reason names: its line says more."""
    named = [word for word in re.findall(r"\w+", reason) if word in section]
    return (*keys, *named[:1])
