"""Procedural portraits with known attributes: the embedded data set, drawn from a seed alone.

A portrait is a handful of polygons (hair, neck, face, features) in face coordinates: origin between nose and eyes, x
to the right, y down, one unit is half the picture. One transformation (yaw, roll, scale, shift) places them; they are
drawn at twice the wanted size, reduced, then blurred, lit and made noisy. Every attribute moves the mean of traits that
vary anyway, so that classes overlap as they do in photographs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

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
    codes = _draw_codes(n, seed, target, sensitive, correlation, base_rate)
    traits = _draw_traits(n, seed, codes)
    noise = np.random.default_rng([seed, 2])
    pictures = np.empty((n, size, size, 3), dtype=np.uint8)
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        for i in range(start, stop):
            pictures[i] = _draw_portrait({name: float(values[i]) for name, values in traits.items()}, size)
        chunk = {name: values[start:stop] for name, values in traits.items()}
        pictures[start:stop] = _light(pictures[start:stop], chunk, noise)
        if progress is not None:
            progress(stop, n)
    return pictures, codes


# --- labels ----------------------------------------------------------------------------------------------------------


def _draw_codes(
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


# --- traits ----------------------------------------------------------------------------------------------------------

_NORMAL_TRAITS = (
    *("face_width", "face_height", "jaw", "chin", "brow_thickness", "brow_height", "brow_slope", "eye_size", "eye_gap"),
    *(
        "eye_height",
        "nose_width",
        "nose_length",
        "lip_fullness",
        "lip_colour",
        "mouth_width",
        "mouth_curve",
        "mouth_open",
    ),
    *("tone", "warmth", "hair_tone", "wave", "volume", "shift_x", "shift_y", "scale", "roll", "yaw", "pitch", "light"),
    *("light_x", "light_y", "cast_r", "cast_b", "contrast", "wrinkles", "neck", "ear", "blur", "age", "hairline"),
)
_UNIFORM_TRAITS = (
    *("long", "length", "part", "fringe", "grey", "beard_style", "beard_shade", "glasses_style", "glasses_size"),
    *("glasses_colour", "hat_style", "hat_hue", "clothes_hue", "clothes_value", "collar", "wave_phase", "wave_rate"),
    *(
        "background_hue",
        "background_value",
        "background_style",
        "background_seed",
        "noise",
        "eye_hue",
        "lipstick",
        "strands",
    ),
)


def _draw_traits(n: int, seed: int, codes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything a portrait is drawn from, float64 (n,) each: traits with means moved by the attributes."""
    rng = np.random.default_rng([seed, 1])
    # normal numbers come as pairs of uniforms (Box-Muller), so that each portrait uses up equally many
    uniform = rng.random((n, 2 * len(_NORMAL_TRAITS) + len(_UNIFORM_TRAITS)))
    k = len(_NORMAL_TRAITS)
    normal = np.sqrt(-2 * np.log1p(-uniform[:, :k])) * np.cos(2 * np.pi * uniform[:, k : 2 * k])
    z = dict(zip(_NORMAL_TRAITS, np.clip(normal, -2.5, 2.5).T, strict=True))
    t = dict(zip(_UNIFORM_TRAITS, uniform[:, 2 * k :].T, strict=True))
    male, young, smiling, bald, wavy, skin, beard, big_nose, blond = (
        codes[name].astype(float)
        for name in ("male", "young", "smiling", "bald", "wavy_hair", "skin_tone", "beard", "big_nose", "blond_hair")
    )
    sign = 2 * male - 1
    t |= {
        "face_width": 0.40 + 0.012 * sign + 0.025 * z["face_width"] + 0.01 * (1 - young),
        "face_height": 0.53 + 0.010 * sign + 0.022 * z["face_height"],
        "jaw": np.clip(0.74 - 0.085 * sign + 0.11 * z["jaw"] - 0.03 * (1 - young), 0.45, 1.1),
        "chin": 1 + 0.03 * sign + 0.04 * z["chin"],
        "brow_thickness": np.clip(0.022 + 0.007 * sign + 0.005 * z["brow_thickness"], 0.008, 0.05),
        "brow_height": 0.115 - 0.012 * sign + 0.012 * z["brow_height"],
        "brow_slope": 0.012 * z["brow_slope"] - 0.008 * sign,
        "eye_size": np.clip(
            0.044 - 0.004 * sign + 0.004 * young - 0.006 * smiling + 0.005 * z["eye_size"], 0.022, 0.07
        ),
        "eye_gap": 0.180 + 0.010 * z["eye_gap"],
        "eye_height": -0.07 + 0.015 * z["eye_height"],
        "nose_width": np.clip(0.060 + 0.070 * big_nose + 0.003 * sign + 0.012 * z["nose_width"], 0.035, 0.18),
        "nose_length": 0.19 + 0.040 * big_nose + 0.016 * z["nose_length"],
        "lip_fullness": np.clip(0.036 - 0.008 * sign + 0.008 * skin / 2 + 0.008 * z["lip_fullness"], 0.012, 0.07),
        "lip_colour": np.clip(0.45 - 0.15 * sign + 0.18 * z["lip_colour"], 0.0, 1.0),
        "mouth_width": 0.140 + 0.024 * smiling + 0.014 * z["mouth_width"],
        "mouth_curve": 0.002 + 0.048 * smiling + 0.017 * z["mouth_curve"],
        "mouth_open": np.clip(-0.010 + 0.030 * smiling + 0.022 * z["mouth_open"], 0.0, 0.09),
        "smile": np.clip(smiling + 0.25 * z["mouth_open"], 0, 1),
        "tone": np.clip(0.04 + 0.44 * skin + 0.13 * z["tone"], -0.15, 1.12),
        "warmth": 0.05 * z["warmth"],
        "hair_tone": np.clip(np.where(blond > 0, 0.82 + 0.10 * z["hair_tone"], 0.25 + 0.16 * z["hair_tone"]), 0, 1),
        "hair_grey": (1 - blond) * np.where(young > 0, 0.0, (t["grey"] < 0.65) * (0.4 + 0.6 * t["grey"])),
        "wave": np.where(wavy > 0, 0.040 + 0.010 * z["wave"], 0.005 + 0.006 * z["wave"]).clip(0, None),
        "volume": 0.075 + 0.02 * wavy + 0.02 * z["volume"],
        "hair_length": np.where(
            t["long"] < np.where(male > 0, 0.18, 0.72), 0.45 + 0.75 * t["length"], 0.05 + 0.2 * t["length"] * (1 - male)
        ),
        "hairline": -0.36 - 0.05 * (1 - young) * male + 0.03 * z["hairline"],
        "wrinkles": np.clip(1.05 - 1.0 * young + 0.28 * z["wrinkles"], 0.0, 1.5),
        "sag": np.clip(0.8 * (1 - young) + 0.25 * z["age"], 0, 1.4),
        "beard": beard,
        "bald": bald,
        "hat": codes["hat"].astype(float),
        "eyeglasses": codes["eyeglasses"].astype(float),
        "lipstick": (t["lipstick"] < 0.42 - 0.37 * male).astype(float),
        "neck": 0.20 + 0.035 * sign + 0.02 * z["neck"],
        "ear": 0.05 + 0.01 * z["ear"],
        "shift_x": 0.075 * z["shift_x"],
        "shift_y": 0.065 * z["shift_y"] + 0.04,
        "scale": np.clip(1.12 + 0.09 * z["scale"], 0.85, 1.4),
        "roll": 0.11 * z["roll"],
        "yaw": 0.09 * z["yaw"],
        "pitch": 0.04 * z["pitch"],
        "light": np.clip(0.96 + 0.12 * z["light"], 0.6, 1.2),
        "light_x": 0.55 * z["light_x"],
        "light_y": 0.30 * z["light_y"] - 0.3,
        "cast_r": 0.06 * z["cast_r"],
        "cast_b": 0.07 * z["cast_b"],
        "contrast": np.clip(1.0 + 0.12 * z["contrast"], 0.65, 1.35),
        "blur": np.clip(0.35 + 0.4 * z["blur"], 0.0, 1.2),
    }
    return t


