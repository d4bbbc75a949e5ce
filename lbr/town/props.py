"""Things that are not the place: cars, people, awnings, scaffolding, café chairs. Placed anew for every photograph
or drive, always instance 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lbr.town.conditions import Condition
from lbr.town.furniture import Stuff, kerb_lines
from lbr.town.mesh import (
    HEADLIGHT,
    MATTE,
    TAILLIGHT,
    Cover,
    MeshBuilder,
    box_corners,
    cross,
    ellipsoid,
    prism,
    rotation_z,
)
from lbr.town.plan import PAVEMENT_HEIGHT, Facade, Plan, Street

CAR_PAINTS = (
    (0.5, 0.5, 0.5),
    (0.02, 0.02, 0.024),
    (0.7, 0.7, 0.68),
    (0.3, 0.02, 0.02),
    (0.03, 0.07, 0.22),
    (0.12, 0.13, 0.14),
    (0.05, 0.16, 0.1),
    (0.42, 0.3, 0.06),
)
CLOTHES = (
    (0.02, 0.025, 0.05),
    (0.3, 0.04, 0.04),
    (0.1, 0.1, 0.11),
    (0.05, 0.1, 0.25),
    (0.5, 0.46, 0.36),
    (0.06, 0.14, 0.07),
    (0.55, 0.55, 0.55),
    (0.35, 0.2, 0.05),
    (0.22, 0.05, 0.2),
)
SKINS = ((0.5, 0.32, 0.23), (0.36, 0.22, 0.15), (0.15, 0.085, 0.055))
STRIPES = ((0.5, 0.05, 0.05), (0.04, 0.2, 0.1), (0.05, 0.1, 0.35), (0.55, 0.38, 0.06))


@dataclass(frozen=True, eq=False)
class Prop:
    """Kind, position [3] on the ground, heading in radians, radius that encloses it, a seed for its looks, and the
    facade it hangs on, if any."""

    kind: str
    at: np.ndarray
    heading: float
    radius: float
    seed: int
    facade: Facade | None = None

    @property
    def wall(self) -> Facade:
        """The facade it hangs on. Raises ValueError for a thing that stands free."""
        if self.facade is None:
            raise ValueError(f"a {self.kind} hangs on no facade")
        return self.facade


def place_props(plan: Plan, condition: Condition, rng: np.random.Generator) -> list[Prop]:
    """Draw all movable things of one moment."""
    props: list[Prop] = []
    for street in plan.streets:
        _traffic(props, street, condition.crowd, rng)
    for a, b, normal in kerb_lines(plan):
        _passers_by(props, (a, b, normal), condition.crowd, rng)
    for square in plan.squares:
        _square_life(props, square, condition, rng)
    for facade in plan.facades:
        draw = rng.random()
        if draw < 0.16:
            props.append(_hung("awning", facade, 3.0, 2.0, rng))
        elif draw < 0.185 and facade.kind == "house":
            props.append(_hung("scaffold", facade, 6.0, 6.0, rng))
        elif draw < 0.24 and condition.snow == 0 and not condition.wet:
            _cafe(props, facade, rng)
    return props


def _hung(kind: str, facade: Facade, height: float, reach: float, rng: np.random.Generator) -> Prop:
    """A prop before the middle of a facade."""
    middle = facade.to_world(np.array([facade.width / 2, 3.0, 0.5])) + [0, 0, height - 3.0]
    return Prop(kind, middle, 0.0, facade.width / 2 + reach, int(rng.integers(2**31)), facade)


def _add(
    props: list[Prop], kind: str, at: np.ndarray, heading: float, rng: np.random.Generator, z: float = 0.0
) -> None:
    radius = {"car": 2.4, "van": 2.9, "person": 1.1, "chair": 0.7, "table": 0.8, "parasol": 2.0}[kind]
    props.append(Prop(kind, np.append(at[:2], z), heading, radius, int(rng.integers(2**31))))


def _traffic(props: list[Prop], street: Street, crowd: float, rng: np.random.Generator) -> None:
    along = (street.b - street.a) / street.length
    side = np.array([-along[1], along[0]])
    heading = float(np.arctan2(along[1], along[0]))
    for sign in (1, -1):
        lane = street.half_width - 1.9 - 1.05
        s = rng.uniform(8, 14)
        while s < street.length - 8:
            if rng.random() < 0.25:
                kind = "van" if rng.random() < 0.15 else "car"
                _add(props, kind, street.a + along * s + side * sign * lane, heading + (np.pi if sign > 0 else 0), rng)
            s += rng.uniform(5.2, 9)
    if rng.random() < 0.25 * crowd:
        _add(props, "car", street.a + along * rng.uniform(8, street.length - 8) - side * 1.3, heading, rng)


def _passers_by(props: list[Prop], line: tuple, crowd: float, rng: np.random.Generator) -> None:
    a, b, normal = line
    length = float(np.linalg.norm(b - a))
    for _ in range(rng.poisson(0.075 * crowd * length)):
        at = a + (b - a) * rng.random() + normal * rng.uniform(0.5, 2.6)
        heading = np.arctan2(*(b - a)[::-1]) + (np.pi if rng.random() < 0.5 else 0) + rng.normal(0, 0.3)
        _add(props, "person", at, heading, rng, PAVEMENT_HEIGHT)


def _square_life(props: list[Prop], square: np.ndarray, condition: Condition, rng: np.random.Generator) -> None:
    """People, and on a dry day parasols with chairs."""
    low, high = square.min(0) + 2, square.max(0) - 2
    for _ in range(rng.poisson(12 * condition.crowd)):
        _add(props, "person", rng.uniform(low, high), rng.uniform(0, 6.3), rng, PAVEMENT_HEIGHT)
    if condition.snow or condition.wet:
        return
    for _ in range(int(rng.integers(0, 6))):
        at = rng.uniform(low + 2, high - 2)
        _add(props, "parasol", at, 0.0, rng, PAVEMENT_HEIGHT)
        for angle in rng.uniform(0, 6.3, 3):
            _add(props, "chair", at + 1.1 * np.array([np.cos(angle), np.sin(angle)]), angle, rng, PAVEMENT_HEIGHT)


def _cafe(props: list[Prop], facade: Facade, rng: np.random.Generator) -> None:
    """Tables and chairs on the pavement in front of a facade."""
    for s in np.arange(1.2, facade.width - 1.0, 1.9):
        at = facade.to_world(np.array([s, 0, 1.1]))
        _add(props, "table", at, 0.0, rng, PAVEMENT_HEIGHT)
        for shift in (-0.65, 0.65):
            chair = at + facade.right * shift
            _add(
                props,
                "chair",
                chair,
                float(np.arctan2(*facade.right[1::-1])) + (0 if shift < 0 else np.pi),
                rng,
                PAVEMENT_HEIGHT,
            )


def build_prop(builder: MeshBuilder, prop: Prop, stuff: Stuff) -> None:
    """Add a prop's faces."""
    rng = np.random.default_rng(prop.seed)
    {
        "car": _car, "van": _car, "person": _person, "chair": _chair, "table": _table, "parasol": _parasol,
        "awning": _awning, "scaffold": _scaffold,
    }[prop.kind](builder, prop, stuff, rng)  # fmt: skip


