import pytest

from cluster.views.note import describe


def decision(**changes):
    kept = {"global_batch": [64, 64], "lr_scale": [1.0, 1.0], "adversarial_ratio": [0.0, 0.0]}
    said = {"event": "decision", "rule": "keep", "reason": "why", "limited_by": []}
    return {**said, **kept, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"global_batch": [64, 128], "lr_scale": [1.0, 2.0]}, "batch 64 → 128, learning rate x 2"),
        ({"lr_scale": [2.0, 1.5]}, "learning rate x 0.75"),
        ({"adversarial_ratio": [0.2, 0.1]}, "share perturbed 20.00 % → 10.00 %"),
    ],
)
def test_a_change_is_said_with_its_reason(changes, words):
    assert describe(decision(**changes)).text == f"{words}: why"


def test_what_bounded_it_is_said_too():
    found = describe(decision(global_batch=[64, 96], limited_by=["the largest batch is 96"]))
    assert found.text == "batch 64 → 96: why; the largest batch is 96"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rule": "rate", "lr_scale": [1.0, 1.1]},
        {"global_batch": None},
        {"lr_scale": [1.0]},
        {"global_batch": ["a", "b"]},
    ],
)
def test_what_is_kept_is_no_note(changes):
    assert describe(decision(**changes)) is None


def test_a_damaged_record_does_not_break_the_view():
    found = describe(decision(lr_scale=[0, 1], limited_by="x", reason=None))
    assert found.text == "learning rate: keep"
