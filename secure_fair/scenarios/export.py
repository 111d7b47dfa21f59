"""A finished model as a folder that needs nothing of this project: weights, classes, a card, a loader."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secure_fair import toml_text
from secure_fair.errors import UsageError
from secure_fair.files import atomic_write
from secure_fair.parties.progress import Progress
from secure_fair.parties.rows import HEAD, TABLE_MODEL, RowModel, head_file
from secure_fair.report.card import Exported, card
from secure_fair.report.html import SUMMARY, read_summary
from secure_fair.report.tables import Summary
from secure_fair.scenarios.exported import LOADER, write_loader
from secure_fair.scenarios.finished import load_model
from secure_fair.scenarios.folders import model_folder
from secure_fair.scenarios.schema import Scenario

CARD = "README.md"
RESULT = "result.json"  # the developer's own


@dataclass(frozen=True)
class ExportParts:
    """The parts of an export that are asked for beside adapter and head. ``copied``: whether the backbone's weights are
    in it; None is by their size. ``strength``: that of another head on the run's path."""

    merged: bool = False
    onnx: bool = False
    copied: bool | None = None
    strength: float | None = None


def export(
    run: Path,
    out: Path,
    wanted: ExportParts,
    report: Progress,
    *,
    weights: Path | None = None,
    scenario: Path | None = None,
) -> list[str]:
    """Write the folder ``out``, which appears whole; names of what is in it.

    What was written is loaded by its own loader and compared with the run's model before it gets its name.
    ``scenario``: for the card, where ``run`` is what a developer between machines wrote, who has none. UsageError for a
    folder that is there, a run without a model, and what the model has no use for.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists and is not an empty folder; name another")
    if wanted.onnx:
        require_onnx()
    report.stage("loading the model")
    model, source = load_model(run, weights, wanted.strength), model_folder(run)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(out) as folder:
            folder.mkdir()
            if isinstance(model, RowModel):
                exported = _table(model, source, folder, wanted)
            else:
                from secure_fair.scenarios.export_pictures import PictureExport  # timm and peft take seconds to import

                head = head_file(source, wanted.strength)
                parts = PictureExport(model, source, folder, wanted.copied, head)
                exported = parts.write(report, single=wanted.merged, onnx=wanted.onnx)
            text = card(replace(exported, strength=wanted.strength), *_of_run(run, scenario))
            (folder / CARD).write_text(text, encoding="utf-8")
            return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror or error}") from error


def require_onnx() -> None:
    """UsageError where what writes ONNX is not installed."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"--onnx: needs {' and '.join(missing)}; pip install 'secure-fair[onnx]'")


def _of_run(run: Path, scenario: Path | None) -> tuple[Summary, dict[str, Any]]:
    """Summary and scenario of a run for the card; of a developer between machines, its own result in place of one."""
    own = run / "scenario.toml"
    file = own if scenario is None or own.is_file() else scenario
    tree = toml_text.read(file) if file.is_file() else {}
    if (run / SUMMARY).is_file():
        return read_summary(run), tree
    result = json.loads((model_folder(run) / RESULT).read_text(encoding="utf-8"))
    facts = {key: result[key] for key in ("utility", "fairness_released", "path")}
    facts["records"] = {part: result[f"{part}_records"] for part in ("training", "test")}
    if scenario is not None:
        held = Scenario.load(scenario)
        facts |= {
            "method": held.method.name,
            "release": held.method.release,
            "seed": held.seed,
            "mode": held.secure.mode,
        }
    return facts, tree


def _table(model: RowModel, source: Path, folder: Path, wanted: ExportParts) -> Exported:
    """Write the encoding of the columns, the head, and a loader; what a card says of it."""
    if wanted != ExportParts(strength=wanted.strength):
        raise UsageError(
            "--merged, --onnx and --copy-weights: have no use with a model of a table, which has no backbone"
        )
    shutil.copyfile(source / TABLE_MODEL, folder / TABLE_MODEL)
    shutil.copyfile(head_file(source, wanted.strength), folder / HEAD)
    write_loader(folder, "load_table.py")
    about = {
        TABLE_MODEL: "how columns become features, and the names of the classes",
        HEAD: "the linear head: weight (classes, features), bias (classes)",
        LOADER: "both, by numpy and safetensors",
    }
    return Exported(model.classes, about, ["    python load.py NEW.csv"])
