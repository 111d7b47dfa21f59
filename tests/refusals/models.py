"""Finished runs that are none or were spoiled, and what is predicted with them or exported from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.refusals.case import Case, case, cut, overwrite, remove, swap

ABOUT = "album-run/developer/pictures.json"
HEAD = "album-run/developer/head.safetensors"
ADAPTER = "album-run/developer/adapter/adapter_model.safetensors"
SUMMARY = "table-run/summary.json"


def changed(**keys: object) -> Callable[[Path], object]:
    """A change: other values in the description of the model; None takes a key out."""

    def change(folder: Path) -> None:
        tree = {**json.loads((folder / ABOUT).read_text()), **keys}
        (folder / ABOUT).write_text(json.dumps({key: value for key, value in tree.items() if value is not None}))

    return change


def without_a_tensor(folder: Path) -> None:
    """A change: an adapter that lacks one of its matrices."""
    state = load_file(folder / ADAPTER)
    del state[sorted(state)[0]]
    save_file(state, folder / ADAPTER)


def another_head(folder: Path) -> None:
    """A change: a head for features of another size."""
    save_file({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, folder / HEAD)


def spoiled(command: str, said: str, change: Callable[[Path], object], run: str = "album-run") -> Case:
    """A command on a run of which something was changed."""
    return case(command, said, copies=(run,), change=change)


PREDICT = "predict album-run @/album/pictures/1.png"
NAMED = {
    "nowhere": ("nowhere: no such folder; name the folder of a run", None),
    "failed": ("failed: holds no model, for the run has not ended well", {"failed/scenario.toml": ""}),
    "empty": ("empty: holds no model, for it is no run's folder", {"empty/mine.txt": ""}),
    "f": ("f: no such folder", {"f": ""}),
}

CASES = {
    **{f"predict, {name}": case(f"predict {name} x.png", said, files=files) for name, (said, files) in NAMED.items()},
    **{f"export, {name}": case(f"export {name} out", said, files=files) for name, (said, files) in NAMED.items()},
    **{
        f"review, {name}": case(
            f"review {name}", "is missing" if name == "f" else "is a folder", problems=1 + (name == "f"), files=files
        )
        for name, (_, files) in NAMED.items()
        if name != "nowhere"
    },
    "predict, no picture named": case("predict @/album-run", "Missing argument 'PICTURES...'"),
    "predict, no such picture": case("predict @/album-run x.png", "x.png: no such file or folder"),
    "predict, two that are not there": case("predict @/album-run x.png y.png", "x.png", "y.png", problems=2),
    "predict, an empty folder": case("predict @/album-run .", "holds no file that is called like a picture"),
    "predict, text for a picture": case(
        "predict @/album-run x.png",
        "x.png (2 bytes) is not a picture in a known format",
        problems=3,
        files={"x.png": "hi"},
    ),
    "predict, an empty picture": case("predict @/album-run x.png", "x.png", problems=3, files={"x.png": ""}),
    "predict, a CSV without paths": case(
        "predict @/album-run n.csv",
        "no single column 'path'; it has file",
        "--path-column",
        problems=2,
        files={"n.csv": "file\na\n"},
    ),
    "predict, a CSV of nobody": case("predict @/album-run n.csv", "no picture to predict", files={"n.csv": "path\n"}),
    "predict, a CSV with an empty path": case(
        "predict @/album-run n.csv", "n.csv:2: has no path", files={"n.csv": 'path,a\n"",1\n'}
    ),
    "predict, an empty CSV": case("predict @/album-run n.csv", "the file is empty", files={"n.csv": ""}),
    "predict, a CSV in UTF-16": case(
        "predict @/album-run n.csv", "not UTF-8 text", files={"n.csv": "path".encode("utf-16")}
    ),
    "predict, an id of pictures": case(
        "predict @/album-run @/album/people.csv --path-column picture --id-column x",
        "--id-column: is for the rows of a table",
    ),
    "predict, a column of no CSV": case(
        "predict @/album-run @/album/pictures --path-column picture",
        "is of a CSV with the pictures' paths, and none is named",
    ),
    "predict, into a file that is there": case(
        "predict @/album-run @/album/pictures --output o.csv", "o.csv: exists already", files={"o.csv": "mine"}
    ),
    "predict, into no folder": case(
        "predict @/album-run @/album/pictures --output nowhere/o.csv", "nowhere is no folder; make it first"
    ),
    "predict, into a folder": case("predict @/album-run @/album/pictures --output .", "exists already"),
    "predict, no such weights": case("predict @/album-run x.png --weights w.pth", "'w.pth' does not exist"),
    "predict, rows of a picture's model": case(
        "predict @/album-run @/table/people.csv", "no single column 'path'", problems=2
    ),
    "table, pictures": case("predict @/table-run @/album/pictures", "a model of a table takes one CSV"),
    "table, two CSVs": case("predict @/table-run @/table/people.csv @/table/people.csv", "takes one CSV"),
    "table, paths": case("predict @/table-run @/table/people.csv --path-column town", "--path-column: is for pictures"),
    "table, weights": case(
        "predict @/table-run @/table/people.csv --weights w.pth",
        "--weights: has no use with a model",
        files={"w.pth": ""},
    ),
    "table, an id that it has not": case(
        "predict @/table-run @/table/people.csv --id-column who", "no single column 'who'"
    ),
    "table, other columns": case(
        "predict @/table-run r.csv", "no single column 'age'; it has a, b", problems=2, files={"r.csv": "a,b\n1,2\n"}
    ),
    "table, no rows": case(
        "predict @/table-run r.csv", "no row to predict, only a header", files={"r.csv": "age,town\n"}
    ),
    "table, a short row": case(
        "predict @/table-run r.csv",
        "r.csv:2: wrong line: 1 fields instead of 2",
        problems=2,
        files={"r.csv": "age,town\n1\n"},
    ),
    "table, a word for a number": case(
        "predict @/table-run r.csv",
        "age is 'old', a column of numbers",
        problems=3,
        files={"r.csv": "age,town\nold,Bath\n"},
    ),
    "spoiled, other weights": spoiled(PREDICT, "are others than the run had", changed(digest="0" * 64)),
    "spoiled, no mean": spoiled(PREDICT, "does not describe a model: KeyError('mean')", changed(mean=None)),
    "spoiled, no JSON": spoiled(PREDICT, "pictures.json", overwrite(ABOUT, "{")),
    "spoiled, a list": spoiled(PREDICT, "pictures.json", overwrite(ABOUT, "[]")),
    "spoiled, another head": spoiled(PREDICT, "is not this model's head", another_head),
    "spoiled, half a head": spoiled(PREDICT, "head.safetensors", cut(HEAD, 40)),
    "spoiled, a matrix less": spoiled(PREDICT, "1 tensors are not the adapter's, first", without_a_tensor),
    "spoiled, an empty adapter": spoiled(PREDICT, "holds no adapter of this backbone", overwrite(ADAPTER, "")),
    "spoiled, no adapter": spoiled(PREDICT, "holds no adapter of this backbone", remove(ADAPTER)),
    "spoiled, no head": spoiled(PREDICT, "holds no model", remove(HEAD)),
    "spoiled table, half a head": spoiled(
        "predict table-run @/table/people.csv",
        "head.safetensors",
        cut("table-run/developer/head.safetensors", 40),
        "table-run",
    ),
    "spoiled table, no encoding": spoiled(
        "predict table-run @/table/people.csv",
        "it lacks pictures.json",
        remove("table-run/developer/table.json"),
        "table-run",
    ),
    "spoiled table, an encoding that is none": spoiled(
        "predict table-run @/table/people.csv",
        "table.json",
        overwrite("table-run/developer/table.json", "{}"),
        "table-run",
    ),
    "spoiled, exported": spoiled("export album-run out", "is not this model's head", another_head),
    "export, into a folder that holds something": case(
        "export @/album-run out", "exists and is not an empty folder", files={"out/mine.txt": ""}
    ),
    "export, below a file": case("export @/album-run f/out", "f/out: cannot be written", files={"f": ""}),
    "export, weights that nobody has": case(
        "export @/album-run out --no-copy-weights", "are no file that others could have"
    ),
    "export, a scenario that is not there": case("export @/album-run out --scenario s.toml", "'s.toml' does not exist"),
    "export, a merged table": case("export @/table-run out --merged", "--merged"),
    "export, a table as ONNX": case("export @/table-run out --onnx", "--onnx"),
    "report, a summary that is no JSON": spoiled(
        "report table-run", "summary.json", overwrite(SUMMARY, "{"), "table-run"
    ),
    "report, a summary of nothing": spoiled("report table-run", "summary.json", overwrite(SUMMARY, "{}"), "table-run"),
    "report, a summary nested without end": spoiled(
        "report table-run", "summary.json: is not JSON", overwrite(SUMMARY, "[" * 5000 + "]" * 5000), "table-run"
    ),
    "report, a list for a summary": spoiled("report table-run", "summary.json", overwrite(SUMMARY, "[]"), "table-run"),
    "report, a summary without methods": spoiled(
        "report table-run", "summary.json", swap(SUMMARY, '"utility"', '"utilities"'), "table-run"
    ),
    "report, a summary in UTF-16": spoiled(
        "report table-run", "summary.json", overwrite(SUMMARY, "{}".encode("utf-16")), "table-run"
    ),
    "report, a page in no folder": case(
        "report @/table-run @/album-run --out nowhere/i.html", "nowhere is no folder; make it first"
    ),
    "board, no run": case("report . --tensorboard board", "no developer's rounds.jsonl in it"),
    "board, several runs": case("report @/album-run @/table-run --tensorboard board", "takes one RUN"),
    "board, into a folder that holds something": case(
        "report @/album-run --tensorboard board", "is not an empty folder", files={"board/mine": ""}
    ),
    "board, below a file": case("report @/album-run --tensorboard f/board", "cannot be made", files={"f": ""}),
    "board, rounds that are none": spoiled(
        "report album-run --tensorboard board", "damaged", overwrite("album-run/developer/rounds.jsonl", "[1]\n")
    ),
    "review, a run without a summary": spoiled(
        "review table-run", "table-run: is a folder", remove(SUMMARY), "table-run"
    ),
}
