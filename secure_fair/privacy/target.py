"""The privacy that a run is to keep, as its scenario states it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from secure_fair.defaults import DELTA
from secure_fair.sections import Count, Section

Epsilon = Annotated[float, Field(gt=0, le=1000)]  # a larger one promises nothing that could be told from it


class Privacy(Section):
    """The differential privacy asked for; without this section releases are exact, and every artefact says so."""

    epsilon: Epsilon | None = None
    """For training; without it training's releases are exact."""
    delta: Annotated[float, Field(gt=0, lt=0.1)] = DELTA
    """The delta of both epsilons."""
    evaluation_epsilon: Epsilon | None = None
    """For the counts of test records that a released audit is made from."""
    reserve_releases: Annotated[int, Field(ge=0, le=1000)] = 1
    """Releases that the budget lasts for beyond the planned ones, should some be interrupted."""
    records_per_person: Count | None = None
    """Make the noise for persons of up to so many records in training, and in the test: it grows as many times. Needs
    data that say whose each record is; without it the noise is made for one record."""
