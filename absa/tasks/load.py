"""Loads the task that a job names: ``package.module:Class`` and its keyword arguments."""

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from absa.errors import ConfigError, TaskError
from absa.task import Task

_METHODS = ("build_model", "datasets", "losses", "metrics")


def load_task(use: str, args: Mapping[str, Any]) -> Task:
    """Import a task's class, check its arguments and make the task.

    The working directory is searched after all installed packages, so nothing in it can stand in
    for one of them.

    Args:
        use: ``package.module:Class``, or any callable that returns a task.
        args: Its keyword arguments.

    Raises:
        ConfigError: It cannot be found, or the arguments do not fit its signature.
        TaskError: Its module cannot be imported, or what it returns is no task.
    """
    module_name, _, name = use.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise ConfigError(f"task.use is {use!r}; it must be of the form package.module:Class")
    module = _import(module_name, use)
    make = getattr(module, name, None)
    if not callable(make):
        origin = getattr(module, "__file__", None) or module_name
        raise ConfigError(
            f"task.use is {use!r}, but {origin} has no class {name}; its classes: "
            f"{', '.join(_own_classes(module)) or '(none)'}"
        )
    _check_arguments(make, args, use)
    return _as_task(make(**args), use)


def _import(module_name: str, use: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"task.use is {use!r}, but there is no module {error.name}; it must be installed "
                f"or lie in the working directory, {folder}"
            ) from error
        raise TaskError(_import_failed(module_name, use, error)) from error
    except (ImportError, SyntaxError) as error:
        raise TaskError(_import_failed(module_name, use, error)) from error


def _own_classes(module: ModuleType) -> list[str]:
    members = vars(module).items()
    return [n for n, v in members if inspect.isclass(v) and v.__module__ == module.__name__]


def _import_failed(module_name: str, use: str, error: Exception) -> str:
    where = f" ({error.filename}, line {error.lineno})" if isinstance(error, SyntaxError) else ""
    return f"task.use is {use!r}, but importing {module_name} failed: {error}{where}"


def _check_arguments(make: Callable[..., Any], args: Mapping[str, Any], use: str) -> None:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"task.use is {use!r}, whose arguments cannot be told ({error}); it must be a class or "
            "function written in Python"
        ) from error
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    allowed = [p.name for p in named]
    unknown = [] if takes_any else [key for key in args if key not in allowed]
    missing = [p.name for p in named if p.default is p.empty and p.name not in args]
    if unknown or missing:
        problems = [
            *(f"task.args.{key} is unknown" for key in unknown),
            *(f"task.args.{key} is missing" for key in missing),
        ]
        raise ConfigError(
            f"{', '.join(problems)}; arguments of {use}: {', '.join(map(str, named)) or '(none)'}"
        )


def _as_task(made: Any, use: str) -> Task:
    missing = [name for name in _METHODS if not callable(getattr(made, name, None))]
    if missing:
        raise TaskError(
            f"{use} lacks the methods {', '.join(missing)}; a task has "
            f"{', '.join(_METHODS)} (see absa.task.Task)"
        )
    task: Task = made
    return task