# --- one portrait ----------------------------------------------------------------------------------------------------

_Colour = tuple[int, int, int]
_ARC = np.linspace(0.0, np.pi, 24)
_CIRCLE = np.linspace(0.0, 2 * np.pi, 20, endpoint=False)
_COS, _SIN = np.cos(_CIRCLE), np.sin(_CIRCLE)
_SKIN = np.array([(246, 213, 190), (198, 146, 110), (96, 62, 46)], dtype=float)
_HAIR = np.array([(24, 18, 16), (70, 44, 28), (140, 92, 52), (212, 172, 104), (240, 216, 160)], dtype=float)


def _blend(palette: np.ndarray, position: float) -> np.ndarray:
    """A colour at ``position`` in [0, 1] along the palette, continued a little beyond its ends; float (3,)."""
    x = position * (len(palette) - 1)
    i = min(max(int(x), 0), len(palette) - 2)
    return palette[i] + (palette[i + 1] - palette[i]) * (x - i)


def _colour(values: np.ndarray, factor: float = 1.0) -> _Colour:
    r, g, b = (min(max(int(v * factor), 0), 255) for v in values)
    return r, g, b


def _hue(hue: float, value: float, saturation: float) -> np.ndarray:
    phases = 2 * np.pi * (hue + np.array([0.0, 1 / 3, 2 / 3]))
    return 255 * value * (1 - saturation * (0.5 + 0.5 * np.cos(phases)))


