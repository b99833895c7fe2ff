"""What is allowed at a key path, in words: read off the schema of the configuration."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from cluster.show_value import Keys, show_path

Schema = Mapping[str, Any]

_BOUNDS = {
    "exclusiveMinimum": "greater than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
}
_TYPES = {"integer": "an integer", "number": "a number", "boolean": "true or false"}
_MAX_DEPTH = 6
"""Of the paths that are searched for a misplaced key: ends sections that contain themselves."""


def allowed(schema: Schema, data: Any, keys: Keys) -> str:
    """Return what may stand at a key path: "an integer greater than 0 or null".

    Args:
        schema: The JSON schema of the whole configuration.
        data: What the user wrote; it picks the form of a section that has several.
        keys: The path.
    """
    return _all_in_words(_forms_at(schema, data, keys), schema)


def keys_at(schema: Schema, data: Any, keys: Keys) -> list[str]:
    """Return the keys that the section at a path may have, in the order of their definition."""
    forms = _forms_at(schema, data, keys)
    return list(dict.fromkeys(key for form in forms for key in form.get("properties", {})))


def suggestion(schema: Schema, data: Any, keys: Keys) -> str | None:
    """Return the path that was probably meant by an unknown one, or None."""
    section, key = keys[:-1], str(keys[-1])
    near = get_close_matches(key, keys_at(schema, data, section), n=1, cutoff=0.6)
    if near:
        return show_path((*section, near[0]))
    paths = list(_paths(schema, schema, (), _MAX_DEPTH))
    same = [path for path in paths if path[-1] == key]
    if not same:
        names = get_close_matches(key, [str(path[-1]) for path in paths], n=1, cutoff=0.75)
        same = [path for path in paths if path[-1] in names]
    return " or ".join(show_path(path) for path in same[:3]) or None


def _forms_at(schema: Schema, data: Any, keys: Keys) -> list[Schema]:
    """Return the forms that a value at a path may have, each a schema without alternatives."""
    forms = _narrow(_forms(schema, schema), data, schema)
    for key in keys:
        children = [child for form in forms for child in _children(form, key)]
        data = _inside(data, key)
        forms = _narrow([f for child in children for f in _forms(child, schema)], data, schema)
    return forms


def _forms(node: Schema, root: Schema) -> Iterator[Schema]:
    if "$ref" in node:
        yield from _forms(root["$defs"][node["$ref"].rpartition("/")[2]], root)
        return
    for word in ("anyOf", "oneOf", "allOf"):
        if word in node:
            for part in node[word]:
                yield from _forms(part, root)
            return
    yield node


def _narrow(forms: Iterator[Schema] | list[Schema], data: Any, root: Schema) -> list[Schema]:
    """Keep the forms whose fixed values (``kind: cosine``) are those of the data, if any are."""
    every = list(forms)
    if not isinstance(data, dict):
        return every
    fitting = [form for form in every if _fits(form, data)]
    return fitting or every


def _fits(form: Schema, data: Mapping[str, Any]) -> bool:
    return all(
        data[key] == child["const"]
        for key, child in form.get("properties", {}).items()
        if "const" in child and key in data
    )


def _children(form: Schema, key: str | int) -> Iterator[Schema]:
    if isinstance(key, int) and form.get("type") == "array":
        prefix = form.get("prefixItems", [])
        yield from [prefix[key]] if key < len(prefix) else [form.get("items") or {}]
    elif key in form.get("properties", {}):
        yield form["properties"][key]
    elif isinstance(form.get("additionalProperties"), dict):
        yield form["additionalProperties"]


def _inside(data: Any, key: str | int) -> Any:
    try:
        return data[key]
    except (KeyError, IndexError, TypeError):
        return None


def _all_in_words(forms: Iterable[Schema], root: Schema) -> str:
    """Return alternatives in words, fixed values gathered, null last."""
    every = list(forms)
    values = [value for form in every for value in form.get("enum", [form.get("const")])]
    fixed = [str(value) for value in dict.fromkeys(values) if value is not None]
    texts = [_in_words(form, root) for form in every if not {"enum", "const"} & form.keys()]
    if fixed:
        texts.append(f"one of {', '.join(fixed)}" if len(fixed) > 1 else fixed[0])
    texts.sort(key=lambda text: text == "null")
    return " or ".join(dict.fromkeys(texts)) or "nothing"


def _in_words(form: Schema, root: Schema) -> str:
    kind = form.get("type")
    if kind == "object":
        keys = ", ".join(form.get("properties", {}))
        return f"a section with the keys {keys}" if keys else "a mapping (key: value)"
    if kind == "array":
        return _list_in_words(form, root)
    if kind == "string":
        return "text that is not empty" if form.get("minLength") else "text"
    if kind in _TYPES:
        bounds = [f"{words} {form[word]}" for word, words in _BOUNDS.items() if word in form]
        return " ".join([_TYPES[kind], " and ".join(bounds)]).strip()
    return str(kind or "any value")


def _list_in_words(form: Schema, root: Schema) -> str:
    items = form.get("prefixItems") or [form.get("items", {})]
    each = dict.fromkeys(_all_in_words(_forms(item, root), root) for item in items)
    size = f"of {len(items)} items" if "prefixItems" in form else "that is not empty"
    sized = "prefixItems" in form or form.get("minItems")
    return f"a list {size}: {', '.join(each)}" if sized else f"a list: {', '.join(each)}"


def _paths(node: Schema, root: Schema, keys: Keys, depth: int) -> Iterator[Keys]:
    for form in _forms(node, root) if depth else ():
        for key, child in form.get("properties", {}).items():
            yield (*keys, key)
            yield from _paths(child, root, (*keys, key), depth - 1)
