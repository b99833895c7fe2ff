"""Callables that a job names as ``package.module:name``, their arguments checked."""

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

from absa.errors import ConfigError


def load_callable(reference: str, *, key: str) -> Callable[..., Any]:
    """Import what ``reference`` names.

    Args:
        reference: ``package.module:name``; the name may have dots.
        key: Where the reference stands in the job, for messages.

    Raises:
        ConfigError: It is no such reference, the module or the name in it is missing, or what it
            names cannot be called. An error inside the module itself is not caught.
    """
    module_name, _, name = reference.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *name.split(".")]):
        raise ConfigError(
            f"{key}: {reference!r} does not name a callable; write it as package.module:callable"
        )
    found: Any = _import(module_name, reference, key=key)
    for part in name.split("."):
        if not hasattr(found, part):
            public = [n for n in vars(found) if not n.startswith("_")]
            raise ConfigError(
                f"{key}: {reference!r}: no {part!r} in it{did_you_mean(part, public)}"
            )
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(
            f"{key}: {reference!r} is a {type(found).__name__}, which cannot be called"
        )
    function: Callable[..., Any] = found
    return function


def _import(module_name: str, reference: str, *, key: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if not (module_name == missing or module_name.startswith(f"{missing}.")):
            raise ConfigError(
                f"{key}: {reference!r} imports {missing!r}, which is not installed"
            ) from error
        raise ConfigError(
            f"{key}: {reference!r}: no module named {missing!r}; it must be installed or lie in a "
            "folder on PYTHONPATH"
        ) from error


def check_arguments(
    function: Callable[..., Any],
    args: Mapping[str, Any],
    *,
    key: str,
    given: Collection[str] = (),
) -> None:
    """Check the names of keyword arguments against a signature.

    Args:
        function: What will be called. One without a signature (written in C) is not checked.
        args: The job's keyword arguments for it.
        key: Where they stand in the job, for messages.
        given: Arguments that the caller adds: neither missing nor free to set.

    Raises:
        ConfigError: An argument is unknown, given already, positional only, or missing.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    allowed = [p.name for p in named if p.name not in given]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    listing = f"allowed: {', '.join(allowed) or 'none'}"
    for name in args:
        if name in given or (name not in allowed and not takes_any):
            raise ConfigError(
                f"{key}.{name}: no such argument{did_you_mean(name, allowed)}; {listing}"
            )
    missing = [p.name for p in named if p.default is p.empty and p.name not in {*args, *given}]
    missing += [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    if missing:
        raise ConfigError(f"{key}: missing {', '.join(missing)}; {listing}")


def did_you_mean(word: str, allowed: Collection[str]) -> str:
    """Return the end of a message that names the closest of ``allowed``, or nothing."""
    close = get_close_matches(word, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
