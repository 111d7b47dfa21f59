"""The keys of a section as the lines of a Markdown table."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Collection
from typing import Any

from pydantic.fields import FieldInfo

from secure_fair.sections import Section


def rows_of(model: type[Section], without: Collection[str] = ()) -> list[str]:
    """The lines of a table of a section's keys."""
    rows = [_row(key, field) for key, field in model.model_fields.items() if key not in without]
    return ["| key | type | default | meaning |", "| --- | --- | --- | --- |", *rows]


def _row(key: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
    meaning = " ".join((field.description or "").split())
    cells = (f"`{key}`", _type(field.annotation, field.metadata), default, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Section):
        return "its section's"
    return f"`{json.dumps(value, default=str)}`"


def _type(annotation: Any, metadata: typing.Sequence[Any] = ()) -> str:
    """A type in words, with its bounds."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0], [m for a in arguments[1:] for m in getattr(a, "metadata", [a])])
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(argument, metadata) for argument in arguments if argument is not type(None))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"table of {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "table"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    bounds = [f"{sign} {getattr(item, name)}" for item in metadata for name, sign in _BOUNDS if hasattr(item, name)]
    return " ".join([names.get(annotation, "value"), *([", ".join(bounds)] if bounds else [])])


_BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
