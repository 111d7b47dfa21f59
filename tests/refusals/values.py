"""Keys of a scenario with values that they cannot have, or that data or machine have not: said before any work."""

from __future__ import annotations

from tests.refusals.case import Case, case
from tests.refusals.conflicts import validated

# override, and what is said after its path
BOUNDS = [
    ("name=-", "must be text that matches"),
    (f"name={'x' * 81}", "must be text that matches"),
    ("seed=-1", "-1 is not allowed; it must be greater than or equal to 0"),
    ("seed=4294967296", "it must be less than 4294967296"),
    ("seed=1.5", "it must be a valid integer"),
    ("compare=erm", "it must be a list"),
    ('compare=["eml"]', '(did you mean "erm"?)'),
    ("data.dataset=imagenet", 'allowed: "faces", "utkface", "celeba", "manifest"'),
    ("data.limit=3", "3 is not allowed; it must be greater than or equal to 16"),
    ("data.records=3", "it must be greater than or equal to 16"),
    ("data.image_size=8", "it must be greater than or equal to 16"),
    ("data.image_size=4096", "it must be less than or equal to 1024"),
    ("data.correlation=2", "it must be less than or equal to 1"),
    ("data.base_rate=-0.1", "it must be greater than or equal to 0"),
    ("data.auditor_records=both", 'allowed: "aligned", "own"'),
    ("data.label_bias=true", "it must be a table of keys"),
    ('data.label_bias={attribute="male",group="male",missed=1.0}', "it must be less than 1"),
    ("data.split.developer=-0.5", "it must be greater than or equal to 0"),
    ("lora.rank=0", "it must be greater than or equal to 1"),
    ("lora.rank=257", "it must be less than or equal to 256"),
    ("lora.alpha=0", "it must be greater than 0"),
    ('lora.targets=["qkv"]', 'allowed: "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"'),
    ("lora.targets=[]", "it must be a list of at least 1"),
    ("lora.last_blocks=0", "it must be greater than or equal to 1"),
    ("train.epochs=0", "it must be greater than or equal to 1"),
    ("train.batch_size=1", "it must be greater than or equal to 2"),
    ("train.learning_rate=0", "it must be greater than 0"),
    ("train.learning_rate=inf", "it must be a finite number"),
    ("train.learning_rate=nan", "it must be a finite number"),
    ("train.weight_decay=-1", "it must be greater than or equal to 0"),
    ("train.warmup=1", "it must be less than 1"),
    ("train.validation=0.5", "it must be less than 0.5"),
    ("train.precision=fp16", 'allowed: "auto", "fp32", "bf16"'),
    ("train.device=tpu", 'allowed: "auto", "cpu", "cuda"'),
    ("method.strength=-2", "it must be greater than or equal to 0"),
    ("method.strength=strong", "it must be a valid number"),
    ("method.components=0", "it must be greater than or equal to 1"),
    ("method.components=5000", "it must be less than or equal to 4096"),
    ("method.ramp=-1", "it must be greater than or equal to 0"),
    ("method.target_gap=0", "it must be greater than 0"),
    ("method.target_gap=1", "it must be less than 1"),
    ("secure.mode=insecure", 'allowed: "secure", "plain"'),
    ("secure.precision_bits=30", "it must be less than or equal to 24"),
    ("secure.precision_bits=4", "it must be greater than or equal to 8"),
    ("privacy.epsilon=0", "it must be greater than 0"),
    ("privacy.epsilon=-1", "it must be greater than 0"),
    ("privacy.epsilon=inf", "it must be a finite number"),
    ("privacy.epsilon=small", "it must be a valid number"),
    ("privacy={epsilon=1.0,delta=0.0}", "delta: 0.0 is not allowed; it must be greater than 0"),
    ("privacy={epsilon=1.0,delta=0.5}", "it must be less than 0.1"),
    ("privacy={epsilon=1.0,evaluation_epsilon=2000.0}", "it must be less than or equal to 1000"),
    ("privacy={epsilon=1.0,reserve_releases=-1}", "it must be greater than or equal to 0"),
    ("privacy={epsilon=1.0,reserve_releases=1001}", "it must be less than or equal to 1000"),
    ("privacy={epsilon=1.0,records_per_person=0}", "it must be greater than or equal to 1"),
    ("policy.minimum_batch=0", "it must be greater than or equal to 1"),
    ("policy.max_releases=0", "it must be greater than or equal to 1"),
    ("policy.developer=honest", 'allowed: "may deviate", "follows the protocol"'),
    ("policy.row_bounds=ignore", 'allowed: "check", "trust"'),
    ("policy.answer=all", 'allowed: "counts", "verdict"'),
    ("policy.smallest_share=0.5", "it must be less than 0.5"),
    ("link.latency_ms=-1", "it must be greater than or equal to 0"),
    ("link.bandwidth_mbps=-1", "it must be greater than or equal to 0"),
]

