"""The review of a finished run: what its parties kept says who learned what, and whether that is what is claimed."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from scipy.stats import chi2

from secure_fair.defaults import DELTA
from secure_fair.errors import DamagedFile, UsageError
from secure_fair.operations import RULES
from secure_fair.privacy.accounting import gaussian_advantage
from secure_fair.privacy.chain import entries_of, read_extract, verify
from secure_fair.privacy.comparison import compare, entries_about, missed
from secure_fair.privacy.recount import TOLERANCE, Recount, groups_of, mu_of, recounts
from secure_fair.scenarios.artefacts import AUDITOR, DEVELOPER, misplaced, open_to_others, parties_of

SUMMARY, EXTRACT, REPORT = "summary.json", "ledger.jsonl", "party.json"
RARE = 1e-4  # probability below which noise is not believed to be as large as it was said to be
Verdict = Literal["holds", "FAILS", "not checked"]


@dataclass(frozen=True)
class Inspection:
    """One thing that was looked at, in one run."""

    run: str
    name: str
    verdict: Verdict
    says: str


@dataclass(frozen=True)
class Learned:
    """One kind of release as both ledgers have it: how often, how many numbers, and what one of them costs.

    ``mu`` and ``advantage`` of all of them together to one record in each; infinite and 1 where they are exact.
    """

    run: str
    operation: str
    about: str
    of: str
    by: str
    releases: int
    received: int
    numbers: int
    sigma: float | None
    mu: float
    advantage: float


Entries = list[dict[str, Any]]


def is_run(source: str) -> bool:
    """Whether this names the folder of a finished run."""
    return (Path(source) / SUMMARY).is_file()


def review_run(folder: Path) -> dict[str, Any]:
    """Look at a run and at the methods that it compares with; JSON-ready. UsageError where it is no whole run."""
    runs = [folder, *sorted(path.parent for path in (folder / "compare").glob(f"*/{SUMMARY}"))]
    checks: list[Inspection] = [_modes(folder)]
    learned: list[Learned] = []
    accounts: list[dict[str, Any]] = []
    warnings: list[str] = []
    for run in runs:
        name, summary = _name(run, folder), _json(run / SUMMARY)
        warnings += [text for text in _warnings(summary) if text not in warnings]
        checks += [*_misplaced(run, name, summary), _noise(name, summary)]
        for auditor, developer, own, party in _ledgers(run):
            kept = recounts(own, RULES, _delta(summary, party))
            checks += [
                _agree(name, auditor, developer, own),
                _whole(name, auditor, run, own),
                *_spending(name, auditor, kept, party, summary),
            ]
            learned += _learned(name, auditor, developer, own)
            accounts += [
                {"run": name, "auditor": auditor, **asdict(one), "advantage": one.advantage} for one in kept.values()
            ]
    return {
        "run": str(folder),
        "version": importlib.metadata.version("secure-fair"),
        "checks": [asdict(check) for check in checks],
        "learned": [_finite(asdict(one)) for one in learned],
        "accounts": [_finite(one) for one in accounts],
        "warnings": warnings,
    }


# what the parties kept


def _ledgers(run: Path) -> Iterator[tuple[str, Entries, Entries, Mapping[str, Any]]]:
    """For each auditor that released anything: its name, the developer's entries about it, its own, its report."""
    developers = run / DEVELOPER / EXTRACT
    for folder in parties_of(run):
        extract = folder / EXTRACT
        if folder.name.startswith(AUDITOR) and extract.is_file() and developers.is_file():
            name = folder.name.removeprefix(AUDITOR)
            report = folder / REPORT
            yield name, entries_about(read_extract(developers), name), read_extract(extract), _json(report)


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: is missing; a review is made of a finished run's whole folder") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not JSON: {error}") from error
    return found


def _name(run: Path, folder: Path) -> str:
    return "main" if run == folder else run.name


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    return [*summary.get("warnings", []), *summary.get("security", {}).get("warnings", [])]


def _delta(summary: Mapping[str, Any], party: Mapping[str, Any]) -> float:
    """The delta that the run was accounted at."""
    told = [one["delta"] for held in (party, summary.get("privacy", {})) for one in _accounts(held).values()]
    return max((float(delta) for delta in told if delta), default=DELTA)


