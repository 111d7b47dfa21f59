"""Policy files: a first one, and the reference of their keys, all without torch, which takes seconds to import."""

from __future__ import annotations

import pkgutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w
from pydantic.fields import FieldInfo

from secure_fair.defaults import DELTA
from secure_fair.errors import UsageError
from secure_fair.privacy.policy import Policy
from secure_fair.scenarios.keys import rows_of

# every file there is an operation; their names alone are read here
_FILES = pkgutil.iter_modules([str(Path(__file__).parents[1] / "operations")])
OPERATION_NAMES = tuple(module.name for module in _FILES if not module.ispkg)
EXAMPLES: dict[str, Any] = {
    "epsilon": 1.0,
    "total_epsilon": 2.0,
    "delta": DELTA,
    "allow_exact": False,
    "operations": ["group_counts", "moment", "evaluation_counts"],
    "minimum_batch": 32,
    "max_releases": 100,
    "max_records_per_person": 1,
    "developer": "may deviate",
    "auditors": "may deviate",
    "row_bounds": "check",
    "answer": "verdict",
    "claims": ["impact ratio by sex >= 0.8"],
    "smallest_share": 0.02,
    "sample": 1000,
    "coverage": 0.95,
}
WRITTEN = (
    "epsilon",
    "total_epsilon",
    "delta",
    "allow_exact",
    "minimum_batch",
    "developer",
    "auditors",
    "row_bounds",
)  # the others are left as comments
WIDTH = 120

PAGE = """# An auditor's policy

Made by `secure-fair policy reference`. What an auditor lets out is for its own file to say, and never for the scenario:
`secure-fair party auditor` does not start without `--policy FILE`.

    secure-fair policy init policy.toml                # safe limits, every key with its meaning
    secure-fair policy check policy.toml               # every mistake at once
    secure-fair policy check policy.toml scenario.toml # whether this plan fits a first run
    secure-fair policy show policy.toml                # as the gate takes it

A plan that does not fit is refused before anything is served, with one message at both parties and a line in the ledger
for each operation: exit code 4, or 3 where a limit for life would be exceeded.

In a simulation (`secure-fair run`, `secure-fair sweep`) the scenario's `[policy]` has the same keys and stands for
every auditor's file. There, and nowhere else, `allow_exact` is implied where the scenario has no `privacy.epsilon` and
its `[policy]` no limit; the run warns of exact releases."""


def load(file: Path) -> Policy:
    """An auditor's file; UsageError with every problem, claims about no metric among them."""
    policy = Policy.load(file, known=OPERATION_NAMES)
    problems = list(_claim_problems(policy, file.name)) if policy.claims else []
    if problems:
        raise UsageError(problems)
    return policy


def _claim_problems(policy: Policy, where: str) -> Iterator[str]:
    from secure_fair.fairness.claims import Claim  # which takes scipy, and most policies have no claims

    for place, text in enumerate(policy.claims):
        try:
            Claim.parse(text)
        except ValueError as error:
            yield f"{where}.claims.{place}: {error}"


def template() -> str:
    """The text of a first policy: safe limits, and all other keys as comments."""
    lines = ["# The policy of an auditor: what its gate lets out, whatever a scenario asks for."]
    for key, field in Policy.model_fields.items():
        lines += ["", *textwrap.wrap(_meaning(field), WIDTH, initial_indent="# ", subsequent_indent="# ")]
        lines.append(("" if key in WRITTEN else "# ") + example(key))
    return "\n".join(lines) + "\n"


def text(policy: Policy) -> str:
    """A policy with every key, those without a value as comments."""
    values = policy.as_mapping()
    return "\n".join(f"# {key}: none" if value is None else _assignment(key, value) for key, value in values.items())


def page() -> str:
    """The reference of every key as Markdown."""
    table = "\n".join(rows_of(Policy))
    examples = "\n\n".join(
        f"**`{key}`.** {_meaning(field)}\n\n    {example(key)}" for key, field in Policy.model_fields.items()
    )
    return f"{PAGE}\n\n## Every key\n\n{table}\n\n## Examples\n\n{examples}\n"


def example(key: str) -> str:
    """A line that sets the key."""
    return _assignment(key, EXAMPLES[key])


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _assignment(key: str, value: Any) -> str:
    return tomli_w.dumps({key: value}, indent=0).strip().replace("[\n", "[").replace(",\n]", "]").replace(",\n", ", ")
