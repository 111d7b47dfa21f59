"""The model and the predictions that a training run's certificate is about, named to all before anything is counted.

The developer sends every auditor the SHA-256 of each file of the finished model, and a salted commitment to its
predictions of the test records. Only then is it told any count. The counts that an auditor confirms afterwards are kept
under these digests, so that neither another model nor those of an earlier run can stand in their place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from secure_fair.errors import ProtocolError, UsageError
from secure_fair.mpc.transport import Network
from secure_fair.parties import messages
from secure_fair.parties.commitments import COMMITMENT, commit_to, commitment, salt_in
from secure_fair.parties.config import RunConfig
from secure_fair.parties.confirmed import Confirmed
from secure_fair.parties.envelope import NotGenuine, canonical
from secure_fair.parties.messages import Bound
from secure_fair.parties.predictions import PREDICTIONS
from secure_fair.parties.rows import HEAD, TABLE_MODEL
from secure_fair.parties.statement import PREDICTIONS as SUBJECT

PICTURE_MODEL = "pictures.json"  # the facts of a model of pictures, the backbone's digest among them
ADAPTER = "adapter"
MODEL = (ADAPTER, HEAD, PICTURE_MODEL, TABLE_MODEL)


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256, hex, of every file of the model in a developer's folder, by its name there."""
    files = [path for name in MODEL for path in sorted((folder / name).rglob("*")) or [folder / name]]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


def bind(config: RunConfig, network: Network, out: Path) -> Bound:
    """The developer's side: be committed to the model and the predictions in ``out``, before anything is counted."""
    bound = Bound(commitment=commit_to(out, (PREDICTIONS,), out), model=digests_of(out))
    for auditor in config.auditors:
        messages.send(network, auditor, bound)
    return bound


def under(confirmed: Confirmed, bound: Bound) -> Confirmed:
    """An auditor's memory of counts that are about this model alone.

    ProtocolError for digests of anything but a model's files: under another name, that of the predictions for instance,
    something would be certified that nobody is committed to.
    """
    others = [name for name in bound.model if name.partition("/")[0] not in MODEL]
    if others:
        raise ProtocolError(f"a model has no file {others[0]!r}: its files are {', '.join(MODEL)}")
    return replace(confirmed, about=f"{confirmed.about} {name_of(bound.model)}")


def name_of(model: Mapping[str, str]) -> str:
    """SHA-256, hex, of all digests of a model."""
    return hashlib.sha256(canonical(dict(model))).hexdigest()


def check_run(tree: Mapping[str, Any], run: Path) -> None:
    """Hold a statement against a run's folder, or its developer's: NotGenuine unless the model and the predictions
    there are those that it is about."""
    about = {one["name"]: one["digest"]["sha256"] for one in tree["subject"]}
    committed = about.pop(SUBJECT, None)
    if committed is None:
        raise UsageError(f"--run {run}: the certificate is of an audit of decisions, and about no model: leave it out")
    folder = run / "developer" if (run / "developer").is_dir() else run
    found = digests_of(folder)
    if not found:
        raise UsageError(f"--run {run}: holds no model; name the folder of a run, or its developer's")
    wrong = sorted(name for name in {*found, *about} if found.get(name) != about.get(name))
    if wrong:
        raise NotGenuine(f"--run {run}: {', '.join(wrong)} there: not of the model that the certificate is about")
    try:
        digest = commitment(salt_in(folder / COMMITMENT), [folder / PREDICTIONS])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--run {run}: has no predictions, or not what opens their commitment: {error}") from error
    if digest != committed:
        raise NotGenuine(f"--run {run}: {PREDICTIONS} there are not the predictions that the certificate is about")


def check_due(config: RunConfig, operation: str, bound: Bound | None) -> None:
    """ProtocolError for counts that are asked for before the developer has said of which model they are."""
    if config.claims and config.counted(operation) and bound is None:
        raise ProtocolError(f"{config.developer} asks for counts, and has not named the model that they are of")
