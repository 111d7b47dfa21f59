"""The model that a run has left, applied to pictures or rows that a user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from secure_fair.data.named import PATH_COLUMN, is_table, picture_files
from secure_fair.errors import UsageError
from secure_fair.parties.predictions import Predictions
from secure_fair.parties.progress import Progress
from secure_fair.parties.rows import TABLE_MODEL, RowModel
from secure_fair.scenarios.folders import model_folder

if TYPE_CHECKING:
    from secure_fair.parties.pictures import PictureModel


def load_model(run: Path, weights: Path | None = None, strength: float | None = None) -> RowModel | PictureModel:
    """The model of a run; ``weights``: where its backbone's file is now; ``strength``: another of its path."""
    folder = model_folder(run)
    if (folder / TABLE_MODEL).is_file():
        if weights is not None:
            raise UsageError("--weights: has no use with a model of a table; leave it out")
        return RowModel.load(folder, strength)
    from secure_fair.parties.pictures import PictureModel  # timm and peft take seconds to import

    return PictureModel.load(folder, weights, strength)


def predict(
    model: RowModel | PictureModel,
    places: Sequence[Path],
    report: Progress,
    *,
    path_column: str | None = None,
    id_column: str | None = None,
) -> Predictions:
    """Predictions for pictures at these places (``picture_files``), or for the rows of one CSV."""
    if not isinstance(model, RowModel):
        if id_column is not None:
            raise UsageError(
                "--id-column: is for the rows of a table; pictures are called by their paths; leave it out"
            )
        if path_column is not None and not any(map(is_table, places)):
            raise UsageError("--path-column: is of a CSV with the pictures' paths, and none is named; leave it out")
        return model.predict(picture_files(places, path_column or PATH_COLUMN), report.progress)
    if path_column is not None:
        raise UsageError("--path-column: is for pictures, and this is a model of a table; leave it out")
    if len(places) != 1 or not (is_table(places[0]) and places[0].is_file()):
        named = ", ".join(map(str, places))
        raise UsageError(f"{named}: a model of a table takes one CSV with the columns of its features")
    return model.predict(places[0], id_column)
