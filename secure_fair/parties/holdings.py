"""An auditor's holdings in one run: memberships of the enrolled people, and what it trains on pictures of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from secure_fair.data.store import AuditorStore, OwnRecords
from secure_fair.errors import BudgetExceeded, Refusal
from secure_fair.groups import joint_codes
from secure_fair.ids import Ids, find
from secure_fair.operations import RULES
from secure_fair.operations.common.adapters import Adapter, AdapterShapes, shapes_of
from secure_fair.operations.sensitive_training import NAME as TRAINING
from secure_fair.parties.checkpoints import Checkpoints
from secure_fair.parties.config import RunConfig
from secure_fair.parties.confirmed import Confirmed
from secure_fair.parties.draw import NOT_DRAWN, Draw
from secure_fair.parties.plans import own_trainings, plan_for, trained_on_own, training_target, trains_adapter
from secure_fair.parties.progress import Progress
from secure_fair.parties.trainings import Trainings, adversary_of
from secure_fair.privacy.entries import table_hash
from secure_fair.privacy.fit import misfits, reasons
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.noise import SystemNoise
from secure_fair.privacy.outlook import Outlook, SpendingRows
from secure_fair.privacy.plan import Plan
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.randomised_response import Responses
from secure_fair.privacy.tallies import tally
from secure_fair.randomness import PRG, KeySource

if TYPE_CHECKING:
    from secure_fair.learning.train import TrainSettings

OwnTraining = Callable[[Adapter | None], Tensor]  # the developer's adapter, to weights (d, columns), float64


@dataclass(frozen=True)
class Enrolled:
    """The table of one run: the ``ids`` of its records, ``training`` of them first. ``seed`` and ``nonce`` are those of
    an audit's sample, if one is drawn."""

    run: str
    ids: Ids
    training: int
    seed: str = ""
    nonce: str = ""


