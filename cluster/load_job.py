"""From a job file and ``--set`` overrides to a checked `Job`, and back to YAML."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path

from absa.errors import ConfigError
from cluster.job import Job, Places, with_places
from cluster.job_overrides import override
from cluster.job_rules import broken_rules, render
from cluster.job_yaml import Draft, Finding, read_yaml, write_yaml
from cluster.show_value import Keys
from cluster.validate_section import validate

MAX_BYTES = 65_536
"""Of a job file: twenty times the commented default; bounds the time spent on a wrong file."""

DEFAULT_JOB = "default_job.yaml"


def load_job(path: Path | None, overrides: Sequence[str] = ()) -> Job:
    """Read, override and check a job.

    Args:
        path: A YAML file; None: the embedded default job, whose ``data`` and ``model`` give way
            to a task that an override names.
        overrides: Each ``a.b=value`` with the value in YAML; later ones win.

    Returns:
        The job as it is written, defaults that depend on other values still unset.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong: one message for each
            problem, with its place.
    """
    if path is not None:
        return parse_job(read_file(path), str(path), overrides)
    content = resources.files("cluster").joinpath(DEFAULT_JOB).read_bytes()
    draft = read_draft(content, DEFAULT_JOB)
    written = _override(draft, overrides)
    if draft.data.get("task") is not None:
        for section in {"data", "model"} - written:
            del draft.data[section]
    return checked_job(draft, DEFAULT_JOB)


def parse_job(content: bytes, file: str, overrides: Sequence[str] = ()) -> Job:
    """Do what `load_job` does with the content of a file that lies elsewhere.

    Args:
        content: The bytes of the file.
        file: Its name, for messages.
        overrides: As for `load_job`.

    Returns:
        The job.

    Raises:
        ConfigError: As for `load_job`.
    """
    draft = read_draft(content, file)
    _override(draft, overrides)
    return checked_job(draft, file)


def dump_job(job: Job) -> str:
    """Return the job as YAML that loads back to an equal job.

    Raises:
        ConfigError: A value is not plain data and has no YAML form.
    """
    try:
        return write_yaml(job.model_dump(mode="json"))
    except ValueError as error:
        raise ConfigError(f"the job cannot be written as YAML: {error}") from error


def read_file(path: Path) -> bytes:
    """Return the content of a job file.

    Raises:
        ConfigError: It cannot be read, or is far too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such job file{_neighbour(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: the job file cannot be read: {reason}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: a job file has at most {MAX_BYTES} bytes, this one has more")
    return content


def _neighbour(path: Path) -> str:
    try:
        names = [other.name for other in path.parent.iterdir() if other.suffix in (".yaml", ".yml")]
    except OSError:
        return f": the folder {path.parent} cannot be read"
    near = get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def read_draft(content: bytes, file: str) -> Draft:
    """Read a job file as far as its form goes.

    Args:
        content: The bytes of the file.
        file: Its name, for messages.

    Returns:
        What it says; its data is a dict.

    Raises:
        ConfigError: It is not one of keys with values.
    """
    draft = read_yaml(_decode(content, file), lambda line: f"{file}:{line}")
    del draft.marks[()]
    if draft.data is None and draft.findings:
        raise ConfigError(_one_block(draft.findings, file))
    if draft.data is None:
        raise ConfigError(f"{file}: empty: write at least one key, such as 'stop: {{epochs: 10}}'")
    if not isinstance(draft.data, dict):
        kind = "a list" if isinstance(draft.data, list) else "a single value"
        raise ConfigError(f"{file}:1: must be keys with values, such as 'seed: 1', but is {kind}")
    return draft


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ConfigError(
            f"{file}:{line}: not UTF-8 text (byte 0x{byte:02x}): save the job file as UTF-8"
        ) from None


def _override(draft: Draft, overrides: Sequence[str]) -> set[str | int]:
    """Write the overrides into the draft; return the keys at the top that they touch."""
    return {key for text in overrides for key in override(draft, text)[:1]}


def checked_job(draft: Draft, file: str) -> Job:
    """Return the job that a draft says, defaults that depend on other values still unset.

    Args:
        draft: Changed in place where a value is made good.
        file: Its name, for messages.

    Raises:
        ConfigError: Something in it is wrong: one message for each problem, with its place.
    """
    draft.data.setdefault("name", _name_of(file))
    job, findings = validate(Job, draft, file)
    if job is not None:
        marks = draft.marks.items()
        places = {".".join(map(str, keys)): mark.place for keys, mark in marks}
        job = with_places(job, Places(file, places))
        findings += _rules(job, [found.keys for found in findings])
    if job is None or findings:
        raise ConfigError(_one_block(findings, file))
    return job


def _name_of(file: str) -> str:
    """Return a run name for a job file without one: its own name."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(file).stem).lstrip("._-")
    return stem[:64] or "run"


def _rules(job: Job, refused: Sequence[Keys]) -> Iterator[Finding]:
    """Yield the broken rules that have nothing to do with values that are refused already."""
    for problem in broken_rules(job):
        paths = [_keys(path) for path in problem.paths]
        if not any(_overlap(keys, other) for keys in paths for other in refused if other):
            yield Finding(paths[0], render(job, problem))


def _keys(path: str) -> Keys:
    return tuple(int(key) if key.isdecimal() else key for key in path.split("."))


def _overlap(one: Keys, other: Keys) -> bool:
    """Return whether one of two values holds the other."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _one_block(findings: Iterable[Finding], file: str) -> str:
    """Return all messages in the order of the file, with a heading if there are several."""
    line = re.compile(re.escape(file) + r":(\d+): ")
    at = [(line.match(found.message), found.message) for found in findings]
    messages = [text for _, text in sorted(at, key=lambda m: int(m[0][1]) if m[0] else 1 << 31)]
    if len(messages) == 1:
        return messages[0]
    return "\n".join([f"{len(messages)} problems in the job", *(f"- {text}" for text in messages)])
