"""Scenarios: what is accepted, what is refused and how that is said, and that a resolved scenario is the same one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_fair.errors import UsageError
from secure_fair.learning.method import Extent
from secure_fair.learning.methods import METHODS, make_method
from secure_fair.learning.settings import EMBEDDED_BACKBONE, MethodSettings
from secure_fair.operations import OPERATIONS
from secure_fair.scenarios import files
from secure_fair.scenarios.schema import Scenario
from tests.refusals.conflicts import SEPARATE, TWO, holders

MINIMAL = {"name": "small", "data": {"dataset": "faces", "target": "wavy_hair", "sensitive": ["male"]}}


def parse(*overrides: str) -> Scenario:
    return Scenario.parse(files.override(MINIMAL, overrides))


def problems(*overrides: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse(*overrides)
    return caught.value.problems


def only_problem(*overrides: str) -> str:
    found = problems(*overrides)
    assert len(found) == 1, found
    return found[0]


# --- what is accepted -------------------------------------------------------------------------------------------------


def test_a_minimal_scenario_takes_defaults():
    scenario = parse()
    assert scenario.method.name == "parity"
    assert scenario.method.release == "moments"
    assert scenario.data.fractions == {"developer": 0.5, "auditor": 0.25, "test": 0.25}
    assert [(a.name, a.attributes) for a in scenario.secure.auditors] == [("auditor", ("male",))]
    assert scenario.privacy is None


@pytest.mark.parametrize("name", sorted(files.library()))
def test_every_library_scenario_is_valid_and_named_like_its_file(name):
    scenario = Scenario.load(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.compare == ("erm",)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("mode", ["secure", "plain"])
def test_every_method_and_release_is_accepted_in_both_modes(name, mode):
    for release in METHODS[name].releases or ("",):
        scenario = parse(f"method.name={name}", f"method.release={release}", f"secure.mode={mode}", "privacy.epsilon=1")
        assert (scenario.method.release or "") == release


@pytest.mark.parametrize("name", sorted(files.library()))
def test_the_resolved_file_gives_the_same_scenario(name):
    scenario = Scenario.load(name, ["secure.mode=plain", "train.learning_rate=3e-4"])
    again = Scenario.parse(tomllib.loads(scenario.to_toml()))
    assert again == scenario
    assert again.hash() == scenario.hash()
    assert again.to_toml() == scenario.to_toml()


def test_hash_depends_on_every_section_but_policy():
    base = parse().hash()
    assert (
        parse("policy.minimum_batch=7", "policy.row_bounds=trust", "policy.developer=follows the protocol").hash()
        == base
    )
    for change in (
        "seed=1",
        "data.image_size=64",
        "lora.rank=4",
        "train.epochs=5",
        "method.strength=3",
        "link.latency_ms=1",
    ):
        assert parse(change).hash() != base


def test_compared_scenarios_differ_in_the_method_alone():
    scenario = parse('compare=["erm","adv"]', "method.strength=3", "privacy.epsilon=1")
    erm, adv = scenario.compared
    assert (erm.method.name, erm.method.release) == ("erm", None)
    assert (adv.method.name, adv.method.release, adv.method.strength) == ("adv", "moments", 3)
    for other in (erm, adv):
        assert other.compare == ()
        same = other.model_copy(update={"method": scenario.method, "compare": scenario.compare})
        assert same == scenario


def test_a_key_goes_to_every_method_that_uses_it():
    own = ("data.auditor_records=own", "method.name=orth", 'compare=["erm","ent"]')
    scenario = parse(*own, "method.adversary_features=disclosed", "method.sensitive_scale=0.5", "method.ramp=3")
    found = {one.method.name: one.method for one in (scenario, *scenario.compared)}
    assert found["orth"].sensitive_scale == 0.5
    assert (found["ent"].adversary_features, found["ent"].ramp, found["ent"].sensitive_scale) == ("disclosed", 3, 0)
    assert found["erm"] == MethodSettings(name="erm")


def test_the_embedded_backbone_is_the_one_that_learning_knows():
    from secure_fair.learning.backbone import EMBEDDED_NAME

    assert EMBEDDED_BACKBONE == EMBEDDED_NAME


def test_every_method_exists_and_has_the_releases_named():
    for name, method in METHODS.items():
        for release in method.releases or (None,):
            chosen = MethodSettings(name=name, release=release)
            make_method(chosen)
            planned = method.planned(method.resolved(chosen), Extent(groups=2, epochs=2, steps=40, own_records=False))
            assert bool(planned) == bool(method.releases)
            assert all(kind.operation in OPERATIONS for kind in planned)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_all_errors_are_listed_at_once_each_with_path_value_and_what_is_allowed():
    found = problems(
        "method.strenght=3",
        "method.name=pairty",
        "train.epochs=x",
        'lora.rank="8"',
        "seed=nan",
        "train.batch_size=true",
        "policy.minimum_batch=0",
        "data.on_bad=ignore",
        "privacy.delta=2",
    )
    for expected in (
        "method.strenght: unknown key (value 3); known: name, release, strength, components, ramp, "
        "target_gap, accuracy_loss, sensitive_scale, orthogonality, adversary_features, attributes "
        '(did you mean "strength"?)',
        'train.epochs: "x" is not allowed; it must be a valid integer',
        'lora.rank: "8" is not allowed; it must be a valid integer',
        "seed: NaN is not allowed; it must be a valid integer",
        "train.batch_size: true is not allowed; it must be a valid integer",
        "policy.minimum_batch: 0 is not allowed; it must be greater than or equal to 1",
        'data.on_bad: "ignore" is not allowed; allowed: "refuse", "skip"',
        "privacy.delta: 2 is not allowed; it must be less than 0.1",
    ):
        assert expected in found
    assert any(p.startswith('method.name: "pairty" is not allowed') and 'did you mean "parity"?' in p for p in found)
    assert len(found) == 9


def test_conflicts_show_beside_faulty_values_elsewhere():
    found = problems("train.epochs=0", 'data.sensitive=["male","male"]')
    assert len(found) == 2
    assert any("names an attribute twice" in problem for problem in found)


def test_auditors_must_cover_the_sensitive_attributes():
    both = 'data.sensitive=["male","young"]'
    problem = only_problem(both, 'secure.auditors=[{name="a",attributes=["male"]}]')
    assert problem == 'secure.auditors: no auditor holds "young" of data.sensitive; give it to one'
    two = parse(both, 'secure.auditors=[{name="a",attributes=["male"]},{name="b",attributes=["young"]}]')
    assert [a.name for a in two.secure.auditors] == ["a", "b"]


CROSSED = (TWO, 'data.intersections=[["male","young"]]')


def test_a_method_is_fair_to_all_attributes_and_intersections_unless_it_is_told():
    assert parse(*CROSSED).penalised == ("male", "young", "male x young")
    assert parse(*CROSSED, 'method.attributes=["male x young"]').penalised == ("male x young",)
    by_adapter = parse(*CROSSED, "method.name=orth")  # an adapter is trained for one attribute
    assert by_adapter.penalised == ("male", "young")
    assert parse().penalised == ("male",)
    scenario = parse(*CROSSED, 'method.attributes=["male x young"]', 'compare=["erm", "odds"]')
    erm, odds = scenario.compared
    assert (erm.penalised, odds.penalised) == ((), ("male x young",))
    assert Scenario.parse(tomllib.loads(scenario.to_toml())) == scenario


def test_parts_follow_each_other():
    scenario = parse(TWO, holders("a:male,young/0.25", "b:male/0.75", "c:young/0.5", "d:young/0.25"))
    assert scenario.secure.parts == {"a": (0.0, 0.25), "b": (0.25, 1.0), "c": (0.25, 0.75), "d": (0.75, 1.0)}
    thirds = parse(TWO, holders("a:male/0.333333", "b:male/0.333333", "c:male/0.333333", "d:young"))
    assert thirds.secure.parts["c"][1] == thirds.secure.parts["d"][1] == 1.0  # nobody is left out by rounding


def test_own_records_serve_the_methods_that_need_none_of_the_developer_s():
    for name, method in METHODS.items():
        for release in method.releases:
            settings_ = (
                f"method.name={name}",
                f"method.release={release}",
                "data.auditor_records=own",
                "privacy.epsilon=1",
            )
            if (name, release) == ("ent", "moments"):  # of attributes that nobody has there
                assert only_problem(*settings_).startswith("method.release: ")
            elif method.own_records:
                parse(*settings_)
            else:
                assert only_problem(*settings_).startswith("data.auditor_records: ")


def test_auditors_have_a_data_set_of_their_own():
    scenario = parse(*SEPARATE)
    assert scenario.data.fractions == {"developer": 0.6, "auditor": 0.0, "test": 0.4}
    assert scenario.data.auditor is not None
    assert scenario.data.auditor.asked == {"dataset": "utkface", "root": Path("faces"), "sensitive": ("gender",)} | {
        "limit": None
    }
    assert Scenario.parse(tomllib.loads(scenario.to_toml())) == scenario
    assert [auditor.attributes for auditor in scenario.secure.auditors] == [("male",)]  # under the measured name


@pytest.mark.parametrize("name", ["adv", "ent"])
def test_a_noised_adversary_is_by_default_the_form_that_needs_no_trust(name):
    """Whatever the policy says, which is no part of the scenario; where nobody can tell moments it is the other."""
    chosen, noise, trust = f"method.name={name}", "privacy.epsilon=1", "policy.developer=follows the protocol"
    plain = "method.release="  # the base names another method's
    assert parse(chosen, plain).method.release == "rows"
    assert parse(chosen, plain, noise).method.release == "moments"
    assert parse(chosen, plain, noise, trust).hash() == parse(chosen, plain, noise).hash()
    assert parse(chosen, noise, trust, "method.release=rows").method.release == "rows"
    evaluated_alone = parse(chosen, plain, "privacy.evaluation_epsilon=1")
    assert evaluated_alone.method.release == "rows"
    if name == "ent":
        assert parse(chosen, plain, noise, "data.auditor_records=own").method.release == "rows"


# --- command line values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("1e-3", 1e-3),
        ("true", True),
        ('"4"', "4"),
        ("adv", "adv"),
        ("age > 35", "age > 35"),
        ('["a", "b"]', ["a", "b"]),
        ("{ developer = 1.0 }", {"developer": 1.0}),
        ("/data/my faces", "/data/my faces"),
        ("C:\\faces", "C:\\faces"),
        ("1\nother = 2", "1\nother = 2"),
        ("# no value", "# no value"),
    ],
)
def test_override_values_are_toml_where_they_parse_and_text_elsewhere(text, value):
    assert files.value_of(text) == value


def test_overrides_apply_in_order_and_leave_the_original_alone():
    tree = {"method": {"name": "parity", "release": "rows"}}
    changed = files.override(tree, ["method.release=", "train.epochs=1", "train.epochs=2", "method.strength=4"])
    assert changed == {"method": {"name": "parity", "strength": 4}, "train": {"epochs": 2}}
    assert tree == {"method": {"name": "parity", "release": "rows"}}


def test_another_method_on_the_command_line_leaves_out_what_it_has_no_use_for():
    """The quickstart is for parity, compares it with erm, and has keys that these two use."""
    notes = []
    erm = Scenario.load("quickstart", ["method.name=erm"], notes.append)
    assert (erm.method, erm.compare) == (MethodSettings(name="erm"), ())
    assert notes == [
        "method.name=erm: left out what erm has no use for: method.strength, method.release, erm in compare"
    ]
    adv = Scenario.load("quickstart", ["method.name=adv", "method.ramp=2"], notes.append)
    assert (adv.method.release, adv.method.strength, adv.method.ramp, adv.compare) == ("moments", 4.0, 2, ("erm",))
    assert Scenario.load("quickstart", ["method.name=odds"], notes.append).method.release == "moments"
    assert len(notes) == 1  # these use all of it
    orth = ("method.name=orth", "data.split={developer=0.5, auditor=0.2, test=0.3}")
    Scenario.load("quickstart", [*orth, 'compare=["parity"]', "method.components=8"], notes.append)  # which uses them
    assert notes[-1] == "method.name=orth: left out what orth has no use for: method.release"
    with pytest.raises(UsageError, match=r"method\.components: 8 has no use with orth"):
        Scenario.load("quickstart", [*orth, "method.components=8", "compare="])


@pytest.mark.parametrize("method", ["3", "[]", "{name=3}", '{name="erm",release=[]}', '{name="nobody"}'])
def test_another_method_in_place_of_nonsense_is_a_scenario_or_a_list_of_problems(tmp_path, method):
    file = tmp_path / "odd.toml"
    file.write_text(f'name = "odd"\ncompare = [3, "ent"]\nmethod = {method}\n[data]\ndataset = "faces"\n')
    for override in ('method={name="adv"}', "method.name=adv", "method.name=erm"):
        with pytest.raises(UsageError, match=r"compare\.0: 3 is not allowed|is a value, not a section"):
            Scenario.load(file, [override])


def test_faulty_overrides_are_all_listed():
    with pytest.raises(UsageError) as caught:
        files.override({"seed": 1}, ["seed.a=1", "nonsense", ".x=1"])
    assert len(caught.value.problems) == 3
    assert "seed is a value, not a section" in caught.value.problems[0]


def test_unknown_sources_and_bad_files_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"no such scenario file.*quickstart"):
        Scenario.load("quickstrat")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = \n")
    with pytest.raises(UsageError, match=r"broken\.toml: is not valid TOML.*line 1"):
        Scenario.load(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        Scenario.load(broken)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = sorted(set(Scenario.model_fields) - {"description"})


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(SECTIONS), JSON_LIKE, max_size=4), st.data())
def test_nothing_but_a_usage_error_comes_out_of_any_tree(tree, data):
    """Whatever a file holds, also inside sections that exist, the answer is a list of problems, never a traceback."""
    for section in ("data", "method", "secure", "privacy"):
        if data.draw(st.booleans()):
            fields = (
                sorted(Scenario.model_fields[section].annotation.model_fields) if section != "privacy" else ["epsilon"]
            )
            tree[section] = {**MINIMAL.get(section, {}), data.draw(st.sampled_from(fields)): data.draw(JSON_LIKE)}
    found = []
    try:
        Scenario.parse({**MINIMAL, **tree})
    except UsageError as error:
        found = error.problems
    assert all(": " in problem for problem in found)
