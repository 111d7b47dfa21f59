"""A dispute about a certificate: parties open what they put in, and everything that follows from it is counted again.

An opening is the salt and the files of a party's commitment, and an auditor's seed where it has drawn a sample. It says
everything about everybody in it, so that it is for a judge's eyes. Where developer and auditors have opened, the counts
behind a claim are made again in the clear, from the very files that they committed to: a verdict that another follows
from was about other inputs, or is noise's, which is wrong in at most 5 % of audits. Of a training the developer opens
the predictions that it was committed to when they were counted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secure_fair.data.decision_store import RECORDS, read_store
from secure_fair.data.decisions import Decisions
from secure_fair.data.store import ATTRIBUTES, META, AuditorStore
from secure_fair.errors import ProtocolError, UsageError
from secure_fair.fairness.audit_table import estimate_tree
from secure_fair.fairness.audits import metric
from secure_fair.fairness.claims import FAIL, OPEN, PASS
from secure_fair.files import private_folder, write_bytes
from secure_fair.groups import joint_codes
from secure_fair.ids import Ids, as_ids, find
from secure_fair.parties.audit import strata_of
from secure_fair.parties.commitments import COMMITMENT, COMMITTED, commitment, salt_in
from secure_fair.parties.config import RunConfig
from secure_fair.parties.confirmed import Counts
from secure_fair.parties.draw import DRAW, commitment_to, sample
from secure_fair.parties.predicted import Predicted, read_predicted
from secure_fair.parties.predictions import PREDICTIONS
from secure_fair.parties.tables import PREDICTED, audit_of, check_decisions, claims_of, measured

PROVED, DISPROVED, CONTRADICTED, UNDECIDED, CLOSED = "proved", "disproved", "contradicted", "open", "not opened"
OUTCOMES = {
    PROVED: "the opened inputs say the same",
    DISPROVED: "the opened inputs say otherwise: the certificate is wrong, or was made from other inputs",
    CONTRADICTED: "the opened inputs say otherwise: others were counted, or it is noise, as in 5 % of audits at most",
    UNDECIDED: "the certificate leaves it open",
    CLOSED: "not every party that it is about has opened its inputs",
}


@dataclass(frozen=True)
class OpenedInputs:
    """A party's opened inputs: its folder, and the seed of its sample, empty where none was drawn."""

    folder: Path
    seed: str = ""


@dataclass(frozen=True)
class DisputedClaim:
    """One claim after the dispute: what the opened inputs say of it, where they say something."""

    claim: str
    certified: str
    found: str
    recounted: dict[str, Any] | None = None

    @property
    def tree(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"claim": self.claim, "certified": self.certified, "found": self.found, "recounted": self.recounted}


def open_inputs(party: Path, out: Path) -> list[str]:
    """Copy what opens a party's inputs from the folder that it wrote in the audit into a new one; the files' names."""
    if not (party / COMMITMENT).is_file() or not (party / COMMITTED).is_dir():
        raise UsageError(
            f"{party}: has no {COMMITMENT} with {COMMITTED}/; name what a party wrote in a certified audit"
        )
    if out.exists():
        raise UsageError(f"--out {out}: exists already; name another folder")
    private_folder(out)
    shutil.copytree(party / COMMITTED, out / COMMITTED)
    (out / COMMITTED).chmod(0o700)
    kept = [name for name in (COMMITMENT, DRAW) if (party / name).is_file()]
    for name in kept:
        write_bytes(out / name, (party / name).read_bytes())
    return [*kept, *(f"{COMMITTED}/{file.name}" for file in sorted((out / COMMITTED).iterdir()))]


def opening(told: Mapping[str, Any], name: str, folder: Path, developer: str) -> OpenedInputs:
    """A party's opening, once it is the one that the certificate has; ProtocolError where it is another."""
    mine = (PREDICTIONS,) if told["model"] else (RECORDS,)
    files = mine if name == developer else (ATTRIBUTES, META)
    if name not in told["commitments"]:
        raise UsageError(
            f"--opened {name}: the certificate has commitments of {', '.join(sorted(told['commitments']))}"
        )
    try:
        digest = commitment(salt_in(folder / COMMITMENT), [folder / COMMITTED / file for file in files])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder}: is no opening of a party's inputs (secure-fair certificate open): {error}"
        ) from error
    if digest != told["commitments"][name]:
        raise ProtocolError(f"{name}: the opened files are not those that the certificate commits it to")
    return OpenedInputs(folder, _seed(told, name, folder))


def _seed(told: Mapping[str, Any], name: str, folder: Path) -> str:
    """The seed of a party's sample, as it was committed to; empty where it has drawn none."""
    if name not in told["draws"]:
        return ""
    try:
        seed = str(json.loads((folder / DRAW).read_bytes())["seed"])
        genuine = commitment_to(seed) == told["draws"][name]["commitment"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / DRAW}: has no seed, and {name} has drawn a sample: {error}") from error
    if not genuine:
        raise ProtocolError(f"{name}: the opened seed is not the one that it was committed to when it drew")
    return seed


