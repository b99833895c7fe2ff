import json
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.checkpoint import (
    checkpoint_info,
    checkpoint_name,
    checkpoint_names,
    load_checkpoint,
    newest,
    save_checkpoint,
)
from absa.errors import CheckpointError
from absa.manifest import FileDigest, Manifest, digest, seal, unseal
from absa.state import StateTree
from absa.storage import LocalStorage

JOB = {"name": "digits", "seed": 0, "batch": {"initial": 64}}
ABOUT = {"lineage": 0, "best_metric": 0.5}
NAME = checkpoint_name(7)


@pytest.fixture(autouse=True, scope="module")
def _fast_disk() -> Iterator[None]:
    """Waiting for the disk proves nothing here and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "checkpoints")


def tree(seed: int = 0) -> StateTree:
    generator = torch.Generator().manual_seed(seed)
    return StateTree(
        {
            "model/weight": torch.randn(3, 4, generator=generator),
            "model/steps": torch.tensor(2**62 + 1),
            "optimizer/momentum": torch.randn(3, 4, generator=generator).bfloat16(),
            "iterates/x": torch.randn(2, generator=generator).to(torch.complex128),
        },
        {"lr": 0.1, "betas": (0.9, 0.999), "seen": 2**53 + 1, "worst": math.inf},
        {"iterates": "per_rank"},
    )


def part(folder: LocalStorage, name: str, which: str) -> Path:
    (path,) = (folder.path / name).glob(f"{which}*")
    return path


def test_a_state_tree_comes_back_bit_for_bit(folder: LocalStorage) -> None:
    saved = tree()
    info = save_checkpoint(folder, NAME, saved, JOB, ABOUT)
    loaded, job, about = load_checkpoint(folder, NAME)
    assert loaded.tensors.keys() == saved.tensors.keys()
    for name, tensor in saved.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)
    assert (loaded.values, loaded.kinds) == (saved.values, saved.kinds)
    assert (job, about) == (JOB, ABOUT)
    assert checkpoint_info(folder, NAME) == info
    assert info.num_bytes == sum(p.stat().st_size for p in (folder.path / NAME).glob("*-*"))


def test_loaded_tensors_can_be_changed(folder: LocalStorage) -> None:
    save_checkpoint(folder, NAME, tree(), JOB, ABOUT)
    load_checkpoint(folder, NAME)[0].tensors["model/weight"].add_(1)


def test_an_empty_tree_comes_back(folder: LocalStorage) -> None:
    save_checkpoint(folder, NAME, StateTree({}, {}), {}, {})
    assert load_checkpoint(folder, NAME) == (StateTree({}, {}), {}, {})


def test_checkpoints_are_ordered_by_lineage_then_update(folder: LocalStorage) -> None:
    names = [
        checkpoint_name(update, lineage)
        for update, lineage in [(900, 0), (1000, 0), (10**9, 0), (20, 1), (3, 2), (1, 10)]
    ]
    for name in reversed(names):
        save_checkpoint(folder, name, StateTree({}, {}), {}, {})
    (folder.path / "notes").mkdir()
    (folder.path / checkpoint_name(5, 99)).mkdir()
    assert checkpoint_names(folder) == names
    assert newest(folder) == "update-00000001-lineage10"


def test_nothing_was_saved_yet(folder: LocalStorage) -> None:
    assert checkpoint_names(folder) == []
    assert newest(folder) is None


def test_saving_under_the_same_name_replaces(folder: LocalStorage) -> None:
    save_checkpoint(folder, NAME, tree(0), JOB, ABOUT)
    save_checkpoint(folder, NAME, tree(1), JOB, {"again": True})
    loaded, _, about = load_checkpoint(folder, NAME)
    assert torch.equal(loaded.tensors["model/weight"], tree(1).tensors["model/weight"])
    assert about == {"again": True}
    assert len(os.listdir(folder.path / NAME)) == 4


@pytest.mark.parametrize("name", ["", "x", "../update-00000001", "update-1", "update-00000001/.."])
def test_only_names_that_sort_are_saved(folder: LocalStorage, name: str) -> None:
    with pytest.raises(CheckpointError, match="is no checkpoint's name"):
        save_checkpoint(folder, name, tree(), JOB, ABOUT)


@pytest.mark.parametrize("which", ["values", "job", "about", "tensors"])
def test_what_cannot_be_saved_leaves_no_checkpoint(folder: LocalStorage, which: str) -> None:
    values = {"x": object()} if which == "values" else {}
    tensors = {"x": torch.eye(2).to_sparse()} if which == "tensors" else {}
    job = {"x": b""} if which == "job" else {}
    about = {"x": {1, 2}} if which == "about" else {}
    with pytest.raises(CheckpointError, match=r"is a (object|bytes|set)|only dense"):
        save_checkpoint(folder, NAME, StateTree(tensors, values), job, about)
    assert checkpoint_names(folder) == []
    assert folder.child(NAME).entries() == {}


@settings(max_examples=150)
@given(data=st.data())
def test_every_changed_byte_is_noticed(tmp_path_factory, data) -> None:
    folder = LocalStorage(tmp_path_factory.getbasetemp() / "changed")
    if newest(folder) is None:
        save_checkpoint(folder, NAME, tree(), JOB, ABOUT)
    path = part(folder, NAME, data.draw(st.sampled_from(["tensors", "values", "job", "manifest"])))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != whole[at]))
    path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    try:
        # Only white space between the manifest's words may change: that changes no meaning.
        if path.name == "manifest.json" and {whole[at], byte} <= set(b" \t\r\n"):
            assert load_checkpoint(folder, NAME)[1:] == (JOB, ABOUT)
        else:
            with pytest.raises(CheckpointError, match=path.name):
                load_checkpoint(folder, NAME)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("which", ["tensors", "values", "job", "manifest"])
@pytest.mark.parametrize("change", ["missing", "empty", "truncated", "longer", "a folder"])
def test_a_file_that_is_not_what_was_saved_is_named(
    folder: LocalStorage, which: str, change: str
) -> None:
    save_checkpoint(folder, NAME, tree(), JOB, ABOUT)
    path = part(folder, NAME, which)
    whole = path.read_bytes()
    path.unlink()
    if change == "a folder":
        path.mkdir()
    elif change != "missing":
        path.write_bytes({"empty": b"", "truncated": whole[:-1], "longer": whole + b"\0"}[change])
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder, NAME)
    assert path.name in str(error.value)
    if which != "manifest":
        assert f"expected {len(whole)} bytes" in str(error.value)


def test_the_message_names_an_older_checkpoint(folder: LocalStorage) -> None:
    for update in (1, 2, 3):
        save_checkpoint(folder, checkpoint_name(update), tree(), JOB, ABOUT)
    for update in (1, 3):
        part(folder, checkpoint_name(update), "values").unlink()
    with pytest.raises(CheckpointError, match="Use an older one: update-00000002"):
        load_checkpoint(folder, "update-00000003")
    with pytest.raises(CheckpointError, match="Others there: update-00000002, update-00000003"):
        load_checkpoint(folder, "update-00000001")
    with pytest.raises(CheckpointError, match=r"has no manifest.json.*Use an older one: update"):
        load_checkpoint(folder, "update-00000009")
    with pytest.raises(CheckpointError, match="not the name of a file or folder"):
        load_checkpoint(folder, "../update-00000002")


def forge(folder: LocalStorage, files: dict[str, tuple[str, bytes]], **changes: object) -> None:
    """Write files and a manifest that fits them: what somebody who owns the storage can do."""
    here = folder.child(NAME)
    entries = {}
    for which, (name, data) in files.items():
        if "/" not in name:
            here.write(name, [data])
        entries[which] = FileDigest(name, len(data), digest(data))
    manifest = Manifest(entries, {}, {}, {}, 0.0)
    here.write("manifest.json", [seal(Manifest(**{**vars(manifest), **changes}))])


def good_files() -> dict[str, tuple[str, bytes]]:
    empty = (2).to_bytes(8, "little") + b"{}"
    return {
        "tensors": ("tensors-00000000.safetensors", empty),
        "values": ("values-00000000.json", b"{}"),
        "job": ("job-00000000.json", b"{}"),
    }


class Evil:
    def __reduce__(self):
        return (os.system, ("touch ran",))


def test_a_pickle_in_the_place_of_any_file_is_refused_and_does_not_run(
    folder: LocalStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    forge(folder, good_files())
    assert load_checkpoint(folder, NAME)[0] == StateTree({}, {})
    torch.save({"x": Evil()}, tmp_path / "archive")
    for which, (name, _) in good_files().items():
        for data in (pickle.dumps(Evil()), (tmp_path / "archive").read_bytes()):
            forge(folder, {**good_files(), which: (name, data)})
            with pytest.raises(CheckpointError, match=r"not a (safetensors file|JSON document)"):
                load_checkpoint(folder, NAME)
    folder.child(NAME).write("manifest.json", [pickle.dumps(Evil())])
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged"):
        load_checkpoint(folder, NAME)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "tensors-00000000.safetensors/../x", "x", "", 3]
)
def test_a_manifest_cannot_name_a_file_elsewhere(folder: LocalStorage, name: object) -> None:
    folder.write("secret", [b"{}"])
    forge(folder, {**good_files(), "values": ("values-00000000.json", b"{}")})
    manifest = unseal(folder.child(NAME).read("manifest.json"), "m")
    files = {**manifest.files, "values": FileDigest(name, 2, digest(b"{}"))}
    folder.child(NAME).write(
        "manifest.json", [seal(Manifest(**{**vars(manifest), "files": files}))]
    )
    with pytest.raises(CheckpointError, match=r"manifest.json (names|is damaged)"):
        load_checkpoint(folder, NAME)


def test_a_manifest_with_other_parts_is_refused(folder: LocalStorage) -> None:
    forge(folder, {**good_files(), "code": ("code-00000000.json", b"{}")})
    with pytest.raises(CheckpointError, match="names files no checkpoint has"):
        load_checkpoint(folder, NAME)
    forge(folder, {k: v for k, v in good_files().items() if k != "job"})
    with pytest.raises(CheckpointError, match="names None as its job"):
        load_checkpoint(folder, NAME)


@pytest.mark.parametrize("part_name", ["values", "job"])
def test_values_and_job_must_be_objects(folder: LocalStorage, part_name: str) -> None:
    forge(folder, {**good_files(), part_name: (f"{part_name}-00000000.json", b"[1]")})
    with pytest.raises(CheckpointError, match="must be JSON objects"):
        load_checkpoint(folder, NAME)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "has format version 2, this absa reads 1; use the version of absa that"),
        ({"format": "x"}, "is not the manifest of an absa checkpoint"),
        ({"about": {"best_metric": 1.0}}, "its SHA-256 is"),
        ({"sha256": None}, "expected None"),
    ],
)
def test_a_changed_manifest_is_refused(folder: LocalStorage, change: dict, says: str) -> None:
    save_checkpoint(folder, NAME, tree(), JOB, ABOUT)
    path = folder.path / NAME / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(CheckpointError, match=says):
        load_checkpoint(folder, NAME)


@pytest.mark.parametrize(
    "change",
    [
        {"files": []}, {"files": {"tensors": {"name": "x"}}}, {"kinds": 3}, {"seconds": "soon"},
        {"dtypes": [1]}, {"about": None}, {"files": {"tensors": 3}},
    ],
)  # fmt: skip
def test_a_sealed_manifest_of_another_shape_is_refused(change: dict) -> None:
    content = {"files": {}, "kinds": {}, "dtypes": {}, "about": {}, "seconds": 0.0, **change}
    content = {"format": "absa-checkpoint", "version": 1, **content}
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(CheckpointError, match="m is damaged"):
        unseal(json.dumps({**content, "sha256": digest(text)}).encode(), "m")


def test_a_huge_manifest_is_not_read(folder: LocalStorage) -> None:
    folder.child(NAME).write("manifest.json", [b""])
    os.truncate(folder.path / NAME / "manifest.json", 1 << 40)
    with pytest.raises(CheckpointError, match=f"it has {1 << 40} bytes"):
        load_checkpoint(folder, NAME)
