"""The developer's own work, whoever the auditors are: train, predict the test records, leave artefacts."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from secure_fair.data.encoding import Encoding
from secure_fair.data.store import DeveloperStore
from secure_fair.fairness.audit_table import audit_table
from secure_fair.fairness.audits import AttributeAudit
from secure_fair.fairness.metrics import at_chance, clip_noised, fairness, utility
from secure_fair.files import atomic_write, open_private, write_bytes
from secure_fair.groups import all_groups
from secure_fair.learning.kept import kept_in
from secure_fair.learning.lora import save_adapter
from secure_fair.learning.methods import make_method
from secure_fair.learning.model import cached_tokens, make_classifier, train_settings
from secure_fair.learning.train import Classifier, EpochRecord, Labelled, past, predict, train
from secure_fair.operations.common.ask import Auditors
from secure_fair.operations.evaluation_counts import evaluation_counts
from secure_fair.parties.bound import ADAPTER, PICTURE_MODEL
from secure_fair.parties.config import RunConfig
from secure_fair.parties.confirmed import Counts, sigma_text
from secure_fair.parties.pictures import About
from secure_fair.parties.predictions import PREDICTION, PREDICTIONS, probability_of
from secure_fair.parties.progress import Progress
from secure_fair.parties.rows import HEAD, HEADS, TABLE_MODEL, head_name, table_model
from secure_fair.parties.tables import audit_of, verdicts_of

Keep = Callable[[int, Callable[[], dict[str, Any]]], None]  # the number of whole epochs, and what makes their state

SUPPRESSED_BELOW = 3.0  # standard deviations of the noise


@dataclass
class Evaluated:
    """The counts that were released of the test records: figures by attribute, and of two classes audits, with what the
    question about each was called and its noise."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    audits: dict[str, AttributeAudit] = field(default_factory=dict)
    releases: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingData:
    """The developer's records as the training takes them."""

    training: Labelled
    test: Labelled
    test_ids: list[str]
    classes: tuple[str, ...]
    encoding: Encoding | None = None  # of a table's columns
    kept: Path | None = None  # where trainings serve again: a sweep's


def prepare(config: RunConfig, store: DeveloperStore, cache: Path, progress: Progress) -> TrainingData:
    """Run the frozen part of the backbone over all pictures, once; a table's rows are features already."""
    settings = train_settings(config.train, config.seed)
    tokens = cached_tokens(
        config.model,
        store.inputs,
        cache,
        settings.dtype,
        settings.device,
        lambda done, total: progress.progress("backbone", done, total),
    )
    labels = torch.from_numpy(np.asarray(store.labels, dtype=np.int64))
    train_rows, test_rows = torch.from_numpy(store.training), torch.from_numpy(store.test)
    return TrainingData(
        Labelled(tokens[train_rows], labels[train_rows]),
        Labelled(tokens[test_rows], labels[test_rows]),
        [store.ids[index] for index in store.test],
        store.classes,
        store.encoding,
        kept_in(cache),
    )