@dataclass
class Holdings:
    """One auditor's things, behind its gate (see ``secure_fair.operations.common.operation.Holder``)."""

    config: RunConfig
    gate: Gate
    groups: Mapping[str, tuple[str, ...]]  # names, of every attribute held here
    codes: Mapping[str, np.ndarray]  # by attribute, int64 (enrolled,); -1 for people whom another auditor holds
    responses: Responses
    adapters: dict[str, Adapter] = field(default_factory=dict)
    trainings: dict[str, OwnTraining] = field(default_factory=dict)
    confirmed: Confirmed = field(default_factory=Confirmed)
    planned: int = 0  # releases, of all attributes
    draw: Draw | None = None  # the sample of an audit; everybody else is in each attribute's last group
    made: Trainings = field(default_factory=Trainings)

    @classmethod
    def open(
        cls,
        config: RunConfig,
        auditor: str,
        store: AuditorStore,
        state: Path,
        ledger: Ledger,
        policy: Policy,
        enrolled: Enrolled,
        progress: Progress,
        *,
        tell: Callable[[Outlook], None] | None = None,
        kept: Checkpoints | None = None,
    ) -> Holdings:
        """Check the table against the ``store``; nothing is spent.

        Where the scenario says that this auditor holds a part of the people, others are allowed in the table. A run
        whose plan does not fit the policy is refused here. ``tell`` is given the outlook before anything is spent.
        ``kept``: where that is kept which is trained here once, so that a run that is gone on with has it again.
        """
        run, ids, training = enrolled.run, enrolled.ids, enrolled.training
        rows = find(ids, store.known)
        seed, nonce = enrolled.seed, enrolled.nonce
        draw = Draw.of(config.promises[auditor], seed, nonce, ids, len(store.known)) if seed else None
        groups = {name: (*names, NOT_DRAWN) if draw else names for name, names in store.groups.items()}
        check_parts(store, ids, training)
        progress.stage(f"{auditor}: {int((rows >= 0).sum())} of the {len(store.known)} records held here take part")
        resumed = any(entry["kind"] == "planned" for entry in ledger.entries(run))
        plans = {name: plan_for(config, name, len(names), training) for name, names in groups.items()}
        gate = _gate(config, auditor, store, ledger, policy, enrolled, plans)
        outlook = outlook_of(config, store, gate, plans, ledger, training)
        if tell is not None:
            tell(outlook)
        check_persons(config, gate)
        # an audit that was made before asks for nothing: its releases are judged when they are asked for
        admit_plans(config, gate, plans, None if resumed or config.promises else outlook)
        codes = {name: store.codes_at(name, rows) for name in store.attributes}
        if draw is not None:
            codes = {name: draw.codes(known, len(store.groups[name])) for name, known in codes.items()}
        made = Trainings.of(kept, ledger, run)
        held = cls(config, gate, groups, codes, open_responses(state), draw=draw, made=made)
        held.planned = sum(use.releases for use in outlook.uses)
        if config.certified:
            held.confirmed = Confirmed(state / "confirmed", confirmed_about(config, ids, draw))
        return held

    def train(self, folder: Path, progress: Progress) -> None:
        """Train what the method needs of the auditor's own records, in the store in ``folder``: that may spend."""
        config = self.config
        if trains_adapter(config):
            self.train_adapters(OwnPictures.load(config, AuditorStore.open(folder), progress))
        if own_trainings(config):
            self.plan_trainings(OwnPictures.load(config, AuditorStore.open(folder), progress))

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes held here."""
        return tuple(self.groups)

    @property
    def joint_codes(self) -> dict[str, np.ndarray]:
        """Codes, int64 (enrolled,), of the run's intersections that this auditor holds alone."""
        found = {}
        for name in joint_names(self.config, self.gate.auditor):
            components = self.config.components(name)
            sizes = [len(self.groups[component]) for component in components]
            found[name] = joint_codes([self.codes[component] for component in components], sizes)
        return found

    @property
    def ids(self) -> Ids:
        """Ids of the enrolled table."""
        return self.gate.ids

    @property
    def names(self) -> Sequence[str]:
        """Names of those whose records are enrolled, one for each record."""
        return self.gate.names

    @property
    def people(self) -> np.ndarray:
        """The place of the first record of each enrolled record's person, int64 (enrolled,)."""
        return self.gate.people

    @property
    def held(self) -> np.ndarray:
        """Whether each enrolled record is this auditor's, bool (enrolled,)."""
        return self.gate.held

    @property
    def scale(self) -> int:
        """Ring units per 1.0."""
        return int(2**self.config.precision_bits)

    @property
    def adapter_shapes(self) -> dict[str, AdapterShapes]:
        """Shapes of the adapters' matrices."""
        return {attribute: shapes_of(adapter) for attribute, adapter in self.adapters.items()}

    def train_adapters(self, own: OwnPictures) -> None:
        """Train a sensitive adapter for every attribute held here that the method is to be fair to; with an epsilon by
        DP-SGD. The gate accounts it."""
        # an auditor that trains nothing is spared the seconds that these take to import
        from secure_fair.learning.sensitive import train_sensitive, train_sensitive_privately

        model, privacy = self.config.model, self.config.privacy
        for attribute in trained_on_own(self.config, self.gate.auditor):
            codes, groups = torch.from_numpy(own.records.codes[attribute]), len(self.groups[attribute])
            settings = replace(own.settings, seed=self._own_seed(attribute))

            def train(
                codes: Tensor = codes, groups: int = groups, settings: TrainSettings = settings
            ) -> dict[str, Any]:
                if privacy is None or privacy.epsilon is None:
                    trained = train_sensitive(model, own.tokens, codes, groups, settings, own.kept)
                    return {"adapter": trained.adapter, "epsilon": None, "delta": 0.0}
                target = (privacy.epsilon, privacy.delta)
                trained, done = train_sensitive_privately(model, own.tokens, codes, groups, settings, target)
                return {"adapter": trained.adapter, "epsilon": done.epsilon, "delta": done.delta}

            made = self.made.once(attribute, "adapter", 1, train, partial(self._account, attribute, own))
            self.adapters[attribute] = made["adapter"]

    def _own_seed(self, attribute: str) -> int:
        """The seed of an adapter's start, apart from the developer's and from every other's.

        Two adapters of one seed begin with the same A: an orthogonality between them could then only shrink it.
        """
        name = f"{self.config.seed}, {self.gate.auditor}, {attribute}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")

    def plan_trainings(self, own: OwnPictures) -> None:
        """Get ready to train an adversary of every attribute held here, as often as the scenario has it.

        Its epsilon and delta are shared evenly among these trainings; each is accounted for before its result is used,
        and one more than planned is refused.
        """
        from secure_fair.learning.adversary import OwnAdversary

        count, target = own_trainings(self.config), training_target(self.config)

        def training(attribute: str) -> OwnTraining:
            codes = torch.from_numpy(own.records.codes[attribute])
            adversary = OwnAdversary(self.config.model, own.tokens, codes, len(self.groups[attribute]), own.settings)

            def train(adapter: Adapter | None) -> dict[str, Any]:
                weights, done = adversary.train(adapter, target)
                epsilon, delta = (None, 0.0) if done is None else (done.epsilon, done.delta)
                return {"weights": weights, "epsilon": epsilon, "delta": delta}

            def train_once(adapter: Adapter | None) -> Tensor:
                account = partial(self._account, attribute, own)
                name = adversary_of(adapter)
                weights: Tensor = self.made.once(attribute, name, count, partial(train, adapter), account)["weights"]
                return weights

            return train_once

        self.trainings = {attribute: training(attribute) for attribute in self.attributes}

    def _account(self, attribute: str, own: OwnPictures, made: Mapping[str, Any], name: str) -> None:
        self.gate.account_training(
            attribute,
            own.records.ids,
            operation=TRAINING,
            epsilon=made["epsilon"],
            delta=made["delta"],
            persons=own.records.persons,
            name=name,
        )


