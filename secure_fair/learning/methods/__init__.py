"""Fairness methods: how an attribute enters the training. One file each; the set of files is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from secure_fair.learning.method import Method
from secure_fair.learning.settings import MethodSettings


def _found() -> dict[str, type[Method]]:
    """Every method by the name of its file, which must define it as ``METHOD``."""
    methods = {}
    for module in pkgutil.iter_modules(__path__):
        method = getattr(importlib.import_module(f"{__name__}.{module.name}"), "METHOD", None)
        if not (isinstance(method, type) and issubclass(method, Method)):
            raise TypeError(f"methods/{module.name}.py defines no METHOD")
        methods[module.name] = method
    return methods


METHODS = _found()


def make_method(settings: MethodSettings) -> Method:
    """The method of that name, with its defaults filled in; the scenario's validation knows the names."""
    method = METHODS[settings.name]
    return method(method.resolved(settings))


def settings_for(name: str, given: MethodSettings) -> MethodSettings:
    """The settings of another method: those of the ``given`` ones that it uses, and no release."""
    return MethodSettings(name=name, **{key: getattr(given, key) for key in METHODS[name].keys})


def unused_keys(methods: Iterable[str]) -> list[str]:
    """The keys of ``MethodSettings`` that none of the methods uses."""
    used = {"name", "release", *(key for name in methods for key in METHODS[name].keys)}
    return [key for key in MethodSettings.model_fields if key not in used]
