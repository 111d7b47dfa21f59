"""Plain mode: developer and auditors in one process, with the same stores, gates and methods, and no shares."""

from __future__ import annotations

from pathlib import Path

from secure_fair.attacks.common.secret_batches import Batches
from secure_fair.attacks.common.strongest import Strongest
from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.errors import UsageError
from secure_fair.ids import Ids
from secure_fair.operations.common.adapters import AdapterShapes
from secure_fair.parties.config import RunConfig
from secure_fair.parties.enrolment import Enrolment, enrolled_ids
from secure_fair.parties.holdings import Enrolled, Holdings
from secure_fair.parties.messages import check_parts
from secure_fair.parties.plain_auditors import PlainAuditors
from secure_fair.parties.plans import trains_adapter
from secure_fair.parties.progress import Progress
from secure_fair.parties.reports import write_party_report
from secure_fair.parties.training import develop, prepare
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.release_cache import ReleaseCache


def run_in_the_clear(
    config: RunConfig,
    stores: Path,
    out: Path,
    state: Path,
    policy: Policy,
    run: str,
    progress: Progress,
    *,
    attack: bool = False,
) -> Strongest | None:
    """Train once. ``stores`` has a folder per party; every party's artefacts go below ``out`` as in secure mode.

    ``attack``: the strongest attacker sees what is released, and is returned.
    """
    developer = DeveloperStore.open(stores / config.developer)
    progress.stage(f"features: {config.method.name}, in the clear")
    data = prepare(config, developer, stores / config.developer / "cache", progress)
    ledgers = {name: Ledger(state / name, name, simulated=True) for name in config.auditors}
    ids = enrolled_ids(config, developer)
    enrolled = Enrolled(run, ids, len(developer.training))
    holders = {
        name: Holdings.open(
            config,
            name,
            AuditorStore.open(stores / name),
            state / name,
            ledger,
            policy,
            enrolled,
            progress,
        )
        for name, ledger in ledgers.items()
    }
    for name, holder in holders.items():  # once all have admitted the plan
        holder.train(stores / name, progress)
    cache = ReleaseCache(state / config.developer / "answers", terms=str(config.privacy))
    attacker = attacker_of(config, holders, stores) if attack else None
    auditors = PlainAuditors(config, holders, enrolment_of(config, holders, ids), cache, attacker)
    progress.stage(f"training: {config.method.name}, {len(data.training)} records, in the clear")
    develop(config, data, auditors, out / config.developer, progress)
    for name, ledger in ledgers.items():
        folder = out / f"auditor-{name}"
        write_party_report(folder, name, None, None, holders[name].gate)
        ledger.extract(run, folder / "ledger.jsonl")
        ledger.close()
    return attacker


def attacker_of(config: RunConfig, holders: dict[str, Holdings], stores: Path) -> Strongest:
    """The strongest attacker on the run's one attribute. UsageError where there are several, or none is asked about.

    Where the auditor trains an adapter, it attacks the records that the adapter is trained on, those of the auditor.
    """
    if len(config.holders) != 1 or config.parted or config.own_records:
        raise UsageError(
            f"--attack: the run has the attributes {', '.join(config.holders)}; the attack takes one, held by one "
            "auditor, of the developer's own records"
        )
    ((attribute, (name,)),) = config.holders.items()
    holder, privacy = holders[name], config.privacy
    if trains_adapter(config):
        own, groups = len(AuditorStore.open(stores / name).own().ids), len(holder.groups[attribute])
        if privacy is None or privacy.epsilon is None:
            return Strongest(own, groups)
        from secure_fair.learning.sensitive import private_settings  # with all that trains a model

        training = private_settings(privacy.epsilon, privacy.delta)
        return Strongest(own, groups, batches=Batches(training.multiplier, training.sample_rate, training.steps))
    return Strongest(len(holder.ids), len(holder.groups[attribute]), privacy.epsilon if privacy else None)


def enrolment_of(config: RunConfig, holders: dict[str, Holdings], ids: Ids) -> Enrolment:
    """The facts that the parties would tell each other."""
    adapters: dict[str, AdapterShapes] = {}
    for holder in holders.values():
        adapters |= holder.adapter_shapes
    parts = {name: holders[name].held for name in config.parted}
    check_parts(parts, config.holders)
    groups = {attribute: holders[names[0]].groups[attribute] for attribute, names in config.holders.items()}
    return Enrolment(ids, groups, adapters, parts)
