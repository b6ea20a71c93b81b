"""Drawn scenes: rooms and landscapes with things, animals and, if asked, a person; all from a random generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["draw_scene"]

_FINE = 2  # pixels are drawn so many times finer and then averaged
_THINGS = (
    "table",
    "chair",
    "lamp",
    "shelf",
    "tree",
    "car",
    "house",
    "animal",
    "animal",
    "bottle",
    "ball",
    "sign",
    "coat",
)
_SKIN = np.array([(255, 224, 196), (234, 192, 160), (198, 146, 108), (141, 95, 62), (92, 60, 40)], float)
_HAIR = np.array([(30, 22, 18), (90, 56, 30), (170, 120, 60), (225, 195, 130), (150, 150, 150), (140, 50, 25)], float)

Point = np.ndarray
Colour = tuple[int, int, int]


def draw_scene(person: bool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a scene as uint8 RGB (size, size, 3).

    A person has a head with hair, a trunk, and arms and legs of two parts each in any pose, stands or sits, measures
    from half of the picture's height to more than all of it, and may be cut off by the border or hidden in part.
    Scenes without one hold one thing more, so that the number of things tells nothing.

    Args:
        person: whether a person is in it.
        size: height and width in pixels.
        rng: random generator; decides everything.
    """
    side = size * _FINE
    picture = _background(side, rng)
    pen = ImageDraw.Draw(picture)
    behind, before = int(rng.integers(1, 4)), int(rng.integers(0, 2))
    for _ in range(behind + (not person)):
        _thing(pen, side, rng, largest=0.75)
    if person:
        _person(pen, side, rng)
    for _ in range(before):
        _thing(pen, side, rng, largest=0.3)
    return _photograph(picture, size, rng)


def _colour(rng: np.random.Generator, near: Sequence[float] | np.ndarray | None = None, spread: float = 12) -> Colour:
    """Return a colour: any, now and then one of skin or hair, or one near a given one."""
    if near is None:
        palette = rng.random()
        near = rng.uniform(10, 245, 3)
        near = _mix(_SKIN, rng) if palette < 0.12 else _mix(_HAIR, rng) if palette < 0.2 else near
        spread = 0
    red, green, blue = np.clip(np.asarray(near, float) + rng.normal(0, 1, 3) * spread, 0, 255).astype(int).tolist()
    return red, green, blue


def _mix(palette: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    one, other = palette[rng.integers(len(palette), size=2)]
    return one + (other - one) * rng.random()


def _background(side: int, rng: np.random.Generator) -> Image.Image:
    """Return a wall or sky over a floor, with gradients and a coarse texture."""
    coarse = side // _FINE
    horizon = int(coarse * rng.uniform(0.35, 0.85))
    canvas = np.zeros((coarse, coarse, 3))
    for first, last in ((0, horizon), (horizon, coarse)):
        ends = rng.uniform(20, 240, (2, 3)) if rng.random() < 0.5 else rng.uniform(60, 220, 3) + np.zeros((2, 3))
        share = np.linspace(0, 1, last - first)[:, None, None]
        canvas[first:last] = ends[0] * (1 - share) + ends[1] * share
    for cells in (4, 12, 32):
        grain = rng.standard_normal((cells, cells, 1)) + rng.uniform(0, 0.7) * rng.standard_normal((cells, cells, 3))
        grid = np.uint8(np.clip(128 + 40 * grain, 0, 255))
        texture = Image.fromarray(grid).resize((coarse, coarse), Image.Resampling.BICUBIC)
        canvas += (np.asarray(texture, float) - 128) * rng.uniform(0, 0.4)
    horizon *= _FINE
    picture = Image.fromarray(np.uint8(np.clip(canvas, 0, 255))).resize((side, side), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(picture)
    if rng.random() < 0.4:  # window, picture on the wall or door
        left, top = rng.uniform(0, 0.8, 2) * (side, horizon)
        box = [left, top, left + side * rng.uniform(0.1, 0.3), min(top + side * rng.uniform(0.1, 0.4), horizon)]
        pen.rectangle(_ordered(box), fill=_colour(rng), outline=_colour(rng), width=int(rng.integers(1, 6)))
    return picture


def _ordered(box: Sequence[float]) -> list[float]:
    return [min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])]


