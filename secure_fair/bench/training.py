"""An epoch of this program beside a plain timm + peft loop and Hugging Face's Trainer, on the same pictures."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tomli_w
from PIL import Image

from secure_fair.data.faces import draw
from secure_fair.errors import ProcessFailed

EPOCHS = 4
RECORDS = 2_400  # that are trained on
TESTED = 200
SIDE = 64  # pixels
TARGET, SENSITIVE = "smiling", "male"
LORA = {"rank": 8, "alpha": 16.0, "targets": ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"], "last_blocks": 2}
TRAIN = {"epochs": EPOCHS, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup": 0.05}
PEERS = {"loop": "timm + peft, a plain loop", "trainer": "timm + peft, Hugging Face's Trainer"}
OWN = {
    "erm": ("ours, erm, nothing protected", {"secure.mode": "plain"}),
    "parity": ("ours, parity under secret sharing", {"secure.mode": "secure", "privacy.epsilon": "1.0"}),
}
PATIENCE = 3_600.0  # seconds


@dataclass(frozen=True)
class TrainingRow:
    """One engine's training: ``epoch`` is the median of the epochs' seconds, ``whole`` from start to end of its
    process; ``accuracy`` over the last epoch's batches."""

    engine: str
    epoch: float
    first_epoch: float
    whole: float
    accuracy: float

    def tree(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


def measure_training(follow: Callable[[str], None], records: int = RECORDS) -> list[TrainingRow]:
    """Each engine trains on ``records`` pictures, in a process of its own; ProcessFailed with its words where it fails.

    ``follow`` hears what is measured.
    """
    with tempfile.TemporaryDirectory(prefix="secure-fair-training-") as made:
        folder = Path(made)
        pictures, labels = _write_pictures(folder, records)
        np.savez(folder / "pictures.npz", pictures=pictures[:records], labels=labels[:records])
        (folder / "settings.json").write_text(json.dumps({**LORA, **TRAIN, "image_size": SIDE, "seed": 0}))
        (folder / "scenario.toml").write_text(tomli_w.dumps(_scenario(folder)))
        rows = []
        for peer, engine in PEERS.items():
            follow(engine)
            rows.append(_by_peer(folder, peer, engine))
        for method, (engine, settings) in OWN.items():
            follow(engine)
            rows.append(_by_own(folder, method, engine, settings))
        return rows


def _write_pictures(folder: Path, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawn portraits as files, with their manifest; uint8 (n, side, side, 3) and the task's labels (n,)."""
    pictures, codes = draw(records + TESTED, 0, TARGET, SENSITIVE, correlation=0.3, size=SIDE)
    with (folder / "people.csv").open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["picture", TARGET, SENSITIVE, "part"])
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / f"{number}.png")
            part = "developer" if number < records else "test"
            writer.writerow([f"{number}.png", codes[TARGET][number], codes[SENSITIVE][number], part])
    return pictures, codes[TARGET].astype(np.int64)


def _scenario(folder: Path) -> dict[str, Any]:
    return {
        "name": "training",
        "description": "A bench's pictures",
        "seed": 0,
        "data": {
            "dataset": "manifest",
            "root": str(folder),
            "file": "people.csv",
            "path_column": "picture",
            "split_column": "part",
            "target": TARGET,
            "sensitive": [SENSITIVE],
            "image_size": SIDE,
        },
        "lora": LORA,
        "train": TRAIN,
    }


def _by_peer(folder: Path, peer: str, engine: str) -> TrainingRow:
    program = "secure_fair.bench.plain_training"
    whole, said = _done([program, peer, str(folder / "pictures.npz"), str(folder / "settings.json")])
    told = json.loads(said.strip().splitlines()[-1])
    return _row(engine, told["epochs"], whole, told["accuracy"])


def _by_own(folder: Path, method: str, engine: str, settings: dict[str, str]) -> TrainingRow:
    out = folder / method
    given = [part for key, value in {"method.name": method, **settings}.items() for part in ("-o", f"{key}={value}")]
    whole, _ = _done(["secure_fair", "run", str(folder / "scenario.toml"), "--out", str(out), *given])
    rounds = [json.loads(line) for line in (out / "developer" / "rounds.jsonl").read_text().splitlines()]
    return _row(engine, [one["seconds"] for one in rounds], whole, rounds[-1]["accuracy"])


def _done(program: Sequence[str]) -> tuple[float, str]:
    """Seconds of a program of this package from start to end, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *program], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise ProcessFailed(f"{' '.join(program[:2])}: {done.stderr.strip()[-600:]}", 5)
    return time.perf_counter() - began, done.stdout


def _row(engine: str, epochs: Sequence[float], whole: float, accuracy: float) -> TrainingRow:
    return TrainingRow(engine, median(epochs), epochs[0], whole, accuracy)