class OpenedCounts:
    """The counts of an audit, or of a training's test records, once more, from opened inputs and in the clear."""

    def __init__(self, config: RunConfig, told: Mapping[str, Any], openings: Mapping[str, OpenedInputs]) -> None:
        """``config``: that of the agreed terms or scenario, of which the certificate has the hash."""
        self.config, self.told, self.openings = config, told, openings
        self.stores = {
            name: AuditorStore.open(one.folder / COMMITTED)
            for name, one in openings.items()
            if name != config.developer
        }
        self.decisions: Decisions | Predicted | None = None
        if config.developer in openings:
            self.decisions = self._table(openings[config.developer].folder / COMMITTED)

    def _table(self, folder: Path) -> Decisions | Predicted:
        """The developer's table; ProtocolError where it committed to none that the certificate could rest on."""
        table: Decisions | Predicted
        try:
            if self.config.claims:
                table, found = read_predicted(folder), PREDICTED
            else:
                table = read_store(folder)
                check_decisions(self.config, table)
                found = measured(table)
        except UsageError as error:
            raise ProtocolError(
                f"{self.config.developer}: committed to no table from which the certificate follows: {error}"
            ) from error
        if self.told["measured"] != found:
            raise ProtocolError(
                f"{self.config.developer}: the certificate measures {self.told['measured']}, and the opened table has "
                f"{found}"
            )
        return table

    def findings(self) -> Iterator[DisputedClaim]:
        """Every claim of the certificate."""
        self._check_records()
        # by the agreed terms, and not by what the statement says of noise
        noised = self.config.privacy is not None and self.config.privacy.evaluation_epsilon is not None
        for one, (_, claim) in zip(self.told["claims"], claims_of(self.config), strict=True):
            certified = {True: PASS, False: FAIL, None: OPEN}[one["passed"]]
            counts = self.counts(claim.attribute)
            if counts is None:
                yield DisputedClaim(str(claim), certified, CLOSED)
                continue
            groups = {name: self._tables(name)[0].groups[name] for name in self.config.holders}
            estimate = metric(audit_of(self.config, groups, claim.attribute, counts), claim.metric)
            found = UNDECIDED
            if certified != OPEN:
                wrong = CONTRADICTED if noised else DISPROVED
                found = PROVED if claim.verdict(estimate) == certified else wrong
            yield DisputedClaim(str(claim), certified, found, estimate_tree(estimate))

    def counts(self, name: str) -> Counts | None:
        """Exact counts of one attribute or intersection, of who was drawn where a sample was; None where not all whom
        they are about have opened."""
        holders = self.config.answering(name)
        if self.decisions is None or any(auditor not in self.stores for auditor in self.config.auditors):
            return None
        rows = self._common()
        ids = as_ids(self.decisions.ids)[rows]
        if isinstance(self.decisions, Predicted):
            strata, count = self.decisions.strata(rows)
        else:
            strata, count, _ = strata_of(self.config, self.decisions, rows)
        codes, sizes = self._codes(name, ids)
        drawn = np.ones(len(ids), dtype=bool)
        size = self.config.sample_of(name)
        if size is not None:
            drawn = sample(self.openings[holders[0]].seed, self.told["draws"][holders[0]]["nonce"], ids, size)
        values = np.zeros((count, int(np.prod(sizes))))
        np.add.at(values, (strata[drawn], codes[drawn]), 1)
        return Counts(name, torch.from_numpy(values), 0.0, len(ids))

    def _codes(self, name: str, ids: Ids) -> tuple[np.ndarray, list[int]]:
        """Group codes of the records, and how many groups each attribute has."""
        parts = self.config.components(name)
        holders = {part: self._tables(part) for part in parts}
        sizes = [len(stores[0].groups[part]) for part, stores in holders.items()]
        # -1 where another has the person
        held = [np.max([one.codes_at(part, find(ids, one.known)) for one in ones], 0) for part, ones in holders.items()]
        return joint_codes(held, sizes), sizes

    def _tables(self, attribute: str) -> list[AuditorStore]:
        """The opened tables of the attribute's holders; what others have committed to under its name is nothing.
        ProtocolError where one has no such column, or other groups in it than the first."""
        found = [self.stores[auditor] for auditor in self.config.holders[attribute]]
        for auditor, store in zip(self.config.holders[attribute], found, strict=True):
            if attribute not in store.groups or store.groups[attribute] != found[0].groups[attribute]:
                raise ProtocolError(f"{auditor}: committed to a table without {attribute}, or with other groups of it")
        return found

    def _common(self) -> np.ndarray:
        """The developer's rows that somebody has of every attribute whose holders have opened."""
        assert self.decisions is not None  # asked before
        ids = as_ids(self.decisions.ids)
        common = np.ones(len(ids), dtype=bool)
        for holders in self.config.holders.values():
            if all(auditor in self.stores for auditor in holders):
                common &= np.any([find(ids, self.stores[auditor].known) >= 0 for auditor in holders], axis=0)
        return np.flatnonzero(common)

    def _check_records(self) -> None:
        """ProtocolError where the opened inputs cannot have as many records in common as the certificate says."""
        if self.decisions is None or not self.stores:
            return
        common, told = len(self._common()), self.told["records"]
        if common < told or (common != told and len(self.stores) == len(self.config.auditors)):
            raise ProtocolError(
                f"the opened inputs have {common} records in common, and the certificate is about {told}"
            )
