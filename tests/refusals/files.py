"""Files of scenarios, sweeps and policies that are none, and policies that a plan does not fit."""

from __future__ import annotations

from tests.refusals.case import Case, case
from tests.refusals.conflicts import SMALL

DEEP = "a = " + "[" * 5000 + "]" * 5000
DIGITS = f"seed = {'9' * 6000}"
UNREADABLE = {
    "not TOML": ("name = ", "not valid TOML"),
    "a key twice": ("name = 'a'\nname = 'b'\n", "not valid TOML"),
    "a table twice": ("[data]\n[data]\n", "not valid TOML"),
    "UTF-16": (SMALL.encode("utf-16"), "cannot be read"),
    "a picture": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "cannot be read"),
    "nested without end": (DEEP, "is nested too deeply"),
    "a number without end": (DIGITS, "a number of too many digits"),
    "empty": ("", "name: is missing"),
}

SWEEP = "name = 'a'\nbase = 'quickstart'\nseeds = [0]\n"
SWEEPS = {
    "a name that is a number": ("name = 1\nbase = 'quickstart'\nseeds = [0]\n[[grid]]\n", ": name: 1 is not allowed"),
    "no seeds": ("name = 'a'\nbase = 'quickstart'\nseeds = []\n[[grid]]\n", "seeds: [] is not allowed"),
    "a seed below 0": ("name = 'a'\nbase = 'quickstart'\nseeds = [-1]\n[[grid]]\n", "seeds.0: -1 is not allowed"),
    "no grid": (SWEEP, "grid: is missing"),
    "another key": (f"{SWEEP}grids = 1\n[[grid]]\n", "grids: unknown key (value 1)"),
    "a misspelt key": ("name = 'a'\nbase = 'quickstart'\nseeds = [0]\nset = {}\nsed = 1\n[[grid]]\n", '"seeds"?'),
    "a base that is a number": (f"{SWEEP}[[grid]]\nbase = 3\n", "grid.base: 3 is not allowed"),
    "a base that nobody has": (f"{SWEEP}[[grid]]\nbase = 'nobody'\n", "nobody: no such scenario file"),
    "a section that is a number": (f"{SWEEP}[[grid]]\nprivacy = 3\n", "privacy: 3 is not allowed"),
    "a method that is a number": (f"{SWEEP}[[grid]]\nmethod = 3\n", "method: 3 is not allowed"),
    "a value and a section": (f"{SWEEP}[[grid]]\nmethod = 3\n'method.name' = 'erm'\n", "method is a value beside it"),
    "a method that nobody has": (f"{SWEEP}[[grid]]\nmethod.name = ['erm', 'nonsense']\n", '"nonsense" is not allowed'),
    "a strength below 0": (f"{SWEEP}[[grid]]\nmethod.strength = [1.0, -1.0]\n", "method.strength: -1.0 is not allowed"),
    "a key that no method uses": (
        f"{SWEEP}[[grid]]\nmethod.name = 'unl'\nmethod.components = 3\n",
        "method.components: no method of the sweep uses it",
    ),
    "a report of nothing": (f"{SWEEP}[[grid]]\n", "runs.csv"),
}

