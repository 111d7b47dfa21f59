"""`secure-fair policy`: the file in which an auditor says what its gate may let out."""

from __future__ import annotations

from pathlib import Path

import click

from secure_fair.scenarios.cli.options import Output, override_option, shared_options

file_argument = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))


@click.group()
def policy() -> None:
    """Write, check and show an auditor's policy (secure-fair party auditor --policy FILE)."""


@policy.command()
@file_argument
@shared_options
def init(file: Path, output: Output) -> None:
    """Write a policy with safe limits to FILE, every key with its meaning. A file that is there is left alone."""
    from secure_fair.errors import UsageError
    from secure_fair.scenarios.policies import template

    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(template())
    except FileExistsError:
        raise UsageError(f"{file}: exists already; name another file, or change this one by hand") from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from error
    output.result({"file": str(file)}, f"{file}: written; read it, and set epsilon to what a person may cost for life")


@policy.command()
@file_argument
@click.argument("source", metavar="[SCENARIO]", required=False)
@override_option
@click.option("--auditor", help="Whose policy it is, where the scenario has several auditors.")
@click.option("--records", type=click.IntRange(min=1), help="Training records, where the data set is not here.")
@shared_options
def check(
    file: Path,
    source: str | None,
    overrides: tuple[str, ...],
    auditor: str | None,
    records: int | None,
    output: Output,
) -> None:
    """Check every key of FILE; with a SCENARIO also whether its plan fits, operation by operation, and its budget.

    Exit code 4 where an operation or a size does not fit, 3 where the epsilon for life is too small for a first run.
    """
    from secure_fair.scenarios.policies import load

    loaded = load(file)
    if source is None:
        output.result({"valid": True, "policy": loaded.as_mapping()}, f"{file} is valid")
        return
    from secure_fair.scenarios.fit import fit, plans_of
    from secure_fair.scenarios.schema import Scenario

    scenario = Scenario.load(source, overrides, output.note)
    outlook = fit(loaded, scenario, plans_of(scenario, auditor, records))
    text = "\n".join([*outlook.lines(), f"{file}: the plan fits"])
    output.result({"valid": True, "fits": True, **outlook.facts()}, text)


@policy.command()
@file_argument
@shared_options
def show(file: Path, output: Output) -> None:
    """Print FILE as the gate takes it, every key with its default."""
    from secure_fair.scenarios.policies import load, text

    loaded = load(file)
    output.result(loaded.as_mapping(), text(loaded))


@policy.command()
@shared_options
def reference(output: Output) -> None:
    """Describe every key of a policy, each with an example."""
    from secure_fair.scenarios.policies import page

    markdown = page()
    output.result({"markdown": markdown}, markdown.rstrip())


@policy.command()
@file_argument
@click.argument("name")
@click.argument("attributes", metavar="ATTRIBUTE,...")
@shared_options
def promise(file: Path, name: str, attributes: str, output: Output) -> None:
    """Print what the terms of an audit have of an auditor NAME with the policy FILE: its digest, claims and answer.

    These lines of all auditors, behind a name = "..." and epsilon = ..., are the file that every party of an audit
    between machines has (secure-fair party ROLE --audit FILE).
    """
    import tomli_w

    from secure_fair.scenarios.audit_terms import AuditorTerms

    held = tuple(part.strip() for part in attributes.split(",") if part.strip())
    terms = AuditorTerms.of(name, held, file).model_dump(mode="json", exclude_none=True)
    output.result(terms, tomli_w.dumps({"auditors": [terms]}, multiline_strings=False).rstrip())


@policy.command()
@shared_options
def schema(output: Output) -> None:
    """Print the JSON schema of policies, by which editors complete and check them."""
    import json

    from secure_fair.privacy.policy import Policy

    tree = Policy.model_json_schema()
    output.result(tree, json.dumps(tree, indent=2))