@dataclass(frozen=True)
class OwnPictures:
    """An auditor's own pictures as tokens (m, T, d), and how it trains on them on this machine."""

    records: OwnRecords
    tokens: Tensor
    settings: TrainSettings
    kept: Path | None = None  # where trainings without privacy serve again: a sweep's

    @classmethod
    def load(cls, config: RunConfig, store: AuditorStore, progress: Progress) -> OwnPictures:
        """Run the frozen part of the backbone over them, once."""
        from secure_fair.learning.kept import kept_in
        from secure_fair.learning.model import cached_tokens, train_settings

        # the validation part is the developer's: nothing is chosen by it here
        own, settings = store.own(), replace(train_settings(config.train, config.seed), validation=0.0)
        tokens = cached_tokens(
            config.model,
            own.inputs,
            store.folder / "cache",
            settings.dtype,
            settings.device,
            lambda done, total: progress.progress("backbone", done, total),
        )
        return cls(own, tokens, settings, kept_in(store.folder / "cache"))


def _gate(
    config: RunConfig,
    auditor: str,
    store: AuditorStore,
    ledger: Ledger,
    policy: Policy,
    enrolled: Enrolled,
    plans: Mapping[str, Plan],
) -> Gate:
    """The one way by which anything leaves this auditor in this run."""
    return Gate(
        auditor=auditor,
        run=enrolled.run,
        ids=enrolled.ids,
        training=enrolled.training if len(enrolled.ids) else 0,
        known=store.known,
        plans=plans,
        rules=RULES,
        policy=policy,
        ledger=ledger,
        noise=SystemNoise(),
        part=auditor in config.parted,
        persons=store.persons_of(enrolled.ids),
        joint=joint_names(config, auditor),
        alone=config.alone,
    )


