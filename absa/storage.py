"""Where run folders lie: the seam, folders on a local path, and the choice between them by name."""

import errno
import os
import secrets
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from absa.errors import CheckpointError, ConfigError, InputError

Chunk = bytes | bytearray | memoryview


class Storage(Protocol):
    """One folder; names are single path elements, a failure is a `CheckpointError` saying why."""

    @property
    def location(self) -> str:
        """The folder's path or URL, as `open_storage` takes it."""
        ...

    def create(self) -> bool:
        """Create the folder; False when it is there already. Raises `ConfigError`."""
        ...

    def child(self, name: str) -> "Storage":
        """Return the folder ``name`` in this one, whether it exists or not."""
        ...

    def entries(self) -> dict[str, int | None]:
        """Return what lies here: name -> size [bytes], None for a folder. Empty when missing."""
        ...

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        ...

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        """Write a file that appears whole or not at all, and create folders as needed."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all it holds; nothing happens when it is missing."""
        ...


def open_storage(location: str) -> Storage:
    """Open a place for run folders; nothing is created.

    Args:
        location: A local path, ``file:///path``, ``s3://bucket/path`` or ``gs://bucket/path``. The
            query of a URL goes to pyarrow: ``s3://bucket/runs?endpoint_override=http://host:9000``.

    Raises:
        ConfigError: The scheme is unknown, or the place cannot be reached.
    """
    scheme, separator, _ = location.partition("://")
    if not separator and location.strip():
        return LocalStorage(Path(location).expanduser().absolute())
    if scheme == "file" and urlsplit(location).path not in ("", "/"):
        return LocalStorage(Path(unquote(urlsplit(location).path)).absolute())
    if scheme in ("s3", "gs"):
        # Only object stores need pyarrow: a machine without it still trains into a local folder.
        from absa.object_storage import open_object_storage

        return open_object_storage(location)
    raise ConfigError(
        f"storage: {location!r} is no place for runs; "
        "give a local path, s3://bucket/path or gs://bucket/path"
    )


@dataclass(frozen=True)
class LocalStorage:
    """A folder on a local or shared file system."""

    path: Path

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return str(self.path)

    def create(self) -> bool:
        """Create the folder; of several processes that try, exactly one gets True."""
        with explained("create the folder", self.location, ConfigError):
            _make_folder(self.path.parent)
            try:
                self.path.mkdir()
            except FileExistsError:
                return False
            _sync_folder(self.path.parent)
        return True

    def child(self, name: str) -> "LocalStorage":
        """Return the folder ``name`` in this one."""
        return LocalStorage(self.path / plain_name(name))

    def entries(self) -> dict[str, int | None]:
        """Return name -> size; files that are still being written are hidden."""
        with explained("list the folder", self.location):
            try:
                found = list(os.scandir(self.path))
            except FileNotFoundError:
                return {}
            sizes = {e.name: None if e.is_dir() else _size(e) for e in found if e.name[0] != "."}
        return dict(sorted(sizes.items()))

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        path = self.path / plain_name(name)
        with explained("read", str(path)):
            return path.read_bytes()

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        """Write beside the target, fsync, rename: a power cut leaves the old or the new file."""
        path = self.path / plain_name(name)
        hidden = self.path / f".{name}.{secrets.token_hex(4)}.tmp"
        with explained("write", str(path)):
            _make_folder(self.path)
            try:
                with open(hidden, "xb", buffering=0) as file:
                    for chunk in chunks:
                        _write_all(file.fileno(), chunk)
                    os.fsync(file.fileno())
                os.replace(hidden, path)
            except BaseException:
                with suppress(OSError):
                    hidden.unlink()
                raise
            _sync_folder(self.path)

    def remove(self, name: str) -> None:
        """Remove a file or a folder; a link is removed, never followed."""
        path = self.path / plain_name(name)
        with explained("remove", str(path)):
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            except FileNotFoundError:
                return
            _sync_folder(self.path)


def plain_name(name: str) -> str:
    """Return ``name`` if it is one path element that cannot lead out of its folder.

    Raises:
        CheckpointError: It is empty, hidden, or has a separator.
    """
    if not name or name[0] == "." or any(c in name for c in "/\\\0:"):
        raise CheckpointError(f"{name!r} is not the name of a file or folder inside a run folder")
    return name


@contextmanager
def explained(
    doing: str, location: str, error: type[InputError] = CheckpointError
) -> Iterator[None]:
    """Turn an `OSError` of the body into ``error``: what failed, where, why and what to do."""
    try:
        yield
    except OSError as cause:
        # Object stores pack pages of retry history into their messages.
        text = textwrap.shorten(str(cause), 300, placeholder=" ...")
        reason = cause.strerror or text or type(cause).__name__
        raise error(f"cannot {doing} {location}: {reason}{_advice(cause)}") from cause


def _advice(cause: OSError) -> str:
    if cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "; free some space, or lower checkpoint.keep_last"
    if cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return "; set storage to a folder that this user may write"
    if "NO_SUCH_BUCKET" in str(cause) or "Bucket" in str(cause):
        return "; create the bucket first, or correct storage"
    if "ACCESS_DENIED" in str(cause):
        return "; check the credentials and what they are allowed to do"
    return ""


def _size(entry: os.DirEntry[str]) -> int:
    # A file that a rename or a removal takes away meanwhile, or a dangling link, has no content.
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


def _write_all(descriptor: int, chunk: Chunk) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    # A rename is durable only once its folder is; Windows cannot open folders and needs it not.
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