# keys that are not there, with the nearest that is
TYPOS = [
    ("sed=1", '(did you mean "seed"?)'),
    ("trian.epochs=1", '(did you mean "train"?)'),
    ("data.sensitiv=male", '(did you mean "sensitive"?)'),
    ("train.epoch=1", '(did you mean "epochs"?)'),
    ("lora.rnk=1", '(did you mean "rank"?)'),
    ("method.strenght=1", '(did you mean "strength"?)'),
    ("secure.made=plain", '(did you mean "mode"?)'),
    ("privacy.epsilom=1", '(did you mean "epsilon"?)'),
    ("policy.alow_exact=true", '(did you mean "allow_exact"?)'),
    ("link.latency=1", '(did you mean "latency_ms"?)'),
    ("data.split={developer=0.5,auditr=0.0,test=0.5}", '(did you mean "auditor"?)'),
    ('secure.auditors=[{name="a",atributes=["male"],attributes=["male"]}]', '(did you mean "attributes"?)'),
]

TABLE = 'name = "rows"\n[data]\ndataset = "table"\nroot = "somewhere"\ntarget = "income"\nsensitive = ["sex"]\n'

# what pictures alone have, given with a table; and what tables alone have, with pictures
OF_TABLES = [
    ("backbone.name=deit_tiny_patch16_224", "backbone.name: ", "takes pictures"),
    ("backbone.name=secure_fair_faces", "backbone.name: ", "takes pictures"),
    ("backbone.weights=timm", "backbone.weights: ", "no use with a table"),
    ("lora.rank=4", "lora: has no use with a table"),
    ("data.image_size=64", "data.image_size: 64 has no use with a table"),
    ("data.path_column=picture", 'data.path_column: belongs to dataset "manifest" and "huggingface"'),
    ("data.partition=true", 'data.partition: belongs to dataset "celeba"'),
    ("data.root=", "data.root: is missing"),
]
OF_PICTURES = [
    ("backbone.name=identity", 'backbone.name: "identity" is for dataset "table" alone'),
    ("data.features=['a']", 'data.features: belongs to dataset "table", and this one is "faces"'),
]

TOO_FEW = [
    (["data.records=40"], "train.batch_size: 64 is more than the 20 training records; lower it"),
    (["data.records=16", "data.split={developer=0.98,auditor=0.0,test=0.02}"], "16 records are too few: test with"),
    (
        [
            "data.records=200",
            'secure.auditors=[{name="a",attributes=["male"],records=0.999},{name="b",attributes=["male"],records=0.001}]',
        ],
        "secure.auditors: no record falls to b's part of the people; raise its records",
    ),
]

IMPOSSIBLE = [
    ("data.records=1000000000000", "data.records: 1000000000000 is not allowed"),
    ("privacy.epsilon=1e300", "privacy.epsilon: 1e+300 is not allowed; it must be less than or equal to 1000"),
    ("data.image_size=63", "data.image_size: 63 is not a multiple of 8"),
    ("lora.last_blocks=99", "lora.last_blocks: 99 is more than the 6 blocks"),
    (f"seed={'9' * 6000}", "has a number of too many digits"),
    (f"data.sensitive={'[' * 5000}{']' * 5000}", "is nested too deeply"),
    ("backbone.weights=text.safetensors", "is not a whole safetensors file"),
    ("backbone.weights=nowhere.safetensors", "does not exist"),
    ("backbone.weights=.", "weights file '.' is a folder; name a file of weights"),
]

MALFORMED = [
    ("seed", "-o seed: expected section.key=value, for instance method.strength=4"),
    ("=1", "expected section.key=value"),
    (".seed=1", "expected section.key=value"),
    ("train..epochs=1", "expected section.key=value"),
    ("name.value=1", "name is a value, not a section"),
    ("data.target.column=1", "data.target is a value, not a section"),
]


def simulated(overrides: list[str], *said: str, code: int = 2) -> Case:
    """A run that does not begin."""
    given = [word for change in overrides for word in ("-o", change)]
    return case(["run", "quickstart", *given, "--out", "run"], *said, code=code, files={"text.safetensors": "hello"})


CASES = {
    **{change[:60]: validated([change], f"{change.partition('=')[0]}", said) for change, said in BOUNDS},
    **{change: validated([change], "unknown key", said) for change, said in TYPOS},
    **{f"table, {change}": validated([change], *said, scenario=TABLE) for change, *said in OF_TABLES},
    **{f"pictures, {change}": validated([change], *said) for change, *said in OF_PICTURES},
    **{f"run, {' '.join(changes)}": simulated(changes, said) for changes, said in TOO_FEW},
    **{f"run, {change[:60]}": simulated([change], said) for change, said in IMPOSSIBLE},
    **{f"malformed, {change}": validated([change], said) for change, said in MALFORMED},
    "run, a plan that the policy forbids": simulated(
        ["method.name=adv", "method.release=rows"],
        "adversary_step: protects attributes only from a developer that follows the protocol",
        code=4,
    ),
    "run, another architecture": simulated(
        ["backbone.name=resnet18", "backbone.weights=timm"], "is a ResNet, not a plain vision transformer"
    ),
    "run, fewer blocks": simulated(
        ["backbone.name=vit_tiny_patch16_224", "backbone.weights=timm", "lora.last_blocks=13"],
        "more than the 12 blocks",
    ),
    "several at once": validated(["seed=-1", "train.epochs=0", "lora.rank=0"], "seed: -1", "lora.rank", problems=3),
}
