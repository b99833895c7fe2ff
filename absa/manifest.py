"""The manifest of a checkpoint: what belongs to it, with digests, sealed by a digest of its own.

It guards against damage and mix-ups, not against somebody who can write the storage: they can seal
a manifest too. What protects from them is that nothing read here can run code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from absa.errors import CheckpointError
from absa.exact_json import dump_exact, load_exact
from absa.state import Json

FORMAT = "absa-checkpoint"
VERSION = 1
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20
"""A manifest is a few kilobytes; a file beyond this is none and is not read."""


@dataclass(frozen=True)
class FileDigest:
    """What a file must be: its name, its size and the SHA-256 of its content in hex."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything about a checkpoint but its content.

    Args:
        files: What each part is in: part -> file.
        kinds: The `StateTree`'s kinds.
        dtypes: Tensors that are written as bytes, with their dtype.
        about: What the caller says about this checkpoint.
        seconds: How long the files took to write.
    """

    files: Mapping[str, FileDigest]
    kinds: Mapping[str, Any]
    dtypes: Mapping[str, str]
    about: Mapping[str, Json]
    seconds: float


def seal(manifest: Manifest) -> bytes:
    """Return the manifest as a JSON document that carries a digest of itself."""
    content = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    return json.dumps({**_plain(content), "sha256": _digest(content)}, indent=1).encode()


def unseal(data: bytes, location: str) -> Manifest:
    """Read a manifest after checking its format and its digest.

    Args:
        data: The file's content.
        location: Where it lies, for the messages.

    Raises:
        CheckpointError: It is damaged, of another version, or says what no manifest says.
    """
    try:
        content = load_exact(data)
    except CheckpointError as cause:
        raise CheckpointError(f"{location} is damaged: {cause}") from cause
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{location} is not the manifest of an absa checkpoint")
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{location} has format version {content.get('version')!r}, this absa reads {VERSION}; "
            "use the version of absa that wrote it"
        )
    expected, got = content.pop("sha256", None), _digest(content)
    if expected != got:
        raise CheckpointError(f"{location} is damaged: its SHA-256 is {got}, expected {expected}")
    return _checked(content, location)


def digest(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    return digest(json.dumps(_plain(content), sort_keys=True, separators=(",", ":")).encode())


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(dump_exact(content))
    return plain


def _checked(content: dict[str, Any], location: str) -> Manifest:
    try:
        files = {part: FileDigest(**entry) for part, entry in content["files"].items()}
        manifest = Manifest(
            files=files,
            kinds=dict(content["kinds"]),
            dtypes=dict(content["dtypes"]),
            about=dict(content["about"]),
            seconds=float(content["seconds"]),
        )
        well_formed = all(
            type(f.name) is str and type(f.num_bytes) is int and type(f.sha256) is str
            for f in files.values()
        )
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise CheckpointError(f"{location} is damaged: {cause!r}") from cause
    if not well_formed:
        raise CheckpointError(f"{location} is damaged: a file's name, size or digest is missing")
    return manifest