@dataclass(frozen=True)
class _Shape:
    x: np.ndarray
    y: np.ndarray
    colour: _Colour
    depth: bool
    width: float | None  # None: a filled polygon


@dataclass
class _Pen:
    """Collects shapes in face coordinates and draws them all; ``depth`` pushes features sideways as the head turns."""

    t: Mapping[str, float]
    shapes: list[_Shape] = field(default_factory=list)

    def fill(self, x: np.ndarray, y: np.ndarray, colour: _Colour, depth: bool = False) -> None:
        self.shapes.append(_Shape(x, y, colour, depth, None))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: _Colour) -> None:
        self.fill(x + rx * _COS, y + ry * _SIN, colour, depth=True)

    def line(self, x: np.ndarray, y: np.ndarray, colour: _Colour, width: float, depth: bool = True) -> None:
        self.shapes.append(_Shape(x, y, colour, depth, width))

    def draw(self, picture: Image.Image) -> None:
        t, half = self.t, picture.width / 2
        canvas = ImageDraw.Draw(picture)
        # all points in one go: forty small transformations would take most of a portrait's time
        x = np.concatenate([shape.x for shape in self.shapes])
        y = np.concatenate([shape.y for shape in self.shapes])
        lengths = [shape.x.size for shape in self.shapes]
        turned = np.repeat([shape.depth for shape in self.shapes], lengths)
        # a head half as wide as the picture
        nearness = np.sqrt(np.maximum(1 - 4.0 * x * x - 2.4 * y * y, 0.0)) * turned
        x = x + t["yaw"] * nearness
        y = y + t["pitch"] * nearness
        cos, sin = t["scale"] * math.cos(t["roll"]), t["scale"] * math.sin(t["roll"])
        placed = np.empty((x.size, 2))
        placed[:, 0] = (cos * x - sin * y + t["shift_x"] + 1) * half
        placed[:, 1] = (sin * x + cos * y + t["shift_y"] + 1) * half
        flat: list[float] = placed.ravel().tolist()
        start = 0
        for shape, length in zip(self.shapes, lengths, strict=True):
            points = flat[start : start + 2 * length]
            start += 2 * length
            if shape.width is None:
                canvas.polygon(points, fill=shape.colour)
            else:
                canvas.line(points, shape.colour, max(1, round(shape.width * half * t["scale"])), joint="curve")