def _plain(stuff: Stuff, tint: tuple, gloss: float = 0.0, material: int = MATTE) -> Cover:
    return Cover(stuff.rough, stuff.density, tint, material, gloss)


def _hexahedron(bottom: tuple, top: tuple) -> np.ndarray:
    """Two rectangles (x0, x1, half width, z) -> corners [8, 3]."""
    return np.array([(x, y, z) for x0, x1, w, z in (bottom, top) for x, y in ((x0, -w), (x1, -w), (x1, w), (x0, w))])


def _car(builder: MeshBuilder, prop: Prop, stuff: Stuff, rng: np.random.Generator) -> None:
    """Body in two tiers, glazed cabin with a painted roof, wheels, lights, plates."""
    paint = _plain(stuff, CAR_PAINTS[int(rng.integers(len(CAR_PAINTS)))], 0.35)
    glass, dark = _plain(stuff, (0.012, 0.014, 0.018), 0.8), _plain(stuff, (0.012, 0.012, 0.012))
    turn, at = rotation_z(prop.heading), prop.at
    van = prop.kind == "van"
    roof, front, back = (
        (1.95, 1.0, -2.1) if van else (rng.uniform(1.4, 1.55), rng.uniform(0.1, 0.4), rng.uniform(-1.75, -0.9))
    )
    belt = 0.95 if van else 0.88

    def put(bottom: tuple, top: tuple, cover: Cover) -> None:
        builder.solid(_hexahedron(bottom, top) @ turn.T + at, cover)

    put((-2.05, 2.05, 0.8, 0.2), (-2.12, 2.12, 0.87, 0.5), paint)
    put((-2.12, 2.12, 0.87, 0.5), (-2.02, 1.95, 0.82, belt), paint)
    put((back - 0.3, front + 0.85, 0.8, belt), (back, front, 0.66, roof - 0.06), glass)
    put((back - 0.03, front + 0.03, 0.67, roof - 0.06), (back + 0.1, front - 0.1, 0.6, roof), paint)
    for x in ((back + front) / 2, back + 0.1):
        put((x - 0.08, x + 0.03, 0.81, belt), (x - 0.05, x + 0.02, 0.68, roof - 0.05), paint)
    for x in (-1.3, 1.3):
        for y in (-0.8, 0.8):
            _wheel(builder, stuff, dark, at + turn @ [x, y, 0.31], turn)
    for x, material, tint in ((2.09, HEADLIGHT, (0.8, 0.8, 0.78)), (-2.09, TAILLIGHT, (0.4, 0.02, 0.02))):
        for y in (-0.62, 0.62):
            builder.solid(
                box_corners(np.array([x - 0.05, y - 0.17, 0.55]), np.array([x + 0.05, y + 0.17, 0.7]), turn, at),
                _plain(stuff, tint, 0.4, material),
            )
        builder.solid(
            box_corners(np.array([x - 0.03, -0.26, 0.36]), np.array([x + 0.06, 0.26, 0.47]), turn, at),
            _plain(stuff, (0.7, 0.7, 0.66)),
        )


