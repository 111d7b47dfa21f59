"""Procedural portraits with known attributes: the embedded data set, drawn from a seed alone.

Every attribute moves the mean of traits that vary anyway (``face_traits``), so that classes overlap as they do in
photographs; a portrait (``portrait``) is drawn from its traits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from secure_fair.data.face_traits import draw_traits
from secure_fair.data.portrait import draw_portrait, light
from secure_fair.data.records import YES_NO
from secure_fair.errors import UsageError

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "male": ("female", "male"),
    "young": YES_NO,
    "smiling": YES_NO,
    "bald": YES_NO,
    "wavy_hair": YES_NO,
    "eyeglasses": YES_NO,
    "skin_tone": ("light", "medium", "dark"),
    "beard": YES_NO,
    "hat": YES_NO,
    "big_nose": YES_NO,
    "blond_hair": YES_NO,
}
"""Every attribute with the names of its groups; a portrait's code is the index of its group."""

SIZES = range(16, 513)
_CHUNK = 32  # portraits lit and made noisy together: bounds memory, changes nothing in the pictures


def draw(
    n: int,
    seed: int,
    target: str | None = None,
    sensitive: str | None = None,
    correlation: float = 0.0,
    size: int = 64,
    *,
    base_rate: float = 0.5,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw ``n`` portraits: pictures, uint8 (n, size, size, 3), and the codes, int64 (n,), of every attribute.

    Portrait i depends on the seed, i and the settings, not on ``n``: a longer draw continues a shorter one.

    ``target`` and ``sensitive`` name attributes; ``correlation`` links them. The sensitive attribute has equally likely
    groups 0 .. G-1, and P(target = 1 | group g) = base_rate + correlation * (g / (G - 1) - 1/2): for a binary attribute
    base_rate + correlation/2 in group 1 and base_rate - correlation/2 in group 0, so that the correlation is the
    demographic-parity gap of the labels, with its sign. Everything else follows its natural rate (beards and baldness
    depend on ``male``), whatever the target.

    Raises UsageError for an unknown attribute, a size out of range, or rates that leave [0, 1].
    """
    if n < 0 or size not in SIZES:
        raise UsageError(
            f"cannot draw {n} portraits of size {size}: n must be >= 0 and {SIZES[0]} <= size <= {SIZES[-1]}"
        )
    codes = draw_codes(n, seed, target, sensitive, correlation, base_rate)
    traits = draw_traits(n, seed, codes)
    noise = np.random.default_rng([seed, 2])
    pictures = np.empty((n, size, size, 3), dtype=np.uint8)
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        for i in range(start, stop):
            pictures[i] = draw_portrait({name: float(values[i]) for name, values in traits.items()}, size)
        chunk = {name: values[start:stop] for name, values in traits.items()}
        pictures[start:stop] = light(pictures[start:stop], chunk, noise)
        if progress is not None:
            progress(stop, n)
    return pictures, codes


def draw_codes(
    n: int, seed: int, target: str | None, sensitive: str | None, correlation: float, base_rate: float
) -> dict[str, np.ndarray]:
    """Codes of all attributes: sensitive first, target given sensitive, the others at their natural rates."""
    for name in (target, sensitive):
        if name is not None and name not in ATTRIBUTES:
            raise UsageError(f"faces have no attribute {name!r}: choose from {', '.join(ATTRIBUTES)}")
    if target is not None and target == sensitive:
        raise UsageError(f"the target and the sensitive attribute are both {target!r}: choose two")
    if correlation and (target is None or sensitive is None or len(ATTRIBUTES[target]) != 2):
        raise UsageError(f"correlation {correlation} needs a sensitive attribute and a target with two classes")
    rates = base_rate + correlation * np.array([-0.5, 0.5])
    if rates.min() < 0 or rates.max() > 1:
        raise UsageError(
            f"base rate {base_rate} with correlation {correlation} gives rates {rates[0]:.3f} and {rates[1]:.3f}, "
            "outside [0, 1]: lower the correlation"
        )
    # one row per portrait, filled row by row: portrait i never depends on n
    uniform = dict(zip(ATTRIBUTES, np.random.default_rng([seed, 0]).random((n, len(ATTRIBUTES))).T, strict=True))
    codes: dict[str, np.ndarray] = {}

    def pick(name: str, rate: np.ndarray | float) -> None:
        if name not in codes:
            codes[name] = (uniform[name] < rate).astype(np.int64)

    def pick_evenly(name: str) -> None:
        codes[name] = (uniform[name] * len(ATTRIBUTES[name])).astype(np.int64)

    if sensitive is not None:
        pick_evenly(sensitive)
    if target is not None:
        if len(ATTRIBUTES[target]) > 2:
            pick_evenly(target)
        elif sensitive is not None:
            position = codes[sensitive] / (len(ATTRIBUTES[sensitive]) - 1)
            pick(target, base_rate + correlation * (position - 0.5))
        else:
            pick(target, base_rate)
    if "skin_tone" not in codes:
        pick_evenly("skin_tone")
    pick("male", 0.5)
    pick("young", 0.6)
    male, young = codes["male"], codes["young"]
    pick("smiling", 0.5)
    pick("wavy_hair", 0.45)
    # nobody is bald by nature whose wavy hair was asked for: the task would be decided by what is not there
    asked_for_hair = codes["wavy_hair"] if "wavy_hair" in (target, sensitive) else 0
    pick("bald", male * np.where(young, 0.05, 0.35) * (1 - asked_for_hair))
    if "wavy_hair" not in (target, sensitive):
        codes["wavy_hair"] = codes["wavy_hair"] * (1 - codes["bald"])
    pick("eyeglasses", np.where(young, 0.15, 0.35))
    pick("beard", 0.4 * male)
    pick("hat", 0.08 * np.ones(n))
    pick("big_nose", 0.35 + 0.1 * male)
    pick("blond_hair", np.where(codes["skin_tone"] == 0, 0.35, 0.08) * np.where(young, 1.0, 0.6))
    return {name: codes[name] for name in ATTRIBUTES}