def _draw_portrait(t: Mapping[str, float], size: int) -> np.ndarray:
    """One portrait before light and noise, uint8 (size, size, 3)."""
    picture = _background(t, 2 * size)
    pen = _Pen(t)
    skin = _blend(_SKIN, t["tone"]) * (1 + t["warmth"] * np.array([1.0, 0.0, -1.0]))
    hair = _blend(_HAIR, t["hair_tone"])
    hair = hair + t["hair_grey"] * (np.array([175.0, 172.0, 170.0]) - hair)
    _hair_behind(pen, hair)
    _body(pen, skin)
    _head(pen, skin)
    if t["beard"]:
        _beard(pen, skin, hair)
    _wrinkles(pen, skin)
    _mouth(pen, skin)
    _nose(pen, skin)
    _eyes(pen, skin, hair)
    _hair_in_front(pen, hair)
    if t["eyeglasses"]:
        _eyeglasses(pen)
    if t["hat"]:
        _hat(pen)
    pen.draw(picture)
    reduced = picture.reduce(2)
    if t["blur"] > 0.3:
        reduced = reduced.filter(ImageFilter.GaussianBlur(t["blur"] * size / 64))
    return np.asarray(reduced)


def _background(t: Mapping[str, float], side: int) -> Image.Image:
    """A soft colour field, stripes or out-of-focus lights."""
    rng = np.random.default_rng(int(t["background_seed"] * 2**53))
    base = _hue(t["background_hue"], 0.25 + 0.75 * t["background_value"], 0.15 + 0.5 * rng.random())
    cells = 2 + int(rng.random() * 6)
    spread = 12 + 60 * rng.random()
    field = base + spread * rng.uniform(-1, 1, (cells, cells, 1)) + 0.4 * spread * rng.uniform(-1, 1, (cells, cells, 3))
    small = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
    picture = small.resize((side, side), Image.Resampling.BILINEAR)
    canvas = ImageDraw.Draw(picture)
    if t["background_style"] < 0.25:
        step = side * (0.06 + 0.16 * rng.random())
        lean = side * rng.uniform(-0.5, 0.5)
        shade = _colour(base, 0.7 + 0.2 * rng.random())
        for x in np.arange(-side, 2 * side, 2 * step):
            canvas.polygon([x, 0, x + step, 0, x + step + lean, side, x + lean, side], fill=shade)
    elif t["background_style"] < 0.5:
        for _ in range(3 + int(rng.random() * 6)):
            x, y, r = rng.random(3) * side * np.array([1, 1, 0.18])
            canvas.ellipse([x - r, y - r, x + r, y + r], fill=_colour(base * rng.uniform(0.6, 1.5, 3)))
    return picture


def _strand(t: Mapping[str, float], along: np.ndarray, phase: float = 0.0) -> np.ndarray:
    """Sideways deviation of a strand of hair at distances ``along`` from its root."""
    rate = 26 + 14 * t["wave_rate"]
    return np.asarray(t["wave"] * np.sin(rate * along + 6.28 * (t["wave_phase"] + phase)))


def _hair_behind(pen: _Pen, hair: np.ndarray) -> None:
    """The mass of hair behind head and neck; long hair falls to the shoulders."""
    t = pen.t
    if t["bald"] and t["hair_length"] < 0.3:
        return
    reach = t["face_width"] + t["volume"]
    bottom = t["hair_length"]
    top = 0.0 if t["bald"] else -t["face_height"] - 0.8 * t["volume"]
    down = np.linspace(-0.2, bottom, 24)
    edge = reach + 0.04 * np.sin(3.0 * (down + 0.2)) * (bottom > 0.3) + _strand(t, down)
    other = reach + 0.04 * np.sin(3.0 * (down + 0.2)) * (bottom > 0.3) + _strand(t, down, 0.4)
    crown = np.linspace(np.pi, 2 * np.pi, 24)
    x = np.concatenate([-edge[::-1], reach * np.cos(crown), other])
    y = np.concatenate([down[::-1], -0.2 - (-0.2 - top) * -np.sin(crown), down])
    pen.fill(x, y, _colour(hair, 0.72))
    if bottom > 0.3:
        for i in range(5):
            offset = 0.85 - 0.12 * i
            for side, phase in ((-1, 0.1 * i), (1, 0.4 + 0.13 * i)):
                shade = _colour(hair, 0.85 + 0.12 * ((i + (side > 0)) % 3))
                pen.line(side * (edge * offset + _strand(t, down, phase)), down, shade, 0.02, depth=False)


