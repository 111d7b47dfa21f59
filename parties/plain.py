"""Plain mode: developer and auditors in one process, with the same stores, gates and methods, and no shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from parties.auditor import held_codes, make_gate, open_responses, own_trainings, train_adapters
from parties.config import RunConfig
from parties.messages import check_parts
from parties.progress import Progress
from parties.reports import write_party_report
from parties.training import develop, prepare
from secure_fair.data.store import AuditorStore, DeveloperStore
from secure_fair.learning.plain import OwnTraining, PlainAuditors
from secure_fair.learning.sensitive import Sensitive
from secure_fair.privacy.gate import Gate
from secure_fair.privacy.ledger import Ledger
from secure_fair.privacy.policy import Policy
from secure_fair.privacy.randomised_response import Responses
from secure_fair.privacy.release_cache import ReleaseCache


def run_in_the_clear(
    config: RunConfig, stores: Path, out: Path, state: Path, policy: Policy, run: str, progress: Progress
) -> None:
    """Train once. ``stores`` has a folder per party; every party's artefacts go below ``out`` as in secure mode."""
    developer = DeveloperStore.open(stores / config.developer)
    rows = np.concatenate([developer.training, developer.test])
    ids = [] if config.method.own_records else [developer.ids[row] for row in rows]
    progress.stage(f"features: {config.method.name}, in the clear")
    data = prepare(config, developer, stores / config.developer / "cache", progress)
    codes = {attribute: np.full(len(ids), -1, dtype=np.int64) for attribute in config.holders}
    groups: dict[str, tuple[str, ...]] = {}
    gates: dict[str, list[Gate]] = {attribute: [] for attribute in config.holders}
    sensitive: dict[str, Sensitive] = {}
    responses: dict[str, list[Responses]] = {attribute: [] for attribute in config.holders}
    own: dict[str, OwnTraining] = {}
    gate_of = {}
    ledgers = {}
    for name in config.auditors:
        store = AuditorStore.open(stores / name)
        ledgers[name] = Ledger(state / name, name, simulated=True)
        gate = make_gate(config, name, run, ids, len(developer.training), store, policy, ledgers[name])
        answers = open_responses(state / name)
        sensitive |= train_adapters(config, store, stores / name, gate, progress)
        own |= own_trainings(config, store, stores / name, gate, progress)
        gate_of[name] = gate
        for attribute in store.attributes:
            groups[attribute] = store.groups[attribute]
            codes[attribute] = np.maximum(codes[attribute], held_codes(store, attribute, ids))
            gates[attribute].append(gate)
            responses[attribute].append(answers)
    check_parts({name: gate_of[name].held for name in config.parted}, config.holders)
    told = ReleaseCache(state / config.developer / "answers", terms=str(config.privacy))
    auditors = PlainAuditors(
        codes,
        groups,
        gates,
        responses,
        sensitive,
        told,
        config.precision_bits,
        evaluated=config.evaluated,
        own=own,
        intersections=config.intersections,
        penalised=config.penalised,
    )
    progress.stage(f"training: {config.method.name}, {len(data.training)} records, in the clear")
    develop(config, data, auditors, out / config.developer, progress)
    for name, ledger in ledgers.items():
        folder = out / f"auditor-{name}"
        write_party_report(folder, name, None, None, gate_of[name])
        ledger.extract(run, folder / "ledger.jsonl")
        ledger.close()
