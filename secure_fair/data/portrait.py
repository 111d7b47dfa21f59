"""One drawn portrait from its traits: a handful of polygons, then light, colour and noise.

Hair, neck, face and features are drawn in face coordinates: origin between nose and eyes, x to the right, y down, one
unit is half the picture. One transformation (yaw, roll, scale, shift) places them; they are drawn at twice the wanted
size, reduced, then blurred, lit and made noisy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

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


def draw_portrait(t: Mapping[str, float], size: int) -> np.ndarray:
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


def light(pictures: np.ndarray, t: Mapping[str, np.ndarray], noise: np.random.Generator) -> np.ndarray:
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
