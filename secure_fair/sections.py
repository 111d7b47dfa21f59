"""Tables of settings: strict, frozen, and with messages that name the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of settings. Strict: a number in quotes is an error, as is an unknown key, an infinity or a NaN.

    The docstring under each key is its meaning, which the reference of all keys prints.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def among(allowed: Sequence[str]) -> AfterValidator:
    """Like a Literal of values that are listed elsewhere."""

    def check(value: str) -> str:
        if value not in allowed:
            raise PydanticCustomError("not_among", "not allowed", {"allowed": list(allowed)})
        return value

    return AfterValidator(check)


def describe(detail: ErrorDetails, model: type[Section], where: str = "") -> str:
    """Name one problem that pydantic found as ``path: value; what is allowed``.

    ``model`` is what was validated, ``where`` a name for the whole of it in front of the path.
    """
    location = detail["loc"]
    path = ".".join(part for part in (where, *map(str, location)) if part)
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return f"{path}: is missing"
    value = show(detail["input"])
    if kind == "extra_forbidden":
        return f"{path}: unknown key (value {value}){_known_keys(model, location)}"
    if kind in ("literal_error", "not_among"):
        allowed = context.get("allowed") or re.findall(r"'([^']*)'", context["expected"])
        return f"{path}: {value} is not allowed; allowed: {listed(allowed)}{near(detail['input'], allowed)}"
    message = detail["msg"].removeprefix("Input should be ")
    if kind in ("model_type", "model_attributes_type"):
        message = "a table of keys"
    elif kind == "string_pattern_mismatch":
        message = f"text that matches {context['pattern']}"
    elif kind == "too_short":
        message = f"a list of at least {context['min_length']}"
    elif kind in ("tuple_type", "list_type"):
        message = "a list"
    return f"{path}: {value} is not allowed; it must be {message}"


def problems_of(error: ValidationError, model: type[Section], where: str = "") -> list[str]:
    """Name every problem that pydantic found, as ``describe`` does.

    A list of which an entry is wrong counts for it as too short as well: that is left out.
    """
    details = error.errors()
    inner = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    told = [one for one in details if not (one["type"] == "too_short" and one["loc"] in inner)]
    return [describe(detail, model, where) for detail in told]


def _known_keys(model: Any, location: Sequence[int | str]) -> str:
    """List what the table of an unknown key does know, with the nearest name where there is one."""
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        model = section_of(model.model_fields[part].annotation)
        if model is None:
            return ""
    known = list(model.model_fields)
    return f"; known: {', '.join(known)}{near(location[-1], known)}"


def section_of(annotation: Any) -> type[Section] | None:
    """Find the section inside an annotation such as ``Split | None`` or ``tuple[Auditor, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = section_of(argument)
        if found is not None:
            return found
    return None


def near(given: object, known: Iterable[str]) -> str:
    """Suggest the known name nearest to the given one, where there is one."""
    matches = difflib.get_close_matches(str(given), list(known), n=1)
    return f" (did you mean {show(matches[0])}?)" if matches else ""


def listed(values: Iterable[str]) -> str:
    """Values in quotes with commas between."""
    return ", ".join(show(value) for value in values)


def show(value: object) -> str:
    """A value as it would be written in a file, cut where it is long."""
    text = json.dumps(dict(value) if isinstance(value, Mapping) else value, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."
