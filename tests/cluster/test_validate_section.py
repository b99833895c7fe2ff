from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import Field, field_validator, model_validator

from absa.config import Section
from cluster.job_overrides import override
from cluster.job_yaml import read_yaml
from cluster.validate_section import validate


class Steps(Section):
    kind: Literal["steps"] = "steps"
    epochs: tuple[float, ...] = ()


class Cosine(Section):
    kind: Literal["cosine"] = "cosine"
    end: float = Field(0.0, ge=0, lt=1)


class Node(Section):
    weight: int
    name: str = "n"

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 3:
            raise ValueError("must have at most 3 letters")
        return name


class Limits(Section):
    low: int = 0
    high: int = 9

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low = {self.low} is above high = {self.high}")
        return self


class Tree(Section):
    decay: Annotated[Steps | Cosine, Field(discriminator="kind")] = Cosine()
    batch: int | Literal["auto"] = "auto"
    nodes: list[Node] = Field(default_factory=list)
    named: dict[str, Node] = Field(default_factory=dict)
    limits: Limits = Limits()
    point: tuple[int, int] | None = None
    flag: bool = False
    count: int = Field(1, gt=0, le=8)
    label: str = "x"
    extra: dict[str, Any] = Field(default_factory=dict)


def check(text: str, *overrides: str) -> tuple[Tree | None, list[str]]:
    draft = read_yaml(text, lambda line: f"f:{line}")
    for each in overrides:
        override(draft, each)
    tree, findings = validate(Tree, draft, "f")
    return tree, [found.message for found in findings]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("count: 4.0", "count", 4),
        ("count: 5e0", "count", 5),
        ("flag: yes", "flag", True),
        ("flag: OFF", "flag", False),
        ("label: 2024", "label", "2024"),
        ("label: 1e3", "label", "1e3"),
        ("label: 1.50", "label", "1.50"),
        ("limits:", "limits", Limits()),
        ("extra:", "extra", {}),
        ("point: [1, 2]", "point", (1, 2)),
        ("decay: {kind: steps, epochs: [1, 2.5]}", "decay", Steps(epochs=(1, 2.5))),
        ("extra: {a: 1.0, b: no}", "extra", {"a": 1.0, "b": "no"}),
    ],
)
def test_what_is_plainly_meant_is_taken(text, name, value):
    tree, messages = check(text)

    assert not messages
    assert repr(getattr(tree, name)) == repr(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count: true", "f:1: count must be an integer greater than 0 and at most 8, not true"),
        ("count: 2.5", "f:1: count must be an integer greater than 0 and at most 8, not 2.5"),
        ("count: '4'", 'f:1: count must be an integer greater than 0 and at most 8, not "4"'),
        ("count: 9", "f:1: count must be an integer greater than 0 and at most 8, not 9"),
        ("count:", "f:1: count must be an integer greater than 0 and at most 8, not nothing"),
        ("flag: 1", "f:1: flag must be true or false, not 1"),
        ("label: true", "f:1: label must be text, not true"),
        ("limits: 3", "f:1: limits must be a section with the keys low, high, not 3"),
        ("point: [1]", "f:1: point must be a list of 2 items: an integer or null, not [1]"),
        ("point: [1, x]", 'f:1: point.1 must be an integer, not "x"'),
        ("decay: {kind: steps, epochs: 3}", "f:1: decay.epochs must be a list: a number, not 3"),
        ("batch: many", 'f:1: batch must be an integer or auto, not "many"'),
        ("named: [1]", "f:1: named must be a mapping (key: value), not [1]"),
        ("nodes:\n- {weight: 1}\n- {}", "f:3: nodes.1.weight is missing: it must be an integer"),
        ("nodes: [{weight: x}]", 'f:1: nodes.0.weight must be an integer, not "x"'),
        ("named:\n  a:\n    weight: 1.5", "f:3: named.a.weight must be an integer, not 1.5"),
        (
            "nodes: [{weight: 1, name: long}]",
            'f:1: nodes.0.name = "long": must have at most 3 letters',
        ),
        ("limits:\n  low: 10", "f:2: limits: low = 10 is above high = 9"),
        ("decay: {kind: cosin}", 'f:1: decay.kind must be one of steps, cosine, not "cosin"'),
        ("decay: {end: 0.5}", "f:1: decay.kind is missing: it must be one of steps, cosine"),
        (
            "decay:\n  kind: cosine\n  end: 1",
            "f:3: decay.end must be a number at least 0 and less than 1, not 1",
        ),
    ],
)
def test_a_wrong_value_is_told_with_place_value_and_what_is_allowed(text, message):
    assert check(text)[1] == [message]


def test_only_the_keys_of_the_chosen_form_are_offered():
    (message,) = check("decay:\n  kind: steps\n  epoch: [1]")[1]

    assert message == (
        "f:3: decay.epoch: unknown key (value [1]); did you mean decay.epochs?\n"
        "    allowed in decay: kind, epochs"
    )


def test_a_key_in_the_wrong_section_is_found_where_it_belongs():
    (message,) = check("low: 3")[1]

    assert "did you mean limits.low?" in message


def test_wrong_values_are_left_out_of_what_is_checked_further():
    tree, messages = check("count: 99\nlabel: kept\nunknown: 1")

    assert len(messages) == 2
    assert tree == Tree(label="kept")


def test_a_value_refused_when_it_was_read_is_not_refused_again():
    assert check("count: 99999999999999999999")[1] == [
        "f:1: count must be an integer below 2**63, not 99999999999999999999"
    ]


def test_a_later_override_makes_good_what_was_wrong_before():
    assert check("count: 1e999", "count=2") == (Tree(count=2), [])


def test_a_value_is_shown_on_one_short_printable_line():
    (message,) = check('count: "' + "\\e[31m\\n" + "x" * 500 + '"')[1]

    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 160
