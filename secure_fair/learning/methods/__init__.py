"""Fairness methods: how an attribute enters the training. One file each; the set of files is the registry."""

from __future__ import annotations

import importlib
import pkgutil

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
# every form in which attributes can reach a method
RELEASES = tuple(dict.fromkeys(release for method in METHODS.values() for release in method.releases))


def make_method(settings: MethodSettings) -> Method:
    """The method of that name, with its defaults filled in; the scenario's validation knows the names."""
    method = METHODS[settings.name]
    return method(method.resolved(settings))
