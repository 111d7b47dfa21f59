"""The privacy that a run is to keep, as its scenario states it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from secure_fair.sections import Positive, Section

DEFAULT_DELTA = 1e-5


class Privacy(Section):
    """Targets for every attribute in one run; no ``epsilon`` is no noise.

    ``evaluation_epsilon`` is that of the evaluation alone, beside the training's. ``reserve_releases``: the interrupted
    releases that the noise leaves room for.
    """

    epsilon: Positive | None = None
    delta: Annotated[float, Field(gt=0, lt=0.1)] = DEFAULT_DELTA
    evaluation_epsilon: Positive | None = None
    reserve_releases: Annotated[int, Field(ge=0, le=1000)] = 1
