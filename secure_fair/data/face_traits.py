"""The traits of drawn portraits: numbers that vary from face to face, with means moved by the attributes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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


def draw_traits(n: int, seed: int, codes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything a portrait is drawn from, float64 (n,) each: traits with means moved by the attributes."""
    z, t = _numbers(n, seed)
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
    } | _pose_and_light(z)
    return t


def _pose_and_light(z: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The traits of the picture, which no attribute moves."""
    return {
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


def _numbers(n: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Normal numbers, at most 2.5 from 0, and numbers uniform in [0, 1), float64 (n,) each, by the traits' names."""
    rng = np.random.default_rng([seed, 1])
    # normal numbers come as pairs of uniforms (Box-Muller), so that each portrait uses up equally many
    uniform = rng.random((n, 2 * len(_NORMAL_TRAITS) + len(_UNIFORM_TRAITS)))
    k = len(_NORMAL_TRAITS)
    normal = np.sqrt(-2 * np.log1p(-uniform[:, :k])) * np.cos(2 * np.pi * uniform[:, k : 2 * k])
    z = dict(zip(_NORMAL_TRAITS, np.clip(normal, -2.5, 2.5).T, strict=True))
    t = dict(zip(_UNIFORM_TRAITS, uniform[:, 2 * k :].T, strict=True))
    return z, t
