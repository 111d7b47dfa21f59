"""Released counts as developer and auditors take them, alike: the audit of an attribute, and verdicts on claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress, product
from typing import Any

from parties.config import RunConfig
from parties.confirmed import Counts
from parties.draw import NOT_DRAWN
from secure_fair.data.decisions import UNKNOWN, Decisions
from secure_fair.errors import UsageError
from secure_fair.fairness.audits import Audit
from secure_fair.fairness.claims import Claim, Verdict
from secure_fair.groups import joint_groups
from secure_fair.privacy.accounting import gaussian_epsilon, gaussian_mu


def audit_of(config: RunConfig, groups: Mapping[str, Sequence[str]], name: str, counts: Counts) -> Audit:
    """The audit of an attribute or intersection. ``groups``: names of every attribute's."""
    components = {component: groups[component] for component in config.components(name)}
    names = tuple(groups[name]) if name in groups else joint_groups(components)
    sample = config.sample_of(name)
    drawn = [NOT_DRAWN not in together for together in product(*components.values())]
    return Audit(
        counts=counts.values.numpy()[:, drawn],
        sigma=counts.sigma,
        names=tuple(compress(names, drawn)),
        known=tuple(UNKNOWN not in together for together in compress(product(*components.values()), drawn)),
        total=counts.total if sample is None else min(sample, counts.total),
        sampled=sample is not None,
        smallest=max(config.promises[holder].smallest_share for holder in config.answering(name)),
    )


def claims_of(config: RunConfig) -> Iterator[tuple[str, Claim]]:
    """Each auditor's claims, in the order of the terms."""
    return ((auditor, Claim.parse(text)) for auditor, made in config.promises.items() for text in made.claims)


def check_decisions(config: RunConfig, decisions: Decisions) -> None:
    """UsageError where a claim needs decisions with labels, or bins need scores with labels, and there are none."""
    if config.bins is not None and (decisions.scores is None or decisions.labels is None):
        raise UsageError(
            f"--bins {config.bins}: compares scores with labels, and there are no "
            f"{'scores; leave out --decision and --threshold' if decisions.scores is None else 'labels'}; name the "
            "columns with --score and --label"
        )
    labelled = decisions.labels is not None and decisions.scores is None
    for auditor, claim in claims_of(config):
        if claim.labelled and not labelled:
            raise UsageError(
                f"claims of {auditor}: {str(claim)!r} needs labels, and there are no decisions with labels; name "
                "their columns with --decision and --label"
            )


def measured(decisions: Decisions) -> str:
    """The subject of the rates, in the words of statements."""
    return "decisions" if decisions.scores is None else "scores above their median"


def verdict_tree(config: RunConfig, verdict: Verdict) -> dict[str, Any]:
    """A verdict, JSON-ready, with the epsilon that would decide what is not decided."""
    claim, privacy = verdict.claim, config.privacy
    needed = None
    if verdict.finer is not None and privacy is not None and privacy.evaluation_epsilon is not None:
        # the noise's sigma is proportional to 1 / mu
        mu = gaussian_mu(privacy.evaluation_epsilon, privacy.delta) / verdict.finer
        needed = gaussian_epsilon(mu, privacy.delta)
    return {
        "claim": str(claim),
        "metric": claim.metric,
        "attribute": claim.attribute,
        "comparator": claim.comparator,
        "threshold": claim.threshold,
        "verdict": verdict.verdict,
        "deciding_epsilon": needed,
    }
