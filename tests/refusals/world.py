"""What is as it should be, for cases to spoil: data sets, a run, identities, a ledger, a policy."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from secure_fair.data.links import lasting_join_key
from secure_fair.privacy.entries import Charge, Receipt
from secure_fair.privacy.ledger import Ledger
from secure_fair.scenarios.cli import main
from tests.drawn import GENDERS, write_manifest
from tests.parties.company import make_identities
from tests.refusals.conflicts import SMALL

PARTIES = ["developer", "auditor", "dealer"]
RECORDS = 48

TABLE = """\
name = "people"
[data]
dataset = "table"
root = "@/table"
file = "people.csv"
id_column = "number"
target = "hired"
sensitive = ["sex"]
split = { developer = 0.5, auditor = 0.0, test = 0.5 }
[train]
epochs = 1
batch_size = 8
device = "cpu"
[secure]
mode = "plain"
[policy]
minimum_batch = 8
"""
ALBUM = """\
name = "album"
[data]
dataset = "manifest"
root = "@/album"
file = "people.csv"
path_column = "picture"
target = "hair"
sensitive = ["gender"]
image_size = 16
split = { developer = 0.5, auditor = 0.0, test = 0.5 }
[lora]
rank = 2
last_blocks = 1
[train]
epochs = 1
batch_size = 8
precision = "fp32"
device = "cpu"
[secure]
mode = "plain"
[policy]
minimum_batch = 8
"""


def make_world(folder: Path) -> None:
    """Write everything below ``folder``; takes some seconds, two runs above all."""
    columns = {"hair": ("wavy_hair", ("straight", "wavy")), **GENDERS}
    write_manifest(folder / "album", RECORDS, columns)
    write_table(folder / "table" / "people.csv")
    write_utkface(folder / "utkface")
    write_celeba(folder / "celeba")
    (folder / "policy.toml").write_text("epsilon = 1.0\n")
    (folder / "small.toml").write_text(SMALL)
    for name, text in (("table", TABLE), ("album", ALBUM)):
        (folder / f"{name}.toml").write_text(text.replace("@", str(folder)))
        run = ["run", str(folder / f"{name}.toml"), "--out", str(folder / f"{name}-run")]
        main(run, standalone_mode=False)
    make_identities(folder / "parties", PARTIES, simulated=False)
    write_ledger(folder / "ledger")
    lasting_join_key(folder / "key")


def write_table(file: Path) -> None:
    """Rows with numbers, categories and an id."""
    file.parent.mkdir(parents=True)
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(("number", "age", "town", "sex", "hired"))
        for i in range(RECORDS):
            rows.writerow((f"n{i}", 20 + i, ("Bath", "York", "Ayr")[i % 3], "fm"[i % 2], ("no", "yes")[i // 2 % 2]))


def write_utkface(folder: Path) -> None:
    """Eight pictures with UTKFace's names."""
    for i in range(8):
        write_picture(folder / f"{10 * (i + 1)}_{i % 2}_{i % 5}_2017011617452{i:04d}.jpg.chip.jpg", i)


def write_celeba(folder: Path) -> None:
    """Six pictures with CelebA's table."""
    lines = ["6", "Male Smiling"]
    for i in range(6):
        write_picture(folder / "img_align_celeba" / f"{i + 1:06d}.jpg", i)
        lines.append(f"{i + 1:06d}.jpg {2 * (i % 2) - 1} {-1 if i in (2, 3) else 1}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")


def write_picture(file: Path, seed: int) -> None:
    """A picture unlike that of any other seed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(file)


def write_ledger(folder: Path) -> None:
    """An auditor's ledger of one release, and both sides' extracts."""
    receipt = Receipt("run-1", 1, "auditor", "moment", "male", "hash", 40, (16, 1), 3.0)
    folder.mkdir()
    developer = Ledger(folder / "developers", "developer")
    developer.start("run-1")
    developer.received(receipt)
    developer.extract("run-1", folder / "developer.jsonl")
    developer.close()
    auditor = Ledger(folder / "state", "auditor")
    auditor.start("run-1", auditor="auditor")
    table = auditor.enrol([f"{i:032x}" for i in range(40)])
    auditor.plan(receipt, Charge(mu2=0.1), table, np.arange(40))
    auditor.opened(receipt)
    auditor.extract("run-1", folder / "auditor.jsonl")
    auditor.close()
