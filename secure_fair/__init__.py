"""Fair vision transformers trained without seeing the attributes by which fairness is judged.

From Python: ``run``, ``plan``, ``load``, ``load_model`` and ``audit`` (docs/python.md); errors are in
``secure_fair.errors``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secure_fair.scenarios.api import audit, load, load_model, plan, run

__all__ = ["audit", "load", "load_model", "plan", "run"]


def __getattr__(name: str) -> Any:
    """Import the interface when it is asked for: parts of the package alone need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from secure_fair.scenarios import api

    return getattr(api, name)
