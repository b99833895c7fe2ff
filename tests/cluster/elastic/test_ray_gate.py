import importlib
import re

import pytest
import ray

from cluster.elastic.ray_gate import SETS, changed, supported


class Group:
    """As it might be after an update of Ray."""

    size: int

    def __init__(self) -> None:
        self._workers: list[int] = []

    def poll(self, timeout_s: float) -> None: ...


def test_every_private_member_is_as_expected_in_this_ray():
    private = importlib.import_module("cluster.elastic.raytrain").PRIVATE

    assert list(changed(private)) == []


def test_this_ray_is_supported():
    assert supported() is None


def test_another_release_is_not_supported(monkeypatch):
    monkeypatch.setattr(ray, "__version__", "2.600.1")

    assert re.search(r"this is Ray 2\.600\.1, .* Ray 2\.60$", supported() or "")


@pytest.mark.parametrize(
    ("member", "found"),
    [
        ((Group, "poll", "self timeout_s"), []),
        ((Group, "size", ""), []),
        ((Group.__init__, SETS, "_workers"), []),
        (
            (Group, "poll", "self timeout"),
            ["Group.poll takes (self timeout_s), not (self timeout)"],
        ),
        ((Group, "_poll", "self"), ["there is no Group._poll"]),
        ((Group.__init__, SETS, "_workers _ranks"), ["Group.__init__ sets no _ranks"]),
    ],
)
def test_a_changed_member_is_named(member, found):
    assert list(changed([member])) == found
