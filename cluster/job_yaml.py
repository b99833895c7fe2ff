"""YAML as plain data, with the place of every value; nothing in it can run or grow."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from cluster.show_value import Keys, shorten, show, show_path

MAX_DEPTH = 32
"""Nesting of a job; its own sections are four deep."""
_INT_LIMIT = 2**63
_INT_DIGITS = 19
"""Of 2**63: longer ones are refused before Python converts them."""

_STR = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_NOT_FINITE = "tag:absa,2025:not-finite"

_PLAIN_FORMS: tuple[tuple[str, str, str], ...] = (
    (_NULL, r"~|null|Null|NULL|", "~nN\0"),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_INT, r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)", "-+0123456789"),
    (
        _FLOAT,
        r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)",
        "-+.0123456789",
    ),
    (_NOT_FINITE, r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
)
"""What an unquoted word means, with its first characters. YAML 1.2's core schema with ``50_000``
added: PyYAML's own is 1.1, where ``1e-3`` is text, ``no`` is false and ``010`` is eight."""


@dataclass(frozen=True)
class Mark:
    """Where a value stands, and how it is written if it is a single unquoted word."""

    place: str
    word: str | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        keys: Where in the data; empty: nowhere in it.
        message: The complete message with its place.
    """

    keys: Keys
    message: str


@dataclass
class Draft:
    """Plain data with the place of every value, and what was wrong with its form.

    Args:
        data: None, bool, int, float, str, and lists and string-keyed dicts of these.
        marks: The place of the whole and of every key and list item.
    """

    data: Any
    marks: dict[Keys, Mark] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class _PlainLoader(yaml.SafeLoader):
    """Composes nodes; refuses what makes them more than plain data."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        reason = None
        if isinstance(event, yaml.AliasEvent):
            reason = f"the alias *{event.anchor} is not supported: write the value out"
        elif getattr(event, "tag", None) is not None:
            reason = f"the tag {event.tag} is not supported: only plain values are"
        elif self._depth >= MAX_DEPTH:
            reason = f"nested deeper than {MAX_DEPTH} levels"
        if reason is not None:
            raise yaml.MarkedYAMLError(problem=reason, problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _PlainDumper(yaml.SafeDumper):
    """Quotes what either our reader or a reader of YAML 1.1 would take for something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: list(forms) for first, forms in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _form, _first in _PLAIN_FORMS:
    _firsts = ["" if character == "\0" else character for character in _first]
    for _class in (_PlainLoader, _PlainDumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"(?:{_form})\Z"), _firsts)


def _represent_text(dumper: _PlainDumper, text: str) -> yaml.ScalarNode:
    # PyYAML writes a key that holds a line break in a form that reads back as another key.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar(_STR, text, style)


_PlainDumper.add_representer(str, _represent_text)


def write_yaml(data: Any) -> str:
    """Return plain data as YAML that `read_yaml` reads back as the same data."""
    return yaml.dump(
        data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=float("inf")
    )


def read_yaml(text: str, place: Callable[[int], str], at: Keys = ()) -> Draft:
    """Read one YAML document.

    Args:
        text: The document.
        place: Gives a line, counted from 1, its name in messages.
        at: The path that the whole document is the value of.

    Returns:
        Its data; the data of a document that is not YAML is None, with one finding.
    """
    draft = Draft(None, {at: Mark(place(1))})
    loader: _PlainLoader | None = None
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        draft.findings.append(Finding(at, f"{place(line)}: a character that is not text"))
    except yaml.MarkedYAMLError as error:
        draft.findings.append(Finding(at, _syntax_message(error, text, place)))
    except (ValueError, OverflowError):
        # PyYAML converts what follows "\U" and "%YAML" without looking at it.
        line = loader.line + 1 if loader else 1
        draft.findings.append(Finding(at, f"{place(line)}: an escape that is no character"))
    else:
        if node is not None:
            draft.data = _Reading(draft, place).item(node, at)
    return draft


def _syntax_message(error: yaml.MarkedYAMLError, text: str, place: Callable[[int], str]) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    problem = " ".join(filter(None, [error.context, error.problem]))
    if mark and text[mark.index : mark.index + 1] == "\t":
        problem = "a tab: indent with spaces"
    elif error.context == "expected a single document in the stream":
        problem = "a second document begins here: one job per file"
    return f"{place(line)}: cannot be read as YAML: {problem}"


@dataclass(frozen=True)
class _Reading:
    """Turns nodes into plain data; what is wrong goes into the draft and reads as None."""

    draft: Draft
    place: Callable[[int], str]

    def item(self, node: yaml.Node, keys: Keys) -> Any:
        """Return what stands at ``node``, and mark its place."""
        self._mark(keys, node, node)
        return self._value(node, keys)

    def _value(self, node: yaml.Node, keys: Keys) -> Any:
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, keys))
        if isinstance(node, yaml.SequenceNode):
            return [self.item(child, (*keys, i)) for i, child in enumerate(node.value)]
        return self._scalar(node, keys)

    def _items(self, node: yaml.MappingNode, keys: Keys) -> Iterator[tuple[str, Any]]:
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STR:
                self._refuse(key_node, keys, "a key must be text: put it in quotes if it is meant")
                continue
            key = self._text(key_node, keys)
            if key in lines:
                path = show_path((*keys, key))
                self._refuse(key_node, keys, f"{path} is given twice, first in line {lines[key]}")
                continue
            lines[key] = key_node.start_mark.line + 1
            self._mark((*keys, key), key_node, value_node)
            yield key, self._value(value_node, (*keys, key))

    def _mark(self, keys: Keys, at: yaml.Node, node: yaml.Node) -> None:
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        self.draft.marks[keys] = Mark(self._line(at), node.value if plain else None)

    def _line(self, node: yaml.Node) -> str:
        return self.place(node.start_mark.line + 1)

    def _refuse(self, node: yaml.Node, keys: Keys, text: str) -> None:
        self.draft.findings.append(Finding(keys, f"{self._line(node)}: {text}"))

    def _scalar(self, node: yaml.Node, keys: Keys) -> Any:
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return node.value.lower() == "true"
        if node.tag == _STR:
            return self._text(node, keys)
        return self._number(node, keys)

    def _text(self, node: yaml.Node, keys: Keys) -> str:
        text: str = node.value
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
            self._refuse(node, keys, f"{show(text)} holds characters that are not text")
            return ""
        return text

    def _number(self, node: yaml.Node, keys: Keys) -> int | float | None:
        digits = node.value.replace("_", "")
        if node.tag == _INT and len(digits.lstrip("+-")) <= _INT_DIGITS:
            whole = int(digits)
            if -_INT_LIMIT <= whole < _INT_LIMIT:
                return whole
        if node.tag == _FLOAT:
            number = float(digits)
            if abs(number) != float("inf"):
                return number
        kind = "an integer below 2**63" if node.tag == _INT else "a finite number"
        self._refuse(node, keys, f"{show_path(keys)} must be {kind}, not {shorten(node.value)}")
        return None
