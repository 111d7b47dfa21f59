"""Scenarios with keys that do not go together: said by ``scenario validate`` with the key's path and the remedy."""

from __future__ import annotations

from collections.abc import Sequence

from tests.refusals.case import Case, case

Given = tuple[Sequence[str], str, str]  # overrides, the path that is complained of, and what is said of it

SMALL = """\
name = "small"
[data]
dataset = "faces"
target = "wavy_hair"
sensitive = ["male"]
"""
TWO = 'data.sensitive=["male","young"]'
SEPARATE = (
    "data.auditor_records=own",
    "method.name=orth",
    "data.auditor.dataset=utkface",
    "data.auditor.root=faces",
    'data.auditor.sensitive=["gender"]',
)


def validated(overrides: Sequence[str], *said: str, scenario: str = SMALL, problems: int = 1) -> Case:
    """The scenario with these changes, looked at alone."""
    given = [word for change in overrides for word in ("-o", change)]
    words = ["scenario", "validate", "small.toml", *given]
    return case(words, *said, problems=problems, files={"small.toml": scenario})


def holders(*auditors: str) -> str:
    """``secure.auditors`` of "name: attributes / records"."""
    tables = []
    for auditor in auditors:
        name, _, rest = auditor.partition(":")
        attributes, _, records = rest.partition("/")
        named = ",".join(f'"{attribute.strip()}"' for attribute in attributes.split(","))
        part = f",records={records}" if records else ""
        tables.append(f'{{name="{name}",attributes=[{named}]{part}}}')
    return f"secure.auditors=[{','.join(tables)}]"