def _wheel(builder: MeshBuilder, stuff: Stuff, tyre: Cover, hub: np.ndarray, turn: np.ndarray) -> None:
    wheel = prism(hub + turn @ [0, -0.1, 0], hub + turn @ [0, 0.1, 0], 0.31, 12)
    builder.quads(wheel, builder.flat_patch(tyre, turn @ [0, 1.0, 0]))
    for side in (-1, 1):
        rim = hub + turn @ [0, 0.101 * side, 0]
        disc = ellipsoid(rim, np.array([0.3, 0.01, 0.3]), turn, 10, 4)
        builder.quads(disc, builder.flat_patch(tyre, turn @ [0, 1.0 * side, 0]))
        builder.quads(
            ellipsoid(rim, np.array([0.18, 0.02, 0.18]), turn, 8, 4),
            builder.flat_patch(_plain(stuff, (0.3, 0.3, 0.31), 0.3), turn @ [0, 1.0, 0]),
        )


def _person(builder: MeshBuilder, prop: Prop, stuff: Stuff, rng: np.random.Generator) -> None:
    """A walking figure out of ellipsoids."""
    turn, tall = rotation_z(prop.heading), rng.uniform(0.93, 1.07)
    coat, legs = (_plain(stuff, CLOTHES[int(rng.integers(len(CLOTHES)))]) for _ in range(2))
    skin = _plain(stuff, SKINS[int(rng.integers(len(SKINS)))])
    hair = _plain(
        stuff, ((0.02, 0.015, 0.01), (0.12, 0.07, 0.03), (0.3, 0.25, 0.2), (0.35, 0.22, 0.08))[int(rng.integers(4))]
    )
    step, long_coat = rng.uniform(0.05, 0.3), rng.random() < 0.35
    parts: list[tuple[Cover, tuple[float, ...], tuple[float, ...]]] = [
        (coat, (0, 0, 1.2), (0.14, 0.22, 0.33)), (coat, (0, 0, 1.42), (0.13, 0.24, 0.12)),
        (legs, (0, 0, 0.93), (0.14, 0.18, 0.16)),
        (skin, (0.03, 0, 1.64), (0.1, 0.085, 0.13)), (hair, (-0.02, 0, 1.69), (0.11, 0.1, 0.11)),
    ]  # fmt: skip
    if long_coat:
        parts.append((coat, (0, 0, 0.9), (0.17, 0.22, 0.42)))
    if rng.random() < 0.4:
        parts.append((_plain(stuff, CLOTHES[int(rng.integers(len(CLOTHES)))]), (-0.08, 0.3, 0.9), (0.16, 0.07, 0.18)))
    for cover, centre, radii in parts:
        quads = ellipsoid(prop.at + turn @ (np.array(centre) * tall), np.array(radii) * tall, turn, 5, 8)
        builder.quads(quads, builder.flat_patch(cover, turn @ [1.0, 0, 0]))
    for side in (1, -1):
        limbs = (
            (legs, (0, 0.09 * side, 0.9), (step * side, 0.09 * side, 0.06), 0.085),
            (coat, (0, 0.25 * side, 1.4), (-step * side, 0.29 * side, 0.85), 0.055),
            (hair, (step * side - 0.06, 0.09 * side, 0.05), (step * side + 0.18, 0.09 * side, 0.05), 0.055),
        )  # fmt: skip
        for cover, a, b, radius in limbs:
            quads = prism(prop.at + turn @ (np.array(a) * tall), prop.at + turn @ (np.array(b) * tall), radius, 6, 0.7)
            builder.quads(quads, builder.flat_patch(cover, turn @ [1.0, 0, 0]))


def _chair(builder: MeshBuilder, prop: Prop, stuff: Stuff, rng: np.random.Generator) -> None:
    cover = _plain(stuff, CLOTHES[prop.seed % len(CLOTHES)])
    turn = rotation_z(prop.heading)
    for low, high in (((-0.22, -0.22, 0.42), (0.22, 0.22, 0.46)), ((-0.24, -0.22, 0.46), (-0.2, 0.22, 0.9))):
        builder.solid(box_corners(np.array(low), np.array(high), turn, prop.at), cover)
    for x in (-0.2, 0.18):
        for y in (-0.2, 0.18):
            builder.solid(box_corners(np.array([x, y, 0]), np.array([x + 0.03, y + 0.03, 0.42]), turn, prop.at), cover)


