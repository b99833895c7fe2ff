"""Saving a state tree and getting it back: a folder of safetensors, JSON and a manifest.

A checkpoint exists when its manifest exists. That is written last, so a save that was cut off
leaves no checkpoint, and nothing is parsed before its size and digest have been compared with the
manifest.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from absa.errors import CheckpointError
from absa.exact_json import dump_exact, load_exact
from absa.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, FileDigest, Manifest, digest
from absa.manifest import seal as seal_manifest
from absa.manifest import unseal as unseal_manifest
from absa.state import Json, StateTree
from absa.storage import Chunk, Storage
from absa.tensor_file import as_writable, from_written, read_tensors, tensor_chunks

_SUFFIXES = {"tensors": "safetensors", "values": "json", "job": "json"}
_NAME = re.compile(r"update-(\d{8,})(?:-lineage(\d+))?")


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint that exists.

    Args:
        name: Its folder.
        num_bytes: The size of all its files but the manifest.
        seconds: How long they took to write.
        about: What was said about it when it was saved.
    """

    name: str
    num_bytes: int
    seconds: float
    about: Mapping[str, Json]


def checkpoint_name(update: int, lineage: int = 0) -> str:
    """Return ``update-00001234``, and after a restart ``update-00001234-lineage1``.

    The lineage keeps a resumed run from writing over what the first history left at that update.
    """
    return f"update-{update:08d}" + (f"-lineage{lineage}" if lineage else "")


def freely() -> None:
    """Let it exist: nobody else writes here."""


def save_checkpoint(
    folder: Storage,
    name: str,
    tree: StateTree,
    job: Mapping[str, Any],
    about: Mapping[str, Json],
    permit: Callable[[], None] = freely,
) -> CheckpointInfo:
    """Write a checkpoint; one of the same name is replaced only once the new one is whole.

    Args:
        folder: The run's ``checkpoints``.
        name: As `checkpoint_name` makes it.
        tree: Must not change meanwhile (`clone_to_host`). Memory layout and sharing are not kept.
        job: The resolved job.
        about: Small facts; ``best_metric`` (higher is better) is what `best` goes by.
        permit: Called once all is written and before the checkpoint exists; raises if it must not.

    Raises:
        CheckpointError: Something cannot be written; there is no new checkpoint then, and an
            earlier one of that name is as it was.
    """
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"{name!r} is no checkpoint's name; use checkpoint_name()")
    begun = time.monotonic()
    tensors, dtypes = as_writable(tree.tensors)
    contents: dict[str, Iterable[Chunk]] = {
        "tensors": tensor_chunks(tensors, {}),
        "values": [dump_exact(dict(tree.values))],
        "job": [dump_exact(dict(job))],
    }
    here = folder.child(name)
    # New names beside those of an earlier checkpoint: the manifest's write switches over at once.
    token = secrets.token_hex(4)
    try:
        files = {
            part: _write(here, f"{part}-{token}.{_SUFFIXES[part]}", chunks)
            for part, chunks in contents.items()
        }
        seconds = time.monotonic() - begun
        manifest = Manifest(files, dict(tree.kinds), dtypes, dict(about), seconds)
        permit()
        here.write(MANIFEST_FILE, [seal_manifest(manifest)])
    except BaseException:
        _clean(here, token)
        raise
    _clean(here, token)
    return _info(name, manifest)


def load_checkpoint(
    folder: Storage, name: str
) -> tuple[StateTree, dict[str, Any], dict[str, Json]]:
    """Read a checkpoint whose every byte is what was saved.

    Args:
        folder: The run's ``checkpoints``.
        name: Which one.

    Returns:
        The tree, with tensors on the host; the resolved job; and what was said about it.

    Raises:
        CheckpointError: It is missing, damaged or of an unknown version; the message names the
            file, what was expected and an older checkpoint.
    """
    try:
        here = folder.child(name)
        manifest = read_manifest(folder, name)
        data = {part: _verified(here, file) for part, file in manifest.files.items()}
        tensors = from_written(read_tensors(data.pop("tensors")), manifest.dtypes)
        values, job = load_exact(data["values"]), load_exact(data["job"])
        if not isinstance(values, dict) or not isinstance(job, dict):
            raise CheckpointError(f"{here.location}: values and job must be JSON objects")
    except CheckpointError as cause:
        raise CheckpointError(f"checkpoint {name}: {cause}{_instead(folder, name)}") from cause
    return StateTree(tensors, values, dict(manifest.kinds)), job, dict(manifest.about)


