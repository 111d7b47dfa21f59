"""Plain mode: developer and auditors in one process, with the same stores, gates and methods, and no shares."""

from __future__ import annotations

from pathlib import Path

from parties.config import RunConfig
from parties.enrolment import Enrolment, enrolled_ids
from parties.holdings import Holdings
from parties.messages import check_parts
from parties.plain_auditors import PlainAuditors
from parties.progress import Progress
from parties.reports import write_party_report
from parties.training import develop, prepare
from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.ids import Ids
from secure_fair.operations.common.adapters import AdapterShapes
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.release_cache import ReleaseCache


def run_in_the_clear(
    config: RunConfig, stores: Path, out: Path, state: Path, policy: Policy, run: str, progress: Progress
) -> None:
    """Train once. ``stores`` has a folder per party; every party's artefacts go below ``out`` as in secure mode."""
    developer = DeveloperStore.open(stores / config.developer)
    progress.stage(f"features: {config.method.name}, in the clear")
    data = prepare(config, developer, stores / config.developer / "cache", progress)
    ledgers = {name: Ledger(state / name, name, simulated=True) for name in config.auditors}
    ids = enrolled_ids(config, developer)
    holders = {
        name: Holdings.open(
            config,
            name,
            AuditorStore.open(stores / name),
            state / name,
            ledger,
            policy,
            run=run,
            ids=ids,
            training=len(developer.training),
            progress=progress,
        )
        for name, ledger in ledgers.items()
    }
    cache = ReleaseCache(state / config.developer / "answers", terms=str(config.privacy))
    auditors = PlainAuditors(config, holders, enrolment_of(config, holders, ids), cache)
    progress.stage(f"training: {config.method.name}, {len(data.training)} records, in the clear")
    develop(config, data, auditors, out / config.developer, progress)
    for name, ledger in ledgers.items():
        folder = out / f"auditor-{name}"
        write_party_report(folder, name, None, None, holders[name].gate)
        ledger.extract(run, folder / "ledger.jsonl")
        ledger.close()


def enrolment_of(config: RunConfig, holders: dict[str, Holdings], ids: Ids) -> Enrolment:
    """The facts that the parties would tell each other."""
    adapters: dict[str, AdapterShapes] = {}
    for holder in holders.values():
        adapters |= holder.adapter_shapes
    parts = {name: holders[name].held for name in config.parted}
    check_parts(parts, config.holders)
    groups = {attribute: holders[names[0]].groups[attribute] for attribute, names in config.holders.items()}
    return Enrolment(ids, groups, adapters, parts)
