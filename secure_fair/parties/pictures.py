"""A finished model of pictures, applied to new ones: a backbone by name and digest, the adapter on it, the head."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from secure_fair.data.pictures import read_picture
from secure_fair.data.records import Problem, describe_problems
from secure_fair.errors import UsageError
from secure_fair.learning.backbone import digest_of, load_backbone, normalisation
from secure_fair.learning.lora import backbone, base_state, first_adapted_block, read_adapter
from secure_fair.learning.model import train_settings
from secure_fair.learning.prefix import frozen_prefix
from secure_fair.learning.settings import ModelSettings, TrainingLoop
from secure_fair.learning.train import Classifier, Labelled, predict
from secure_fair.parties.bound import ADAPTER, PICTURE_MODEL
from secure_fair.parties.predictions import Predictions
from secure_fair.parties.rows import head_file

FORMAT = 1
NO_FILES = ("embedded", "timm")  # of the backbone's weights
CHUNK = 256  # pictures in memory at a time
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class About:
    """The facts of a finished model that its tensors do not tell: the content of ``PICTURE_MODEL``.

    ``backbone`` and ``weights`` as the scenario has them; ``digest`` of the backbone's tensors as they were trained on;
    ``mean`` and ``std`` of pixel values in [0, 1], by which pictures are normalised; ``precision`` of the run.
    """

    backbone: str
    weights: str
    digest: str
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    precision: str

    @classmethod
    def of(cls, model: Classifier, settings: ModelSettings, classes: tuple[str, ...], precision: str) -> About:
        """The facts of a classifier that has been trained."""
        assert model.backbone is not None
        mean, std = (tuple(values.tolist()) for values in normalisation(backbone(model.backbone)))
        return cls(
            settings.backbone.name,
            settings.backbone.weights,
            digest_of(base_state(model.backbone)),
            settings.image_size,
            mean,
            std,
            classes,
            precision,
        )

    @classmethod
    def read(cls, file: Path) -> About:
        """The facts in a file. UsageError for anything that ``text`` has not written."""
        try:
            tree = json.loads(file.read_bytes())
            if tree.pop("format") != FORMAT:
                raise ValueError(f"expected format {FORMAT}")
            held: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()
            }
            return cls(**{field.name: held.pop(field.name) for field in fields(cls)}, **held)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"{file}: does not describe a model: {error!r}; run the scenario again") from error

    def text(self) -> bytes:
        """The facts as the content of a file."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n").encode()


@dataclass(frozen=True)
class PictureModel:
    """A classifier in evaluation mode, and what is known of it. It computes as the run did, in the same precision."""

    about: About
    classifier: Classifier
    source: str  # of the backbone's weights

    @classmethod
    def load(cls, folder: Path, weights: Path | None = None, strength: float | None = None) -> PictureModel:
        """The model that a run has left in the developer's ``folder``, or that with its head of another ``strength``.

        ``weights``: where the backbone's file is now, if not where the run had it. UsageError for a folder without a
        model, for weights that are not those of the run, and for a strength that its path does not have.
        """
        file, head, adapter = folder / PICTURE_MODEL, head_file(folder, strength), folder / ADAPTER
        missing = [path.name for path in (file, head, adapter) if not path.exists()]
        if missing:
            raise UsageError(
                f"{folder}: no model of pictures, for it lacks {', '.join(missing)}; name a run of this version "
                "(an export has a load.py of its own)"
            )
        about = About.read(file)
        source = about.weights if weights is None else str(weights)
        if source not in NO_FILES and not Path(source).is_file():
            raise UsageError(f"weights {source!r}: are not there; say where the backbone's file is now with --weights")
        vit = load_backbone(about.backbone, source, about.image_size)
        found = digest_of(vit.state_dict())
        if found != about.digest:
            raise UsageError(
                f"weights {source!r}: are others than the run had: the digest of their tensors is {found[:16]}..., the "
                f"run's was {about.digest[:16]}...; name the file that it was trained on with --weights"
            )
        classifier = Classifier(read_adapter(vit, adapter), vit.num_features, len(about.classes), seed=0)
        try:
            classifier.head.load_state_dict(load_file(head))
        except (RuntimeError, SafetensorError) as error:
            problem = str(error).splitlines()[-1].strip()
            raise UsageError(f"{head}: is not this model's head: {problem}; name one run's folder") from error
        return cls(about, classifier.eval(), source)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.about.classes

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        """Probabilities (n, C), float64, of decoded pictures, uint8 (n, S, S, 3)."""
        precision: Any = PRECISIONS[self.about.precision]
        settings = train_settings(TrainingLoop(precision=precision), seed=0)
        model = self.classifier.backbone
        assert model is not None
        vit = backbone(model)
        self.classifier.to(settings.device)
        last = len(vit.blocks) - first_adapted_block(model)
        tokens = frozen_prefix(vit, pictures, last, dtype=settings.dtype, device=settings.device)
        none = torch.zeros(len(tokens), dtype=torch.int64)
        return predict(self.classifier, Labelled(tokens, none), settings)[1].numpy().astype(np.float64)

    def predict(
        self, files: Sequence[tuple[str, Path]], progress: Callable[[str, int, int], None] = lambda *_: None
    ) -> Predictions:
        """Probabilities of picture files, each under the name that comes with it.

        UsageError with every file that is no whole picture: then nothing is predicted.
        """
        found: list[np.ndarray] = [np.empty((0, len(self.classes)))]
        problems: list[Problem] = []
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(files), CHUNK):
                chunk = files[start : start + CHUNK]
                read = list(pool.map(lambda named: read_picture(named[1], self.about.image_size), chunk))
                pictures = [picture for _, picture in read if isinstance(picture, np.ndarray)]
                problems += [
                    Problem(name, kind, text)
                    for (name, _), (kind, text) in zip(chunk, read, strict=True)
                    if isinstance(text, str)
                ]
                if not problems:
                    found.append(self.probabilities(np.stack(pictures)))
                progress("pictures", start + len(chunk), len(files))
        if problems:
            remedy = "nothing was predicted; repair these files, or leave them out"
            raise UsageError([*describe_problems(problems), remedy])
        return Predictions(tuple(name for name, _ in files), self.classes, np.concatenate(found))