def develop(
    config: RunConfig,
    data: TrainingData,
    auditors: Auditors,
    out: Path,
    progress: Progress,
    *,
    keep: Keep = lambda epochs, state: None,
    begun: Mapping[str, Any] | None = None,
    bind: Callable[[], None] = lambda: None,
) -> Evaluated:
    """Train with the scenario's method, then write adapter, head, predictions, rounds and result below ``out``; returns
    what was released of the test records.

    A table has no adapter, but the encoding of its columns. ``keep`` is given the state of each whole epoch; from one
    of them, ``begun``, the training goes on. ``bind`` is called when the model is written, before anything is counted.
    """
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings, width = train_settings(config.train, config.seed), data.training.tokens.shape[-1]
    model = make_classifier(config.model, len(data.classes), config.seed, settings.device, width)
    method = make_method(config.method)
    began = time.perf_counter()
    with open_private(out / "rounds.jsonl", "wb") as rounds:
        epochs = Epochs(config, len(data.classes), rounds, progress)
        for record in past(begun) if begun is not None else ():
            epochs.note(record)
        train(
            model,
            data.training,
            method,
            auditors,
            settings,
            on_epoch=epochs.tell,
            on_step=lambda done, total: progress.progress("training", done, total),
            on_whole=keep,
            begun=begun,
            kept=data.kept,
        )
    seconds = time.perf_counter() - began
    _, probabilities = predict(model, data.test, settings, data.kept if method.after_training else None)
    precision = str(settings.dtype).removeprefix("torch.")
    _save_model(config, model, data, precision, out)
    _save_heads(method.heads(), out)
    _save_predictions(data, probabilities, out)
    bind()
    found = evaluate(config, auditors, data, probabilities.argmax(1))
    result = {
        "training_records": len(data.training),
        "test_records": len(data.test),
        "training_seconds": seconds,
        "precision": precision,
        "device": str(settings.device),
        "utility": utility(data.test.labels.numpy(), probabilities.numpy()),
        "fairness_released": found.figures,
        "verdicts": verdicts_of(config, found.audits),
        "path": method.path(),
        "warnings": epochs.warnings,
    }
    write_bytes(out / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    return found


class Epochs:
    """The epochs of a training as they end: a line of the file ``rounds`` each, and the first that looks collapsed."""

    def __init__(self, config: RunConfig, classes: int, rounds: BinaryIO, progress: Progress) -> None:
        self.config = config
        self.classes = classes
        self.rounds = rounds
        self.progress = progress
        self.warnings: list[str] = []

    def note(self, record: EpochRecord) -> None:
        """Write an epoch down, and warn of it where that is due; of one that an earlier process has told, no more."""
        self.rounds.write(json.dumps(asdict(record)).encode() + b"\n")
        self.rounds.flush()
        if not self.warnings and (trouble := collapse(self.config, record, self.classes)):
            self.warnings.append(trouble)
            self.progress.warn(trouble)

    def tell(self, record: EpochRecord) -> None:
        """Tell the user of an epoch, and write it down."""
        name, last, gaps = self.config.method.name, self.config.train.epochs, dict(record.gaps)
        self.progress.epoch(name, record.epoch, last, record.loss, record.accuracy, gaps, record.seconds)
        self.note(record)


def collapse(config: RunConfig, record: EpochRecord, classes: int) -> str | None:
    """A warning for an epoch whose classifier has learned to say the same of everybody; None if not so.

    The first of several epochs is passed over: it begins with a head that knows nothing.
    """
    last = config.train.epochs
    if record.epoch < min(2, last) or not at_chance(record.balanced_accuracy, classes):
        return None
    erm = config.method.name == "erm"
    remedy = "change train.learning_rate or train.epochs" if erm else "lower method.strength or raise method.ramp"
    return (
        f"{config.method.name}: in epoch {record.epoch} of {last} the classifier is no better than chance (balanced "
        f"accuracy {record.balanced_accuracy:.3f}; {record.largest_share:.1%} of its predictions are one class): "
        f"it may have collapsed; {remedy}"
    )


def evaluate(config: RunConfig, auditors: Auditors, data: TrainingData, predictions: Tensor) -> Evaluated:
    """Metrics from released counts of test records by label, prediction and group; nothing where none are released.

    With two classes the strata are those of an audit, whose tables with their intervals are made of the same counts.
    """
    classes = len(data.classes)
    strata = data.test.labels * classes + predictions
    records = np.arange(len(data.training), len(data.training) + len(data.test), dtype=np.int64)
    sizes = torch.bincount(strata, minlength=classes**2).double()
    names = {name: auditors.groups(name) for name in auditors.audited}
    found = Evaluated()
    for attribute in auditors.audited:
        released = evaluation_counts(auditors, attribute, records, strata, classes**2)
        if released is None:
            continue
        counts = Counts(attribute, all_groups(released.values, sizes), released.sigma, len(records))
        # a cell within a few standard deviations of nothing says nothing: suppressed after the noise
        smallest, cells = SUPPRESSED_BELOW * released.sigma, counts.values.reshape(classes, classes, -1).numpy()
        figures = fairness(clip_noised(cells), names[attribute], smallest) | {"sigma": released.sigma}
        if classes == 2:
            found.audits[attribute] = audit_of(config, names, attribute, counts)
            figures |= {"audit": audit_table(found.audits[attribute])}
        found.figures[attribute] = figures
        if config.certified:
            found.releases.append({"attribute": attribute, "query": released.query, "sigma": sigma_text(counts)})
    return found


def _save_model(config: RunConfig, model: Classifier, data: TrainingData, precision: str, out: Path) -> None:
    if model.backbone is not None:
        write_bytes(out / PICTURE_MODEL, About.of(model, config.model, data.classes, precision).text())
        with atomic_write(out / ADAPTER) as folder:
            save_adapter(model.backbone, folder)
    if data.encoding is not None:
        write_bytes(out / TABLE_MODEL, table_model(data.encoding, data.classes))
    with atomic_write(out / HEAD) as file:
        head = {name: value.detach().cpu().contiguous() for name, value in model.head.state_dict().items()}
        save_file(head, file)


def _save_predictions(data: TrainingData, probabilities: Tensor, out: Path) -> None:
    with atomic_write(out / PREDICTIONS) as file, file.open("w", newline="") as rows:
        writer = csv.writer(rows)
        writer.writerow(["id", "label", PREDICTION, *map(probability_of, data.classes)])
        for record, label, row in zip(data.test_ids, data.test.labels.tolist(), probabilities.tolist(), strict=True):
            writer.writerow([record, label, int(np.argmax(row)), *(f"{value:.6f}" for value in row)])


def _save_heads(heads: Mapping[float, Mapping[str, Tensor]], out: Path) -> None:
    """Write the heads of a path beside the model, which has one of them."""
    if heads:
        with atomic_write(out / HEADS) as folder:
            folder.mkdir()
            for strength, head in heads.items():
                save_file({name: value.contiguous() for name, value in head.items()}, folder / head_name(strength))