def _body(pen: _Pen, skin: np.ndarray) -> None:
    """Neck, shoulders and clothes."""
    t = pen.t
    neck, broad = t["neck"], 0.55 + 1.2 * t["neck"]
    chin = t["face_height"] * t["chin"]
    pen.fill(
        np.array([-neck, neck, neck * 1.15, -neck * 1.15]),
        np.array([0.2, 0.2, chin + 0.3, chin + 0.3]),
        _colour(skin, 0.80),
    )
    clothes = _hue(t["clothes_hue"], 0.15 + 0.8 * t["clothes_value"], 0.7)
    x = np.array([-broad - 0.3, -broad, -neck * 1.1, 0.0, neck * 1.1, broad, broad + 0.3])
    dip = 0.05 + 0.25 * t["collar"]
    y = chin + np.array([1.6, 0.30, 0.12, 0.12 + dip, 0.12, 0.30, 1.6])
    pen.fill(x, y, _colour(clothes))


def _outline(t: Mapping[str, float], grow: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The face's contour, clockwise from the left temple over the crown; the lower half is a superellipse."""
    a, h = t["face_width"] + grow, t["face_height"] + grow
    cos, sin = np.cos(_ARC), np.sin(_ARC)
    lower_x = a * np.sign(cos) * np.abs(cos) ** t["jaw"]
    lower_y = h * t["chin"] * sin ** (0.9 + 0.2 * t["jaw"]) + 0.02 * t["sag"] * np.abs(cos) * sin
    return np.concatenate([-a * cos, lower_x]), np.concatenate([-h * sin, lower_y])


def _head(pen: _Pen, skin: np.ndarray) -> None:
    t = pen.t
    for side in (-1, 1):
        ear_x = side * (t["face_width"] + 0.01)
        pen.fill(ear_x + t["ear"] * _COS, 0.1 * _SIN, _colour(skin, 0.88))
    x, y = _outline(t)
    pen.fill(x, y, _colour(skin))
    pen.fill(0.965 * x, 0.04 + 0.92 * y, _colour(skin, 1.03), depth=False)
    blush = _colour(skin * np.array([1.04, 0.94, 0.93]))
    for side in (-1, 1):
        pen.ellipse(side * 0.21, 0.12 - 0.03 * t["smile"], 0.08, 0.06 + 0.01 * t["smile"], blush)


def _beard(pen: _Pen, skin: np.ndarray, hair: np.ndarray) -> None:
    """Stubble, a goatee or a full beard, from faint to dense."""
    t = pen.t
    density = 0.25 + 0.6 * t["beard_shade"]
    colour = _colour(skin + density * (0.8 * hair - skin))
    mouth = t["face_height"] * 0.56
    if t["beard_style"] < 0.65:  # full: the lower contour, cut out above the mouth
        x, y = _outline(t, 0.005 + 0.03 * t["beard_shade"])
        low = y >= 0.08
        inner = np.linspace(-1, 1, 16)
        pen.fill(
            np.concatenate([x[low], inner * 0.8 * t["face_width"]]),
            np.concatenate([y[low], 0.10 + 0.12 * np.cos(inner * np.pi / 2)]),
            colour,
        )
        pen.ellipse(0.0, mouth - 0.07, t["mouth_width"] * 0.95, 0.035, colour)
    else:
        pen.ellipse(0.0, mouth + 0.06, t["mouth_width"] * 0.9, 0.14, colour)
        pen.ellipse(0.0, mouth + 0.02, t["mouth_width"] * 0.55, 0.06, _colour(skin))


def _wrinkles(pen: _Pen, skin: np.ndarray) -> None:
    """Forehead lines, folds beside the mouth, bags under the eyes: as strong as the face is old."""
    t = pen.t
    depth = min(t["wrinkles"], 1.3)
    if depth < 0.15:
        return
    shade = _colour(skin, 1 - 0.22 * depth)
    across = np.linspace(-0.2, 0.2, 8)
    for i in range(1 + int(2 * depth)):
        pen.line(across * (1 - 0.1 * i), -0.27 - 0.05 * i + 0.1 * across**2, shade, 0.014)
    down = np.linspace(0, 1, 6)
    for side in (-1, 1):
        pen.line(side * (0.08 + 0.10 * down), 0.14 + 0.16 * down, shade, 0.016)
        bag = np.linspace(-0.06, 0.06, 6)
        pen.line(side * t["eye_gap"] + bag, t["eye_height"] + 0.075 - 6 * bag**2, shade, 0.014)


def _mouth(pen: _Pen, skin: np.ndarray) -> None:
    t = pen.t
    red = 0.35 + 0.45 * t["lip_colour"] + 0.35 * t["lipstick"]
    lips = skin * np.array([1 - 0.10 * red, 1 - 0.42 * red, 1 - 0.36 * red])
    u = np.linspace(-1.0, 1.0, 15)
    middle = t["face_height"] * 0.56 - 2 * t["mouth_curve"] * (u**2 - 0.4)
    half, opening = t["mouth_width"], t["mouth_open"] * (1 - u**2)
    upper = middle - opening / 2 - 0.75 * t["lip_fullness"] * (1 - u**2) * (1 + 0.3 * np.abs(np.sin(np.pi * u)))
    lower = middle + opening / 2 + 1.1 * t["lip_fullness"] * np.sqrt(1 - u**2)
    x = u * half
    pen.fill(np.concatenate([x, x[::-1]]), np.concatenate([upper, lower[::-1]]), _colour(lips, 0.92), depth=True)
    if t["mouth_open"] > 0.012:
        teeth = np.array([236.0, 230.0, 220.0]) if t["smile"] > 0.3 else np.array([90.0, 40.0, 40.0])
        inside = np.concatenate([middle - opening / 2, (middle + opening / 2)[::-1]])
        pen.fill(0.92 * np.concatenate([x, x[::-1]]), inside, _colour(teeth, 0.95), depth=True)
    else:
        pen.line(x, middle, _colour(lips, 0.6), 0.012)
    if t["smile"] > 0.4:
        fold = np.linspace(-0.5, 0.5, 5)
        for side in (-1, 1):
            pen.line(side * (half + 0.03 - 0.06 * fold**2), middle[0] + 0.07 * fold, _colour(skin, 0.82), 0.012)


def _nose(pen: _Pen, skin: np.ndarray) -> None:
    t = pen.t
    tip, width = t["eye_height"] + t["nose_length"] + 0.02, t["nose_width"]
    shaded = -1.0 if t["light_x"] > 0 else 1.0
    down = np.linspace(0, 1, 8)
    pen.fill(
        np.concatenate([shaded * (0.022 + 0.6 * width * down**2), [0.0]]),
        np.concatenate([t["eye_height"] + (tip - t["eye_height"]) * down, [tip]]),
        _colour(skin, 0.90),
        depth=True,
    )
    pen.ellipse(0.0, tip - 0.01, width, 0.036 + 0.15 * width, _colour(skin, 0.93))
    pen.ellipse(-0.1 * shaded * width, tip - 0.02, 0.6 * width, 0.03 + 0.1 * width, _colour(skin, 1.06))
    for side in (-1, 1):
        pen.ellipse(side * 0.5 * width, tip + 0.02, 0.26 * width, 0.012, _colour(skin, 0.55))


def _eyes(pen: _Pen, skin: np.ndarray, hair: np.ndarray) -> None:
    t = pen.t
    y, tall = t["eye_height"], t["eye_size"]
    iris = (
        _hue(0.55 + 0.25 * t["eye_hue"], 0.2 + 0.4 * t["eye_hue"], 0.5)
        if t["eye_hue"] > 0.6
        else np.array([60.0, 38, 26])
    )
    brow = _colour(np.minimum(0.75 * hair + 0.1 * skin, 0.85 * skin))
    arch = np.linspace(-1.0, 1.0, 9)
    for side in (-1, 1):
        x = side * t["eye_gap"]
        pen.ellipse(x, y - 0.012, 0.088, tall + 0.026, _colour(skin, 0.90))
        pen.ellipse(x, y, 0.074, tall, (238, 236, 232))
        pen.ellipse(x + 0.25 * t["yaw"], y, 0.036, min(0.036, tall), _colour(iris))
        pen.ellipse(x + 0.25 * t["yaw"], y, 0.017, min(0.017, tall), (12, 10, 10))
        pen.line(x + 0.08 * arch, y - tall * (1 - 0.6 * arch**2), _colour(skin, 0.38), 0.014 + 0.010 * t["lipstick"])
        height = y - t["brow_height"] + 0.022 * arch**2 - side * arch * t["brow_slope"]
        pen.line(x + 0.105 * arch, height, brow, 2 * t["brow_thickness"])


def _hair_in_front(pen: _Pen, hair: np.ndarray) -> None:
    """Crown and fringe down to the hairline, with strands; a bald head keeps a rim above the ears."""
    t = pen.t
    reach, top = t["face_width"] + 0.6 * t["volume"], t["face_height"] + t["volume"]
    if t["bald"]:
        for side in (-1, 1):
            down = np.linspace(-0.22, 0.1, 12)
            outer = side * (t["face_width"] + 0.03 + 0.6 * _strand(t, down))
            pen.fill(
                np.concatenate([outer, np.full(12, side * (t["face_width"] - 0.035))]),
                np.concatenate([down, down[::-1]]),
                _colour(hair, 0.9),
            )
        return
    ripple = _strand(t, _ARC * 0.45)
    crown_x, crown_y = -(reach + ripple) * np.cos(_ARC), -(top + ripple) * np.sin(_ARC) + 0.02
    part = 0.5 * (t["part"] - 0.5)
    inner = np.linspace(0.97, -0.97, 24)
    fringe = 0.3 * max(t["fringe"] - 0.6, 0)
    line = t["hairline"] + fringe + 0.32 * np.abs(inner - part) ** 2.2 + _strand(t, inner * 0.4, 0.2)
    pen.fill(
        np.concatenate([crown_x, inner * t["face_width"]]),
        np.concatenate([crown_y, np.minimum(line, -0.14 + 0.2 * np.abs(inner))]),
        _colour(hair),
    )
    along = np.linspace(0.0, 1.0, 14)
    for i in range(5 + int(4 * t["strands"])):
        end = -0.95 + 1.9 * i / (4 + int(4 * t["strands"]))
        end_y = t["hairline"] + fringe + 0.32 * abs(end - part) ** 2.2
        x = part * t["face_width"] + (end * reach - part * t["face_width"]) * along
        y = -0.93 * top + (end_y + 0.93 * top) * along**2
        shade = _colour(hair, (1.25, 0.8, 1.1)[i % 3])
        pen.line(x + _strand(t, along * 0.5, 0.17 * i), y + _strand(t, along * 0.5, 0.1 * i), shade, 0.016, depth=False)
    for side in (-1, 1):  # the sides hang over the temples, lower where the hair is long
        drop = np.linspace(-0.35, min(0.1 + 0.8 * t["hair_length"], 0.75) if t["hair_length"] > 0.3 else 0.0, 14)
        outer = reach + 0.01 + _strand(t, drop, 0.1 * side)
        inside = t["face_width"] * 0.93 + 0.5 * _strand(t, drop, 0.3) + 0.05 * np.clip(drop, 0, 1)
        pen.fill(side * np.concatenate([outer, inside[::-1]]), np.concatenate([drop, drop[::-1]]), _colour(hair, 0.93))


def _eyeglasses(pen: _Pen) -> None:
    """Round or square frames; thin, light ones are hard to see and meant to be."""
    t = pen.t
    rx, ry = 0.115 + 0.03 * t["glasses_size"], 0.075 + 0.04 * t["glasses_size"]
    power = 1.0 if t["glasses_style"] < 0.5 else 0.55
    shade = 25 + 150 * t["glasses_colour"] ** 2
    colour = _colour(np.array([shade * 1.05, shade, shade * 0.9]))
    width = 0.012 + 0.025 * t["glasses_style"] ** 2
    cos, sin = _COS, _SIN
    x = rx * np.sign(cos) * np.abs(cos) ** power
    y = t["eye_height"] + 0.01 + ry * np.sign(sin) * np.abs(sin) ** power
    for side in (-1, 1):
        pen.line(np.append(x, x[0]) + side * t["eye_gap"], np.append(y, y[0]), colour, width)
        temple = np.array([t["eye_gap"] + rx, t["face_width"]])
        pen.line(side * temple, np.full(2, t["eye_height"] - 0.02), colour, width)
    pen.line(np.array([-1.0, 1.0]) * (t["eye_gap"] - rx), np.full(2, t["eye_height"] - 0.01), colour, width)


def _hat(pen: _Pen) -> None:
    t = pen.t
    colour = _hue(t["hat_hue"], 0.25 + 0.6 * t["hat_style"], 0.7)
    reach, top = t["face_width"] + t["volume"] + 0.02, t["face_height"] + t["volume"] + 0.06
    brim = -0.26 - 0.06 * t["hat_style"]
    x, y = -reach * np.cos(_ARC), brim - (top + brim) * np.sin(_ARC) ** 0.7
    pen.fill(x, y, _colour(colour))
    wide = reach * (1.0 if t["hat_style"] < 0.5 else 1.45)
    pen.fill(np.array([-wide, wide, wide, -wide]), brim + np.array([-0.05, -0.05, 0.05, 0.05]), _colour(colour, 0.75))


# --- light, colour, noise --------------------------------------------------------------------------------------------


def _light(pictures: np.ndarray, t: Mapping[str, np.ndarray], noise: np.random.Generator) -> np.ndarray:
    """Light the head as an ellipsoid, tint, change the contrast, add sensor noise; uint8 in and out (n, S, S, 3)."""
    n, size = pictures.shape[:2]
    column = {name: values.astype(np.float32)[:, None, None] for name, values in t.items()}
    axis = (np.arange(size, dtype=np.float32) + 0.5) / (size / 2) - 1
    x = (axis[None, None, :] - column["shift_x"]) / (0.5 * column["scale"])
    y = (axis[None, :, None] - column["shift_y"]) / (0.65 * column["scale"])
    inside = np.clip(1 - x**2 - y**2, 0.0, None)
    side = column["light_x"] * x + column["light_y"] * y  # how far the surface faces the light, left to right and up
    shade = column["light"] * (1 + 0.30 * side * np.sqrt(inside) + 0.16 * np.clip(side, -1.2, 1.2) + 0.08 * inside)
    cast = np.stack([1 + t["cast_r"], np.ones(n), 1 + t["cast_b"]], axis=1).astype(np.float32)[:, None, None, :]
    lit = pictures.astype(np.float32) * shade[..., None] * cast
    lit = 118 + (lit - 118) * column["contrast"][..., None]
    grain = noise.standard_normal((n, size, size, 3), dtype=np.float32)
    lit += grain * (3 + 11 * column["noise"][..., None] ** 2)
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)