POLICIES = {
    "a misspelt key": ("epsilom = 1", '(did you mean "epsilon"?)'),
    "nothing": ("", "gives neither epsilon nor allow_exact = true"),
    "an epsilon of 0": ("epsilon = 0", "epsilon: 0 is not allowed; it must be greater than 0"),
    "an epsilon of 2000": ("epsilon = 2000", "it must be less than or equal to 1000"),
    "an infinite epsilon": ("epsilon = inf", "it must be a finite number"),
    "an epsilon in quotes": ("epsilon = '1'", "it must be a valid number"),
    "a delta of 1": ("epsilon = 1\ndelta = 1", "it must be less than 0.1"),
    "a batch of 0": ("epsilon = 1\nminimum_batch = 0", "it must be greater than or equal to 1"),
    "no releases": ("epsilon = 1\nmax_releases = 0", "it must be greater than or equal to 1"),
    "an operation that is none": ("epsilon = 1\noperations = ['momnt']", '(did you mean "moment"?)'),
    "operations that are no list": ("epsilon = 1\noperations = 'moment'", "it must be a list"),
    "another developer": ("epsilon = 1\ndeveloper = 'honest'", 'allowed: "may deviate", "follows the protocol"'),
    "exact beside a limit": ("epsilon = 1\nallow_exact = true", "into which no exact release fits"),
    "trust in whom it suspects": ("epsilon = 1\nrow_bounds = 'trust'", "takes the developer at its word"),
    "a claim that is none": ("epsilon = 1\nclaims = ['fair']", "claims.0"),
    "a claim of no metric": ("epsilon = 1\nclaims = ['goodness by sex >= 1']", "is no metric"),
    "not TOML": ("epsilon", "is not valid TOML"),
    "UTF-16": ("epsilon = 1".encode("utf-16"), "not UTF-8 text, byte 0"),
    "nested without end": (DEEP, "nested too deeply"),
    "a number without end": (f"epsilon = {'9' * 6000}", "too many digits"),
}

PLANS = {
    "too small an epsilon": ("epsilon = 0.5", [], 3, "and the policy's epsilon for life is 0.5"),
    "too small a total": ("epsilon = 9\ntotal_epsilon = 0.5", [], 3, "the policy's total_epsilon for life is 0.5"),
    "exact releases": ("epsilon = 1", ["privacy="], 4, "exact releases are planned"),
    "operations that it has not": ("epsilon = 1\noperations = ['moment']", [], 4, "'group_counts' is planned and not"),
    "too many releases": ("epsilon = 1\nmax_releases = 5", [], 4, "6 releases of male are planned"),
    "too small a batch": ("epsilon = 1\nminimum_batch = 65", ["method.release=rows"], 4, "64 is below the policy's"),
    "answers of everybody": ("epsilon = 0.9", ["method.name=rr"], 3, "from epsilon 0 to 1 at delta"),
    "an adapter": ("epsilon = 0.9", ["method.name=unl"], 3, "from epsilon 0 to 1 at delta"),
    "an adversary": ("epsilon = 1", ["method.name=ent", "method.release=rows"], 4, 'method.release = "moments"'),
}

PAGES = {
    "a block that does not end": ("<!-- table: runs.csv settings -->\n", "<!-- end -->"),
    "a table that nobody knows": ("<!-- table: runs.csv sums -->\n<!-- end -->\n", "sums"),
    "a table of nothing": ("<!-- table: nowhere.csv settings -->\n<!-- end -->\n", "nowhere.csv"),
}


def plan(text: str, overrides: list[str], code: int, said: str) -> Case:
    """The quickstart held against a policy."""
    given = [word for change in overrides for word in ("-o", change)]
    return case(["policy", "check", "p.toml", "quickstart", *given], said, code=code, files={"p.toml": text})