def _photograph(picture: Image.Image, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the drawing as a cheap camera gives it: blur, light, contrast, colour cast and noise."""
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.6))))
    image = np.asarray(picture.resize((size, size), Image.Resampling.BOX), float)
    image = (image - 128) * rng.uniform(0.5, 1.1) + 128 + rng.uniform(-40, 40) + rng.uniform(-12, 12, 3)
    first, last = rng.uniform(-25, 25, 2)
    shade = np.linspace(first, last, size)
    image += shade[:, None, None] if rng.random() < 0.5 else shade[None, :, None]
    image += rng.normal(0, rng.uniform(1, 12), image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _limb(pen: Any, joints: Sequence[Point], widths: Sequence[float], colours: Sequence[Colour]) -> None:
    """Draw parts between joints, each with round ends."""
    for start, end, width, colour in zip(joints, joints[1:], widths, colours, strict=False):
        pen.line([*start, *end], fill=colour, width=max(1, round(width)))
        for x, y in (start, end):
            pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=colour)


def _turned(length: float, angle: float) -> Point:
    """Return a vector of this length that hangs down at angle 0 and points right at pi / 2."""
    return np.array([length * np.sin(angle), length * np.cos(angle)])


def _person(pen: Any, side: int, rng: np.random.Generator) -> None:
    height = side * np.exp(rng.uniform(np.log(0.5), np.log(1.3)))
    middle = side * rng.uniform(0.2, 0.8)
    top = side * rng.uniform(0.02, 0.3) if height > 0.7 * side else rng.uniform(0.05 * side, 0.98 * side - height)
    head = height * rng.uniform(0.13, 0.17)
    skin, hair, shirt, trousers, shoes = (
        _colour(rng, _mix(_SKIN, rng)), _colour(rng, _mix(_HAIR, rng)), _colour(rng), _colour(rng), _colour(rng)
    )  # fmt: skip
    lean, build = rng.normal(0, 0.12), rng.uniform(0.8, 1.35)
    neck = np.array([middle, top + head])
    hips = neck + _turned(height * rng.uniform(0.3, 0.36), lean)
    across = np.array([np.cos(lean), -np.sin(lean)]) * height * 0.085 * build * rng.uniform(0.6, 1.1)
    sitting = rng.random() < 0.25
    sleeve = shirt if rng.random() < 0.6 else skin
    arms = []
    for sign in (-1, 1):
        thigh = (rng.uniform(0.6, 1.5) if sitting else rng.uniform(0, 0.5)) * sign
        knee = hips + sign * across * 0.6 + _turned(height * 0.24, thigh)
        foot = knee + _turned(height * 0.24, thigh * rng.uniform(-0.3, 0.8))
        widths = (height * 0.075 * build, height * 0.055 * build)
        lower = trousers if rng.random() < 0.8 else skin
        _limb(pen, [hips + sign * across * 0.6, knee, foot], widths, [trousers, lower])
        _limb(pen, [foot, foot + np.array([sign * height * 0.05, 0])], [height * 0.04], [shoes])
        upper = sign * rng.uniform(0.05, 2.6) if rng.random() < 0.4 else sign * rng.uniform(0.05, 0.6)
        elbow = neck + sign * across + np.array([0, height * 0.03]) + _turned(height * 0.17, upper)
        hand = elbow + _turned(height * 0.16, upper + sign * rng.uniform(-0.5, 2.0))
        arms.append([neck + sign * across + np.array([0, height * 0.03]), elbow, hand])
    if rng.random() < 0.25:  # a skirt or a long coat
        hem = hips + _turned(height * rng.uniform(0.12, 0.34), lean)
        pen.polygon(_points(neck - across, neck + across, hem + 1.8 * across, hem - 1.8 * across), fill=shirt)
    waist = across * rng.uniform(0.65, 1.0)
    pen.polygon(_points(neck - across, neck + across, hips + waist, hips - waist), fill=shirt)
    for joints in arms:
        _limb(pen, joints, (height * 0.05 * build, height * 0.042 * build), [shirt, sleeve])
        x, y = joints[-1]
        pen.ellipse([x - height * 0.025, y - height * 0.025, x + height * 0.025, y + height * 0.025], fill=skin)
    _head(pen, neck, head, skin, hair, rng)


def _head(pen: Any, neck: Point, head: float, skin: Colour, hair: Colour, rng: np.random.Generator) -> None:
    x, y = neck + np.array([rng.normal(0, 0.1), -0.45]) * head
    wide, high = head * rng.uniform(0.36, 0.44), head * 0.55
    _limb(pen, [neck, np.array([x, y])], [head * 0.4], [skin])
    style = rng.random()
    if style < 0.3:  # long
        pen.rounded_rectangle([x - wide * 1.15, y - high * 1.1, x + wide * 1.15, y + high * 1.3], wide, fill=hair)
    pen.ellipse([x - wide, y - high, x + wide, y + high], fill=skin)
    if style < 0.85:
        pen.pieslice([x - wide * 1.1, y - high * 1.15, x + wide * 1.1, y + high * 0.9], 180, 360, fill=hair)
    if rng.random() < 0.75:  # seen from the front
        eye = max(1.0, head * 0.04)
        for sign in (-1, 1):
            place = x + sign * wide * 0.4
            pen.ellipse([place - eye, y, place + eye, y + 2 * eye], fill=(25, 20, 20))
        pen.line(
            [x - wide * 0.3, y + high * 0.5, x + wide * 0.3, y + high * 0.5],
            fill=(130, 50, 50),
            width=max(1, round(eye)),
        )


def _points(*corners: Point) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in corners]


def _thing(pen: Any, side: int, rng: np.random.Generator, largest: float) -> None:
    """Draw something that is no person."""
    span = side * np.exp(rng.uniform(np.log(0.12), np.log(largest)))
    origin = np.array([rng.uniform(-0.1, 0.9) * side, rng.uniform(0.1, 1.0) * side - 0.3 * span])
    kind = _THINGS[rng.integers(len(_THINGS))]
    ink = [_colour(rng) for _ in range(3)]

    def at(*pairs: tuple[float, float]) -> list[tuple[float, float]]:
        return [(float(origin[0] + x * span), float(origin[1] + y * span)) for x, y in pairs]

    thin = max(1, round(span * rng.uniform(0.03, 0.08)))
    if kind in ("table", "chair"):
        back = 0.45 if kind == "chair" else 0.0
        pen.rectangle(at((0, back), (1, back + 0.1)), fill=ink[0])
        if back:
            pen.rectangle(at((0, 0), (0.12, back)), fill=ink[1])
        for x in (0.04, 0.92):
            pen.line(at((x, back + 0.1), (x, back + 0.6)), fill=ink[0], width=thin)
    elif kind in ("lamp", "sign"):  # a round top on a pole, not unlike a head
        pen.line(at((0.5, 0.2), (0.5, 1)), fill=ink[0], width=thin)
        pen.ellipse(at((0.33, 0), (0.67, 0.34)), fill=ink[1])
        if kind == "lamp":
            pen.line(at((0.3, 1), (0.7, 1)), fill=ink[0], width=thin)
    elif kind in ("shelf", "house"):
        pen.rectangle(at((0, 0.3), (0.8, 1)), fill=ink[0], outline=ink[1], width=thin)
        for x, y in rng.uniform(0.05, 0.6, (4, 2)):
            pen.rectangle(at((x, 0.35 + 0.7 * y), (x + 0.12, 0.47 + 0.7 * y)), fill=ink[2])
        if kind == "house":
            pen.polygon(at((-0.1, 0.3), (0.4, 0), (0.9, 0.3)), fill=ink[1])
    elif kind == "tree":
        pen.rectangle(at((0.45, 0.5), (0.55, 1)), fill=_colour(rng, (95, 65, 40)))
        for x, y, r in rng.uniform((0.3, 0.15, 0.15), (0.7, 0.5, 0.3), (5, 3)):
            pen.ellipse(at((x - r, y - r), (x + r, y + r)), fill=_colour(rng, (60, 120, 50), 25))
    elif kind == "car":
        pen.rounded_rectangle(at((0, 0.3), (1, 0.6)), span * 0.08, fill=ink[0])
        pen.polygon(at((0.2, 0.3), (0.32, 0.1), (0.7, 0.1), (0.85, 0.3)), fill=ink[1])
        for x in (0.15, 0.65):
            pen.ellipse(at((x, 0.5), (x + 0.2, 0.7)), fill=(25, 25, 25))
    elif kind == "animal":
        _animal(pen, origin, span, ink, rng)
    elif kind == "coat":  # clothes without anybody in them
        pen.polygon(at((0.3, 0.1), (0.7, 0.1), (0.8, 0.8), (0.2, 0.8)), fill=ink[0])
        for joints in ([(0.32, 0.14), (0.15, 0.55)], [(0.68, 0.14), (0.85, 0.55)]):
            pen.line(at(*joints), fill=ink[0], width=max(2, round(span * 0.1)))
        pen.line(at((0.5, 0), (0.5, 0.1)), fill=ink[2], width=thin)
    elif kind == "bottle":
        pen.rounded_rectangle(at((0.35, 0.35), (0.65, 1)), span * 0.06, fill=ink[0])
        pen.rectangle(at((0.44, 0.1), (0.56, 0.4)), fill=ink[1])
    else:
        pen.ellipse(at((0, 0), (0.5, 0.5)), fill=ink[0], outline=ink[1], width=thin)


def _animal(pen: Any, origin: Point, span: float, ink: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw a four-legged animal: limbs and a head, as a person has."""
    flip = rng.choice((-1.0, 1.0))

    def at(x: float, y: float) -> Point:
        return origin + span * np.array([0.5 + flip * (x - 0.5), y])

    for x in (0.2, 0.28, 0.66, 0.74):
        knee = at(x + rng.uniform(-0.05, 0.05), 0.72)
        _limb(pen, [at(x, 0.5), knee, at(x + rng.uniform(-0.08, 0.08), 0.95)], [span * 0.07, span * 0.05], [ink[0]] * 2)
    _limb(pen, [at(0.2, 0.45), at(0.74, 0.45)], [span * rng.uniform(0.2, 0.32)], [ink[0]])
    _limb(pen, [at(0.16, 0.42), at(0.0, rng.uniform(0.1, 0.6))], [span * 0.04], [ink[0]])
    head = at(0.92, rng.uniform(0.1, 0.35))
    _limb(pen, [at(0.74, 0.42), head], [span * 0.14], [ink[0]])
    _limb(pen, [head, head + span * np.array([flip * 0.1, 0.04])], [span * rng.uniform(0.14, 0.2)], [ink[1]])
    for x in (-0.05, 0.04):
        ear = head + span * np.array([x, -0.08])
        pen.polygon(_points(ear, ear + span * np.array([0.02, -0.09]), ear + span * np.array([0.05, 0])), fill=ink[0])