def outlook_of(
    config: RunConfig, store: AuditorStore, gate: Gate, plans: Mapping[str, Plan], ledger: Ledger, training: int
) -> Outlook:
    """The releases that the run may make here, and the spending of its people, ``training`` of them first."""
    trainings = own_trainings(config) or int(trains_adapter(config))
    rows, held = gate.rows, gate.held
    own = ledger.spending.rows([])
    if trainings:
        pictures = store.own()
        own = ledger.spending.enrol(pictures.ids, pictures.persons)
    people = SpendingRows(rows[:training][held[:training]], rows[training:][held[training:]], own)
    return Outlook(
        policy=gate.policy,
        plans=plans,
        rules=RULES,
        trainings=trainings,
        spending=ledger.spending,
        people=people,
    )


def admit_plans(config: RunConfig, gate: Gate, plans: Mapping[str, Plan], outlook: Outlook | None) -> None:
    """Refuse a run that would be refused in the middle: by the policy's rules, or by its limits for life.

    Without an ``outlook`` the limits are not looked at: a resumed run has spent a part of its plan already, a repeated
    audit all of it.
    """
    found = misfits(gate.policy, plans, RULES, config.train.batch_size, config.products, alone=config.alone)
    for misfit in found:
        gate.note_refusal(misfit.operation, misfit.attribute, misfit.reason)
    if found:
        raise Refusal(f"the policy of {gate.auditor} does not fit the run: {'; '.join(reasons(found))}")
    if outlook is not None:
        try:
            outlook.check()
        except BudgetExceeded as error:
            for use in outlook.uses:
                gate.note_refusal(use.operation, use.attribute, str(error))
            raise


def joint_names(config: RunConfig, auditor: str) -> list[str]:
    """The run's intersections of which this auditor alone holds every attribute."""
    return [name for name in config.computed_intersections if config.joint_holder(name) == auditor]


def check_persons(config: RunConfig, gate: Gate) -> None:
    """Refuse a run whose noise is not made for persons with as many records as there are here."""
    promised = config.privacy.records_per_person if config.privacy is not None else None
    if promised is not None and gate.unit == "record" and len(gate.ids):
        raise Refusal(
            f"privacy.records_per_person = {promised}, and the store of {gate.auditor} does not say whose each record "
            "is: leave the key out, or prepare stores from data with persons (data.person_column)"
        )
    noised = config.privacy is not None and (config.privacy.epsilon or config.privacy.evaluation_epsilon)
    for part in (slice(0, gate.training), slice(gate.training, None)):
        times = tally(gate.people[part][gate.held[part]], len(gate.ids))[1]
        if noised and times.max(initial=0) > (promised or 1):
            several = int((times > (promised or 1)).sum())
            raise Refusal(
                f"{several} persons have more records in this run than the {promised or 1} that its noise is made for, "
                f"up to {times.max()}: set privacy.records_per_person = {times.max()}, or leave some of them out"
            )


def check_parts(store: AuditorStore, ids: Ids, training: int) -> None:
    """Refuse an enrolled table with records in another part than this auditor's store has them in."""
    misplaced = store.misplaced(ids, training)
    if misplaced:
        raise Refusal(
            f"{misplaced} of {len(ids)} records are in another part, training or test, than follows from their ids and "
            "the scenario's seed and shares: prepare both stores from the same scenario and join key"
        )


def confirmed_about(config: RunConfig, ids: Ids, draw: Draw | None) -> str:
    """The name of all that confirmed counts are about: the table, the sample drawn from it, and the noise asked for.

    Counts of another draw, or with other noise, are none that this run's statement can rest on.
    """
    about = [table_hash(ids), None if draw is None else draw.facts, str(config.privacy)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def open_responses(state: Path) -> Responses:
    """The randomised responses that this auditor's people have given so far."""
    return Responses(state / "responses", PRG(KeySource.fresh().derive("randomised responses")))