def _table(builder: MeshBuilder, prop: Prop, stuff: Stuff, rng: np.random.Generator) -> None:
    cover = _plain(stuff, (0.3, 0.24, 0.18))
    builder.quads(prism(prop.at, prop.at + [0, 0, 0.72], 0.03), builder.flat_patch(cover, np.array([0, 1.0, 0])))
    builder.solid(box_corners(np.array([-0.34, -0.34, 0.72]), np.array([0.34, 0.34, 0.75]), None, prop.at), cover)


def _parasol(builder: MeshBuilder, prop: Prop, stuff: Stuff, rng: np.random.Generator) -> None:
    cloth = (_plain(stuff, STRIPES[int(rng.integers(len(STRIPES)))]), _plain(stuff, (0.62, 0.58, 0.5)))
    pole = _plain(stuff, (0.3, 0.28, 0.25))
    builder.quads(prism(prop.at, prop.at + [0, 0, 2.6], 0.03), builder.flat_patch(pole, np.array([0, 1.0, 0])))
    _table(builder, prop, stuff, rng)
    angle = np.linspace(0, 2 * np.pi, 9)
    rim = prop.at + np.stack([1.5 * np.cos(angle), 1.5 * np.sin(angle), np.full(9, 2.15)], 1)
    for k in range(8):
        builder.triangles(
            np.array([[rim[k], rim[k + 1], prop.at + [0, 0, 2.65]]]),
            builder.flat_patch(cloth[k % 2], np.array([0, 0.4, 1.0])),
        )


def _awning(builder: MeshBuilder, prop: Prop, stuff: Stuff, rng: np.random.Generator) -> None:
    """A striped awning over the ground floor, rolled out more or less."""
    facade = prop.wall
    out, low, high = rng.uniform(0.8, 1.7), rng.uniform(2.3, 2.6), rng.uniform(3.0, 3.3)
    tints = (STRIPES[int(rng.integers(len(STRIPES)))], (0.6, 0.57, 0.5))
    covers = [_plain(stuff, tint) for tint in (tints if rng.random() < 0.7 else tints[:1] * 2)]
    cuts = np.arange(0.4, facade.width - 0.3, 0.3)
    for k, (a, b) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        cloth = [(a, low, out), (b, low, out), (b, high, 0.03), (a, high, 0.03)]
        hem = [(a, low - 0.22, out), (b, low - 0.22, out), (b, low, out), (a, low, out)]
        world = facade.to_world(np.array([cloth, hem]))
        normals = cross(world[:, 1] - world[:, 0], world[:, 3] - world[:, 0])
        builder.quads(world, np.array([builder.flat_patch(covers[k % 2], normal) for normal in normals.tolist()]))


def _scaffold(builder: MeshBuilder, prop: Prop, stuff: Stuff, rng: np.random.Generator) -> None:
    """Poles, planks and here and there a net."""
    facade = prop.wall
    steel, planks = _plain(stuff, (0.3, 0.3, 0.3), 0.2), _plain(stuff, (0.32, 0.22, 0.12))
    net = _plain(stuff, (0.12, 0.24, 0.16))
    top = rng.uniform(6, 9)
    columns = np.linspace(0.15, facade.width - 0.15, max(3, round(facade.width / 2.2)))
    for s in columns:
        for d in (0.35, 1.25):
            ends = facade.to_world(np.array([(s, 0.12, d), (s, top + 1.0, d)]))
            builder.quads(prism(ends[0], ends[1], 0.03, 5), builder.flat_patch(steel, facade.outward))
    for h in np.arange(2.0, top, 2.0):
        plank = facade.to_world(np.array([(0, h, 1.3), (facade.width, h, 1.3), (facade.width, h, 0.3), (0, h, 0.3)]))
        builder.solid(np.concatenate([plank, plank + [0, 0, 0.05]]), planks)
        for rail in (0.5, 1.0):
            ends = facade.to_world(np.array([(0, h + rail, 1.27), (facade.width, h + rail, 1.27)]))
            builder.quads(prism(ends[0], ends[1], 0.025, 5), builder.flat_patch(steel, facade.outward))
        for a, b in zip(columns[:-1], columns[1:], strict=True):
            if rng.random() < 0.25:
                sheet = facade.to_world(np.array([(a, h, 1.34), (b, h, 1.34), (b, h + 1.9, 1.34), (a, h + 1.9, 1.34)]))
                builder.quads(sheet[None], builder.flat_patch(net, facade.outward))