def _accounts(held: Mapping[str, Any]) -> Mapping[str, Any]:
    accounts: Mapping[str, Any] = held.get("attributes", held.get("privacy", {}))
    return accounts


# the checks


def _agree(run: str, auditor: str, developer: Entries, own: Entries) -> Inspection:
    differences = compare(developer, own)
    count, lost = sum(entry["kind"] == "received" for entry in developer), missed(developer)
    says = "; ".join(differences) or f"{count} releases, in the same words on both sides"
    says += f"; {lost} more were let out and missed, the developer says" if lost else ""
    return Inspection(run, f"ledgers of developer and {auditor} agree", "FAILS" if differences else "holds", says)


def _whole(run: str, auditor: str, folder: Path, own: Entries) -> Inspection:
    """The extract is part of the whole ledger, whose chain and head hold."""
    name, state = f"whole ledger of {auditor}", folder / f"{AUDITOR}{auditor}" / "state" / "ledger"
    if not (state / EXTRACT).is_file():
        return Inspection(run, name, "not checked", "the auditor's state is elsewhere")
    try:
        entries = verify(state).entries
    except DamagedFile as error:
        return Inspection(run, name, "FAILS", str(error))
    hashes = {entry["hash"] for entry in entries_of(state)}
    missing = [entry["entry"] for entry in own if entry["hash"] not in hashes]
    says = f"entry {missing[0]} of the extract is not in it" if missing else f"{entries} entries, chain and head hold"
    return Inspection(run, name, "FAILS" if missing else "holds", says)