def read_manifest(folder: Storage, name: str) -> Manifest:
    """Read what a checkpoint consists of, and check that every file is there in its full size.

    Raises:
        CheckpointError: The manifest is missing or damaged, or a file is missing or of another
            size.
    """
    here = folder.child(name)
    sizes = here.entries()
    size = sizes.get(MANIFEST_FILE)
    if size is None:
        raise CheckpointError(
            f"{here.location} has no {MANIFEST_FILE}: it was never completed, or was removed"
        )
    if size > MAX_MANIFEST_BYTES:
        raise CheckpointError(f"{here.location}/{MANIFEST_FILE} is damaged: it has {size} bytes")
    manifest = unseal_manifest(here.read(MANIFEST_FILE), f"{here.location}/{MANIFEST_FILE}")
    for part, suffix in _SUFFIXES.items():
        file = manifest.files.get(part)
        if file is None or not re.fullmatch(rf"{part}-[0-9a-f]{{8}}\.{suffix}", file.name):
            found = None if file is None else file.name
            raise CheckpointError(f"{here.location}/{MANIFEST_FILE} names {found!r} as its {part}")
        if sizes.get(file.name) != file.num_bytes:
            got = "missing" if sizes.get(file.name) is None else f"{sizes[file.name]} bytes"
            raise CheckpointError(
                f"{here.location}/{file.name} is {got}, expected {file.num_bytes} bytes"
            )
    if len(manifest.files) != len(_SUFFIXES):
        raise CheckpointError(f"{here.location}/{MANIFEST_FILE} names files no checkpoint has")
    return manifest


def checkpoint_info(folder: Storage, name: str) -> CheckpointInfo:
    """Return what a checkpoint's manifest says; the content is not read.

    Raises:
        CheckpointError: As `read_manifest`.
    """
    return _info(name, read_manifest(folder, name))


def checkpoint_names(folder: Storage) -> list[str]:
    """Return the checkpoints that exist, the oldest first: by lineage, then by update."""
    return [n for n in folders(folder) if MANIFEST_FILE in folder.child(n).entries()]


def folders(folder: Storage) -> list[str]:
    """Return the folders named like checkpoints, complete or not, the oldest first."""
    names = [name for name, size in folder.entries().items() if size is None]
    return sorted((name for name in names if _NAME.fullmatch(name)), key=_order)


def newest(folder: Storage) -> str | None:
    """Return the checkpoint that was saved last, or None; it may be damaged, loading says so."""
    names = checkpoint_names(folder)
    return names[-1] if names else None


def _write(here: Storage, name: str, chunks: Iterable[Chunk]) -> FileDigest:
    running = hashlib.sha256()
    num_bytes = 0

    def passing() -> Iterator[Chunk]:
        nonlocal num_bytes
        for chunk in chunks:
            running.update(chunk)
            num_bytes += len(chunk)
            yield chunk

    here.write(name, passing())
    return FileDigest(name, num_bytes, running.hexdigest())


def _verified(here: Storage, file: FileDigest) -> bytes:
    data = here.read(file.name)
    if digest(data) != file.sha256:
        raise CheckpointError(
            f"{here.location}/{file.name} is damaged: its SHA-256 is {digest(data)}, "
            f"expected {file.sha256}"
        )
    return data


def _info(name: str, manifest: Manifest) -> CheckpointInfo:
    num_bytes = sum(file.num_bytes for file in manifest.files.values())
    return CheckpointInfo(name, num_bytes, manifest.seconds, manifest.about)


def _clean(here: Storage, token: str) -> None:
    """Remove the files that the manifest there does not name.

    A failed save asks the manifest too: its write may have come through and only the answer not.
    A file that no manifest names does no harm, so failing to remove it is no failure.
    """
    with suppress(CheckpointError):
        found = here.entries()
        switched = MANIFEST_FILE in found and token.encode() in here.read(MANIFEST_FILE)
        for name in found:
            if name != MANIFEST_FILE and (token in name) != switched:
                here.remove(name)


def _order(name: str) -> tuple[int, int]:
    match = _NAME.fullmatch(name)
    assert match is not None
    return int(match[2] or 0), int(match[1])


def _instead(folder: Storage, name: str) -> str:
    try:
        names = checkpoint_names(folder)
    except CheckpointError:
        return ""
    older = [n for n in names if not _NAME.fullmatch(name) or _order(n) < _order(name)]
    if older:
        return f". Use an older one: {older[-1]}"
    others = [n for n in names if n != name]
    return f". Others there: {', '.join(others)}" if others else ". There is no other one"