CASES = {
    **{
        f"scenario, {name}": case(
            "scenario validate s.toml", said, problems=1 + (name == "empty"), files={"s.toml": text}
        )
        for name, (text, said) in UNREADABLE.items()
    },
    **{
        f"run, {name}": case("run s.toml --out run", said, problems=1 + (name == "empty"), files={"s.toml": text})
        for name, (text, said) in UNREADABLE.items()
    },
    "scenario, a name that nobody has": case("scenario show quickstrat", "no such scenario file", "quickstart"),
    "scenario, a folder": case("scenario validate .", ".: is a folder, and no scenario"),
    "scenario, nothing on standard input": case("scenario validate -", "name: is missing", problems=2, input=""),
    "scenario, no TOML on standard input": case("scenario show -", "standard input: is not valid TOML", input="="),
    "run, more than the engine takes": case(
        "run quickstart -o data.records=70000 -o method.components=4096 --out run",
        "35,000 records of 4096 numbers are 143,360,000 numbers, and the engine takes 134,217,728 at a time",
    ),
    "scenario, none": case("scenario validate", "Missing argument 'SCENARIO'"),
    "run, into a folder that holds something": case(
        "run quickstart --out .", "exists and is not an empty folder", files={"mine.txt": "keep me"}
    ),
    "run, below a file": case("run quickstart --out f/run", "cannot be made: Not a directory", files={"f": ""}),
    "an option that is none": case("run quickstart --ouput x", "No such option", "--out"),
    "a command that is none": case("runn quickstart", "No such command 'runn'"),
    "a format that is none": case("run quickstart --format xml", "'xml' is not one of 'text', 'json'"),
    **{
        f"sweep, {name}": case(
            f"sweep s.toml --out out{' --report-only' * (name == 'a report of nothing')}", said, files={"s.toml": text}
        )
        for name, (text, said) in SWEEPS.items()
    },
    **{
        f"sweep, {name}": case("sweep s.toml --out out", said, files={"s.toml": text})
        for name, (text, said) in UNREADABLE.items()
        if name != "empty"
    },
    "sweep, a name that nobody has": case("sweep method", "no such sweep file", "methods"),
    "sweep, no processes": case("sweep methods --jobs 0", "0 is not in the range x>=1"),
    "sweep, two ways at a time": case("sweep methods --jobs 2 --cluster tls://h:1", "leave one of them out"),
    **{
        f"policy, {name}": case("policy check p.toml", said, files={"p.toml": text})
        for name, (text, said) in POLICIES.items()
    },
    **{f"plan, {name}": plan(*given) for name, given in PLANS.items()},
    "policy, none": case("policy check p.toml", "p.toml: cannot be read (No such file or directory)"),
    "policy, none to show": case("policy show p.toml", "write one with `secure-fair policy init FILE`"),
    "policy, a folder": case("policy check .", "cannot be read (Is a directory)"),
    "policy, one that is there": case("policy init p.toml", "exists already", files={"p.toml": "epsilon = 7"}),
    "policy, nowhere": case("policy init a/b/p.toml", "cannot be written: No such file or directory"),
    "policy, records that are none": case("policy check @/policy.toml quickstart --records 0", "range x>=1"),
    "policy, of nobody": case("policy check @/policy.toml quickstart --auditor clinic", "clinic"),
    "policy, no data set": case(
        "policy check @/policy.toml celeba-wavy-gender -o data.root=nowhere", "--records N", problems=2
    ),
    "promise, a name that is none": case("policy promise @/policy.toml 'the city' sex", "name", "must be text that"),
    "promise, nothing held": case("policy promise @/policy.toml city ,", "attributes: [] is not allowed"),
    **{f"page, {name}": case("page p.md", said, files={"p.md": text}) for name, (text, said) in PAGES.items()},
    "page, none": case("page p.md", "'p.md' does not exist"),
    "report, none": case("report nowhere", "'nowhere' does not exist"),
    "report, no run": case("report .", "no finished run in it or right below (summary.json)"),
    "report, a file": case("report f", "is a file", files={"f": ""}),
    "bench, another ending": case("bench --out x.pdf", "--out x.pdf: name a file that ends in .md or .json"),
    "bench, no folder": case("bench --out nowhere/x.md", "in a folder that can be written to"),
    "bench, too many parties": case("bench --parties 9", "9 is not in the range 2<=x<=4"),
    "peers, no seeds": case("peers quickstart --seeds 0", "0 is not in the range 1<=x<=100"),
    "peers, a gap of 2": case("peers quickstart --target-gap 2", "2.0 is not in the range 0<=x<=1"),
    "peers, a scenario that nobody has": case("peers nobody", "no such scenario file"),
    "review, an attack that is none": case("review --only mask_recover", 'did you mean "mask_recovery"?'),
    "review, exact releases": case("review quickstart -o privacy=", "exact releases promise nothing"),
    "review, nowhere": case("review nowhere", "nowhere"),
    "review, a seed below 0": case("review --seed -1", "-1 is not in the range x>=0"),
    "review, an attack of a run": case("review @/table-run --only averaging", "attacks are chosen for a scenario"),
}