def _spending(
    run: str, auditor: str, kept: Mapping[str, Recount], party: Mapping[str, Any], summary: Mapping[str, Any]
) -> Iterator[Inspection]:
    """Check that the noise in the ledger comes to what the auditor and the run's summary say was spent."""
    for attribute, account in kept.items():
        name = f"spending on {attribute} of {auditor}"
        said = {
            "the auditor": party.get("privacy", {}).get(attribute),
            "the summary": summary.get("privacy", {}).get("attributes", {}).get(attribute),
        }
        problems = [f"release {number} is charged less than its noise costs" for number in account.wrong]
        for who, told in said.items():
            epsilon = math.inf if told is None or told.get("exact") else float(told["epsilon"])
            if who == "the summary" and account.epsilon < epsilon < math.inf:
                continue  # an attribute has several auditors, and the summary says what was spent most
            if told is not None and not math.isclose(epsilon, account.epsilon, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                problems.append(f"{who} says epsilon {epsilon:.6g}, the noise in the ledger {account.epsilon:.6g}")
        asked = _asked(summary)
        if account.epsilon > asked * (1 + TOLERANCE):
            problems.append(f"epsilon {account.epsilon:.6g} was spent, {asked:.6g} asked for")
        says = "; ".join(problems) or (
            f"epsilon {account.epsilon:.4g} by {account.releases} releases, counted again from their noise"
            if math.isfinite(account.epsilon)
            else f"{account.releases} releases, exact ones among them: nothing is limited, and nothing else is claimed"
        )
        yield Inspection(run, name, "FAILS" if problems else "holds", says)


def _asked(summary: Mapping[str, Any]) -> float:
    """The most that a record may cost by the scenario, in training or in evaluation; infinite where it has no limit."""
    asked = summary.get("privacy", {}).get("asked") or {}
    if asked.get("epsilon") is None:
        return math.inf
    return max(float(asked["epsilon"]), float(asked.get("evaluation_epsilon") or 0.0))


def _noise(run: str, summary: Mapping[str, Any]) -> Inspection:
    """The released counts differ from the true ones by as much as their noise says: where the truth is at hand."""
    name, squares = "noise of released counts", []
    for attribute, released in (summary.get("fairness_released") or {}).items():
        truth = (summary.get("fairness") or {}).get(attribute)
        sigma = _sigma_of_counts(summary, attribute)
        if truth and sigma:
            for group, cells in released.get("groups", {}).items():
                exact = truth.get("groups", {}).get(group, {})
                if exact.get("records") is not None and cells.get("records"):
                    squares.append(((cells["records"] - exact["records"]) / sigma) ** 2)
    if not squares:
        return Inspection(run, name, "not checked", "no noised counts beside true ones")
    # each group's size is a sum of cells, of noise no smaller than one cell's; of two groups only one is free
    free = len(squares) // 2 or 1
    unlikely = float(chi2.cdf(sum(squares), free))
    says = (
        f"{len(squares)} group sizes, off by {math.sqrt(sum(squares) / len(squares)):.1f} of one cell's sigma, so much "
        f"at most with probability {unlikely:.2g}: so few find out noise that is missing, not noise that is halved"
    )
    return Inspection(run, name, "FAILS" if unlikely < RARE else "holds", says)


def _sigma_of_counts(summary: Mapping[str, Any], attribute: str) -> float | None:
    for opening in summary.get("openings", []):
        if opening["operation"] == "evaluation_counts" and opening.get("attribute") == attribute:
            return opening.get("sigma")
    return None


def _misplaced(run: Path, name: str, summary: Mapping[str, Any]) -> Iterator[Inspection]:
    groups = [
        group for one in (summary.get("fairness") or {}).values() for group in one.get("groups", {}) if len(group) > 2
    ]
    for party in parties_of(run):
        found = misplaced(party, groups)
        says = "; ".join(found) or "nothing that belongs to another party"
        yield Inspection(name, f"files of {party.name}", "FAILS" if found else "holds", says)


def _modes(folder: Path) -> Inspection:
    found = open_to_others(folder)
    says = f"others may read {', '.join(found[:5])}" + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    return Inspection(
        "main", "files are their owner's alone", "FAILS" if found else "holds", says if found else "all of them"
    )


# who learned what


def _learned(run: str, auditor: str, developer: Entries, own: Entries) -> Iterator[Learned]:
    """One line for each kind of release and attribute."""
    received = [
        (entry["operation"], entry["attribute"], entry["of"]) for entry in developer if entry["kind"] == "received"
    ]
    planned = [entry for entry in own if entry["kind"] == "planned"]
    for kind in dict.fromkeys((entry["operation"], entry["attribute"], entry.get("of", "")) for entry in planned):
        entries = [one for one in planned if (one["operation"], one["attribute"], one.get("of", "")) == kind]
        operation, attribute, of = kind
        alike = [one for one in planned if one["attribute"] == attribute]
        mu = mu_of(entries, RULES, groups_of(alike, RULES))
        yield Learned(
            run=run,
            operation=operation,
            about=f"{attribute} ({of})" if of else attribute,
            of=auditor,
            by=DEVELOPER if RULES[operation].opened else "nobody: it stays on shares, or with the auditor",
            releases=len(entries),
            received=received.count(kind),
            numbers=sum(math.prod(one["shape"]) for one in entries if one["shape"]),
            sigma=entries[0]["sigma"],
            mu=mu,
            advantage=gaussian_advantage(mu),
        )
    verdicts = [entry for entry in own if entry["kind"] == "verdict"]
    if verdicts:
        says = "whether the developer's rows are within 1"
        yield Learned(run, says, "-", DEVELOPER, auditor, len(verdicts), len(verdicts), len(verdicts), None, 0.0, 0.0)
    given = [entry for entry in own if entry["kind"] == "disclosed"]
    if given:
        numbers = sum(entry["numbers"] for entry in given)
        yield Learned(run, given[0]["what"], "-", DEVELOPER, auditor, len(given), len(given), numbers, None, 0.0, 0.0)


def _finite(tree: dict[str, Any]) -> dict[str, Any]:
    """Infinite numbers as None, which JSON has."""
    return {name: None if isinstance(value, float) and math.isinf(value) else value for name, value in tree.items()}


def failed(found: Mapping[str, Any]) -> Sequence[str]:
    """The checks that fail, in words."""
    return [
        f"{one['run']}: {one['name']} FAILS ({one['says']})" for one in found["checks"] if one["verdict"] == "FAILS"
    ]
