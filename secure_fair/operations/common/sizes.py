"""The public sizes of a run, from which each operation says what it will be asked there."""

from __future__ import annotations

from dataclasses import dataclass

from secure_fair.operations.common.adapters import Shape


@dataclass(frozen=True)
class RunSizes:
    """The sizes that an operation's requests may have in a run; every party knows them beforehand.

    ``training``, ``test`` and ``batch``: records. ``classes`` of the task; ``strata`` that the method sets apart.
    ``query``: numbers of a row of the method's query; ``features``: of a feature row. ``adapter``: shapes of the task
    adapter's row matrices.
    """

    training: int
    test: int
    batch: int
    classes: int = 2
    strata: int = 1
    query: int = 0
    features: int = 0
    adapter: tuple[Shape, ...] = ()
