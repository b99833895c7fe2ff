"""Run folders in an object store: ``s3://`` and ``gs://``, by pyarrow's file systems."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from absa.errors import ConfigError
from absa.storage import Chunk, explained, plain_name

GCS_RETRY_LIMIT_S = 30
"""pyarrow retries Google's store for 15 minutes, far longer than anybody waits for a message."""


@dataclass(frozen=True)
class ObjectStorage:
    """A prefix in a bucket.

    An object appears when its upload completes. An upload that was killed leaves invisible parts:
    a lifecycle rule of the bucket should remove incomplete uploads.

    Args:
        filesystem: A ``pyarrow.fs.FileSystem``.
        path: Bucket and prefix as the file system takes them, without a slash at the end.
        url: The same as a URL.
        query: What follows ``?`` in the URL.
    """

    filesystem: Any
    path: str
    url: str
    query: str = ""

    @property
    def location(self) -> str:
        """The URL of the prefix."""
        return f"{self.url}?{self.query}" if self.query else self.url

    def create(self) -> bool:
        """Write the prefix's marker, which also proves that the bucket is there and writable."""
        with explained("create the folder", self.location, ConfigError):
            if self._selected():
                return False
            self.filesystem.create_dir(self.path, recursive=True)
        return True

    def child(self, name: str) -> "ObjectStorage":
        """Return the prefix ``name`` under this one."""
        path, url = f"{self.path}/{plain_name(name)}", f"{self.url}/{name}"
        return ObjectStorage(self.filesystem, path, url, self.query)

    def entries(self) -> dict[str, int | None]:
        """Return name -> size, None for a prefix."""
        with explained("list the folder", self.location):
            found = self._selected()
        return {info.base_name: info.size if info.is_file else None for info in found}

    def read(self, name: str) -> bytes:
        """Return the content of an object."""
        path = f"{self.path}/{plain_name(name)}"
        with explained("read", f"{self.url}/{name}"):
            with self.filesystem.open_input_stream(path) as stream:
                data: bytes = stream.read()
            return data

    def write(self, name: str, chunks: Iterable[Chunk]) -> None:
        """Upload an object, in parts as the chunks come."""
        path = f"{self.path}/{plain_name(name)}"
        with explained("write", f"{self.url}/{name}"):
            stream = self.filesystem.open_output_stream(path)
            try:
                for chunk in chunks:
                    stream.write(chunk)
            except BaseException:
                # pyarrow cannot abort an upload: closing completes it, so what it left is removed.
                with suppress(OSError):
                    stream.close()
                    self.filesystem.delete_file(path)
                raise
            stream.close()

    def remove(self, name: str) -> None:
        """Remove an object, or everything under a prefix."""
        path = f"{self.path}/{plain_name(name)}"
        with explained("remove", f"{self.url}/{name}"), suppress(FileNotFoundError):
            info = self.filesystem.get_file_info(path)
            if info.is_file:
                self.filesystem.delete_file(path)
            else:
                self.filesystem.delete_dir(path)

    def _selected(self) -> list[Any]:
        from pyarrow.fs import FileSelector

        found = self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True))
        return sorted(found, key=lambda info: str(info.base_name))


def open_object_storage(url: str) -> ObjectStorage:
    """Open ``s3://bucket/path?query`` or ``gs://bucket/path?query``; nothing is created.

    Credentials and the endpoint come from where the stores' own tools look (AWS_ACCESS_KEY_ID,
    AWS_ENDPOINT_URL, a profile, the machine's role, GOOGLE_APPLICATION_CREDENTIALS).

    Raises:
        ConfigError: The URL holds a secret or no bucket, pyarrow lacks, or the store cannot be
            reached.
    """
    parts = urlsplit(url)
    if parts.password is not None:
        raise ConfigError(
            f"storage: {parts.scheme}://...@{parts.hostname}: a key in the URL would be stored in "
            "every run folder; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    if not parts.netloc:
        raise ConfigError(f"storage: {url!r} names no bucket; write {parts.scheme}://bucket/path")
    try:
        from pyarrow.fs import FileSystem
    except ImportError as cause:
        raise ConfigError(f"storage: {url!r} needs pyarrow; pip install pyarrow") from cause
    root = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    try:
        with explained("open", url, ConfigError):
            filesystem, path = FileSystem.from_uri(f"{root}{_options(parts)}")
    except ValueError as cause:
        raise ConfigError(f"storage: {url!r} is not understood: {cause}") from cause
    return ObjectStorage(filesystem, path.rstrip("/"), root, parts.query)


def _options(parts: SplitResult) -> str:
    options = [parts.query] if parts.query else []
    if parts.scheme == "gs" and "retry_limit_seconds=" not in parts.query:
        options.append(f"retry_limit_seconds={GCS_RETRY_LIMIT_S}")
    return f"?{'&'.join(options)}" if options else ""
