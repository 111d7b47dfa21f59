"""Released counts as developer and auditors take them, alike: the audit of an attribute, and verdicts on claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress, product
from typing import Any

from secure_fair.data.decisions import UNKNOWN, Decisions
from secure_fair.errors import UsageError
from secure_fair.fairness.audits import AttributeAudit
from secure_fair.fairness.claims import Claim, Verdict, decide
from secure_fair.groups import joint_groups
from secure_fair.parties.config import RunConfig
from secure_fair.parties.confirmed import Counts
from secure_fair.parties.draw import NOT_DRAWN
from secure_fair.privacy.accounting import gaussian_epsilon, gaussian_mu

DECIDED, SCORED, PREDICTED = "decisions", "scores above their median", "predictions of the test records"


def audit_of(config: RunConfig, groups: Mapping[str, Sequence[str]], name: str, counts: Counts) -> AttributeAudit:
    """The audit of an attribute or intersection. ``groups``: names of every attribute's."""
    components = {component: groups[component] for component in config.components(name)}
    names = tuple(groups[name]) if name in groups else joint_groups(components)
    sample = config.sample_of(name)
    drawn = [NOT_DRAWN not in together for together in product(*components.values())]
    return AttributeAudit(
        counts=counts.values.numpy()[:, drawn],
        sigma=counts.sigma,
        names=tuple(compress(names, drawn)),
        known=tuple(UNKNOWN not in together for together in compress(product(*components.values()), drawn)),
        total=counts.total if sample is None else min(sample, counts.total),
        sampled=sample is not None,
        smallest=smallest_of(config, name),
    )


def smallest_of(config: RunConfig, name: str) -> float:
    """The part of all records below which a group is left out of ratios and differences; in a training that of
    policies that say nothing."""
    shares = [config.promises[one].smallest_share for one in config.answering(name) if one in config.promises]
    return max(shares, default=AttributeAudit.smallest)


def claims_of(config: RunConfig) -> Iterator[tuple[str, Claim]]:
    """Each auditor's claims, in the order of the terms; those of a training are with who confirms them."""
    for auditor, made in config.promises.items():
        yield from ((auditor, Claim.parse(text)) for text in made.claims)
    for claim in map(Claim.parse, config.claims):
        yield config.joint_holder(claim.attribute) or config.answering(claim.attribute)[0], claim


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


def check_classes(config: RunConfig, classes: Sequence[str]) -> None:
    """UsageError where a training is to be certified, and there are not two classes of which rates could be."""
    if config.claims and len(classes) != 2:
        raise UsageError(
            f"secure.claims: are about a task of two classes, and this one has {len(classes)}: leave the claims out, "
            "or choose a target with two (data.groups unites values)"
        )


def verdicts_of(config: RunConfig, audits: Mapping[str, AttributeAudit]) -> list[dict[str, Any]]:
    """Every claim decided from the audits of all attributes, JSON-ready."""
    return [
        {"auditor": auditor, **verdict_tree(config, decide(claim, audits[claim.attribute]))}
        for auditor, claim in claims_of(config)
    ]


def answer_of(
    config: RunConfig,
    audits: Mapping[str, AttributeAudit],
    releases: Sequence[Mapping[str, str]],
    model: Mapping[str, str],
    records: int,
) -> dict[str, Any]:
    """The answer of a training's own audit, of its test records, as a statement takes it."""
    return {
        "measured": PREDICTED,
        "records": {"matched": records},
        "verdicts": verdicts_of(config, audits),
        "releases": list(releases),
        "draws": {},
        "model": dict(model),
    }


def measured(decisions: Decisions) -> str:
    """The subject of the rates, in the words of statements."""
    return DECIDED if decisions.scores is None else SCORED


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