CONFLICTS: list[Given] = [
    (["data.groups={male={a=['no'],b=['yes']}}"], "data.groups", "no use with drawn portraits"),
    (
        ["data.dataset=celeba", "data.root=x", "data.groups={hat={a=['no'],b=['yes']}}"],
        "data.groups.hat",
        "neither target nor sensitive",
    ),
    (["data.dataset=celeba", "data.root=x", "data.groups={male={a=['no','yes']}}"], "data.groups.male", "is one group"),
    (
        ["data.dataset=utkface", "data.root=x", "data.target=age cut at 9 and 3", 'data.sensitive=["race"]'],
        "data.target",
        "cut at numbers that ascend",
    ),
    (["data.split.developer=0.9"], "data.split", "sum to 1.4"),
    (["data.split={developer=0.0,auditor=0.5,test=0.5}"], "data.split.developer", "needs records"),
    (["data.sensitive=[]"], "data.sensitive", "at least 1"),
    (["data.sensitive=male"], "data.sensitive", "a list"),
    (['data.sensitive=["wavy_hair"]'], "data.target", "among data.sensitive"),
    (["data.target=beauty"], "data.target", "faces have no"),
    (["data.target=age > "], "data.target", "compared with a number"),
    (["data.root=x"], "data.root", "leave it out"),
    (["data.file=x"], "data.file", 'belongs to dataset "manifest"'),
    (["data.dataset=celeba"], "data.root", "is missing"),
    (
        ["data.dataset=utkface", "data.root=x", "data.target=age", 'data.sensitive=["race"]'],
        "data.target",
        "compared",
    ),
    (["data.dataset=utkface", "data.root=x", "data.target=age > 3"], "data.sensitive.0", "utkface has no"),
    (
        ["data.dataset=celeba", "data.root=x", "data.partition=true", "data.split={}"],
        "data.split",
        "data.partition says who gets which",
    ),
    (["method.name=orth", "method.release=moments"], "method.release", 'allowed: "adapter", "gradient"'),
    (
        ["method.name=ent", "method.release=moments", "data.auditor_records=own"],
        "method.release",
        'use release "rows"',
    ),
    (["method.name=erm", "method.release=rows"], "method.release", "it releases nothing"),
    (["method.name=erm", "method.strength=9"], "method.strength", "9.0 has no use with erm; it is for adv, ent"),
    (["method.adversary_features=disclosed"], "method.adversary_features", "no use with parity; it is for ent"),
    (
        ["method.name=posthoc", "method.accuracy_loss=0.02"],
        "method.accuracy_loss",
        "0.02 is measured on validation records, and there are none; set train.validation = 0.2",
    ),
    (
        ["method.name=orth", "method.release=gradient", "method.orthogonality=rows"],
        "method.orthogonality",
        '"rows" needs the sensitive adapter itself, and release "gradient" opens none; use release "adapter", or '
        'orthogonality "weights"',
    ),
    (
        ["method.name=unl", 'compare=["orth"]', "method.target_gap=0.1"],
        "method.target_gap",
        "0.1 has no use with unl, orth; it is for odds, parity, posthoc, rr: leave it out (-o method.target_gap=)",
    ),
    (
        ['compare=["adv"]', "train.batch_size=16"],
        "compare: adv: train.batch_size",
        "below the policy's minimum_batch 32",
    ),
    (["data.auditor_records=own"], "data.auditor_records", 'use "aligned"'),
    (
        ["method.name=orth", "data.split={developer=0.5,auditor=0.0,test=0.5}"],
        "data.split.auditor",
        "pictures of the auditor's own",
    ),
    (["method.release=rows", "train.batch_size=16"], "train.batch_size", "below the policy's minimum_batch 32"),
    (["privacy={}"], "privacy", "leave [privacy] out for exact releases"),
    (['compare=["parity"]'], "compare", "is method.name already"),
    (['compare=["erm","erm"]'], "compare", "twice"),
    (["backbone.name=vit_base_patch16_224"], "backbone.weights", "name a file of weights"),
    (["backbone.weights=timm"], "backbone.weights", 'use "embedded"'),
    (['secure.claims=["impact ratio by hat >= 0.8"]'], "secure.claims.0", "is not audited"),
    (['secure.claims=["fair ratio by male >= 0.8"]'], "secure.claims.0", "is no metric"),
    (['secure.claims=["impact ratio by male >= 0.8"]', "secure.mode=plain"], "secure.claims", "signed by all parties"),
    (['secure.claims=["impact ratio by male >= 0.8"]', "privacy.epsilon=1"], "secure.claims", "evaluation_epsilon"),
    (['secure.auditors=[{name="developer",attributes=["male"]}]'], "secure.auditors", "another party's name"),
    (['secure.auditors=[{name="a",attributes=["male","hat"]}]'], "secure.auditors.0.attributes", "not among"),
    (['secure.auditors=[{name="A",attributes=["male"]}]'], "secure.auditors.0.name", "matches"),
    (
        ['secure.auditors=[{name="a",attributes=["male"]},{name="b",attributes=["male"]}]'],
        "secure.auditors",
        'held by "a", "b"',
    ),
    (["secure=1"], "secure", "a table of keys"),
    (["name="], "name", "is missing"),
]
INTERSECTIONS: list[Given] = [
    (["data.intersections=[[]]"], "data.intersections.0", "name two or more"),
    (['data.intersections=[["male"]]'], "data.intersections.0", "name two or more"),
    (['data.intersections=[["male","male"]]'], "data.intersections.0", "twice"),
    (['data.intersections=[["male","yuong"]]'], "data.intersections.0", 'did you mean "young"?'),
    (['data.intersections=[["male","young"],["young","male"]]'], "data.intersections.1", "already, at 0"),
    (['data.intersections="male x young"'], "data.intersections", "a list"),
    (['method.attributes=["hat"]'], "method.attributes", "neither in data.sensitive nor an intersection"),
    (['method.attributes=["male","male"]'], "method.attributes", "twice"),
    (["method.attributes=[]"], "method.attributes", "at least 1"),
    (
        ['data.intersections=[["male","young"]]', 'method.attributes=["male x young"]', "method.name=unl"],
        "method.attributes",
        'an adapter is trained for one auditor\'s attribute; name those ("male", "young")',
    ),
    (
        ['data.intersections=[["male","young"]]', 'method.attributes=["male x young"]', 'compare=["orth"]'],
        "compare",
        "orth by adapter cannot be fair",
    ),
]
PARTS: list[tuple[list[str], str]] = [
    ([holders("a:male/0.5", "b:male/0.4", "c:young")], 'holders of "male", "a", "b", sum to 0.9; they must'),
    ([holders("a:male/0.5", "b:male", "c:young")], "or each a part of the people (records = 0.5)"),
    ([holders("a:male/0.5", "c:young")], "sum to 0.5"),
    ([holders("a:male/1.5", "c:young")], "less than or equal to 1"),
    ([holders("a:male/0.25", "b:young,male/0.75", "c:young/0.25")], "has one part of the people for all"),
    ([holders("a:male/0.5", "b:male/0.5", "c:young"), "method.name=orth"], "orth needs one auditor"),
    ([holders("a:male/0.5", "b:male/0.5", "c:young"), 'compare=["unl"]'], "unl needs one auditor"),
]
OTHER_PEOPLE: list[tuple[list[str], str]] = [
    (["data.auditor_records=aligned"], 'data.auditor_records: "aligned" is not possible with [data.auditor]'),
    (["method.name=parity"], "data.auditor_records: parity by moments needs the attributes of the developer's"),
    (['compare=["adv"]'], "compare: adv: data.auditor_records: adv by rows needs the attributes"),
    (["data.auditor.root="], "data.auditor.root: is missing; name the folder that holds utkface"),
    (
        ["data.auditor.dataset=faces", 'data.auditor.sensitive=["male"]'],
        'data.auditor.root: "faces" has no use with dataset "faces"',
    ),
    (
        ["data.auditor.file=x.csv"],
        'data.auditor.file: belongs to dataset "manifest" and "huggingface", and this one is',
    ),
    (["data.auditor.split_column=part"], 'data.auditor.split_column: unknown key (value "part")'),
    (
        ["data.auditor.dataset=table"],
        'data.auditor.dataset: "table" is not allowed; allowed: "faces", "utkface", "celeba", "manifest", "hugg',
    ),
    (["data.auditor.features=['a']"], "data.auditor.features: unknown key"),
    (["data.auditor.target=age > 35"], "data.auditor.target: unknown key"),
    (['data.auditor.sensitive=["sex"]'], 'data.auditor.sensitive.0: utkface has no "sex"'),
    (
        ['data.auditor.sensitive=["gender","race"]'],
        'data.auditor.sensitive: ["gender", "race"] must stand for ["male"]',
    ),
    (["data.auditor.groups.gender.male=[]"], 'data.auditor.groups: "gender" is not among data.sensitive'),
    (
        ["data.dataset=utkface", "data.root=faces", "data.target=age > 35", 'data.sensitive=["gender"]'],
        'data.auditor.root: "faces" is the developer\'s data set',
    ),
]

CASES = {
    **{f"{' '.join(given)}": validated(given, f"{path}: ", said) for given, path, said in CONFLICTS},
    **{f"two, {' '.join(given)}": validated([TWO, *given], f"{path}: ", said) for given, path, said in INTERSECTIONS},
    **{f"parts, {' '.join(given)}": validated([TWO, *given], said) for given, said in PARTS},
    **{f"others, {' '.join(given)}": validated([*SEPARATE, *given], said) for given, said in OTHER_PEOPLE},
}
