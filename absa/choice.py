"""Sections whose options depend on one choice, such as the optimizer's name."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from absa.config import Section


class ChoiceSection(Section):
    """A section that refuses options which its choice does not read, instead of ignoring them.

    Options that only some choices read are declared ``... | None = None``; None means unset. What a
    choice reads is filled in from `reads`, so a resolved section says what runs and can be read
    back.
    """

    choice: ClassVar[str]
    """The field that chooses."""
    reads: ClassVar[Mapping[str, Mapping[str, Any]]]
    """For each choice, the options it reads and their defaults (None: stays unset)."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        # Strict validation takes a list for a tuple in JSON alone, and this is no longer JSON.
        data = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        chosen = data.get(cls.choice, cls.model_fields[cls.choice].default)
        defaults = cls.reads.get(chosen, {}) if isinstance(chosen, str) else {}
        return {**data, **{k: v for k, v in defaults.items() if data.get(k) is None}}

    @model_validator(mode="after")
    def _refuse_unread(self) -> Self:
        chosen = getattr(self, self.choice)
        for option in {name: None for table in self.reads.values() for name in table}:
            value = getattr(self, option)
            if value is None or option in self.reads[chosen]:
                continue
            readers = [name for name, table in self.reads.items() if option in table]
            raise ValueError(
                f"{option} = {json.dumps(value)} is not read where {self.choice} = {chosen}: "
                f"remove {option}, or choose {self.choice} = {' or '.join(readers)}"
            )
        return self
