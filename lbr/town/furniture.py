"""What stands in the streets for good: lamps, trees, benches, fountains, a monument. Instance 0."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lbr.town.mesh import LAMP, LEAF, Cover, MeshBuilder, box_corners, ellipsoid, prism, rotation_z
from lbr.town.plan import PAVEMENT_HEIGHT, Plan

LAMP_HEIGHT = 4.3
LEAVES = 2200  # quads per tree


@dataclass
class Lights:
    """Point lights, filled while the town is built: position [3], colour [3], reach in metres, and for a shop window
    its facade and light id (a street lamp has facade -1)."""

    position: list[np.ndarray] = field(default_factory=list)
    colour: list[tuple[float, float, float]] = field(default_factory=list)
    reach: list[float] = field(default_factory=list)
    facade: list[int] = field(default_factory=list)
    light: list[int] = field(default_factory=list)

    def add(
        self, position: np.ndarray, colour: tuple[float, float, float], reach: float, facade: int = -1, light: int = 0
    ) -> None:
        self.position.append(np.asarray(position, np.float64))
        self.colour.append(colour)
        self.reach.append(reach)
        self.facade.append(facade)
        self.light.append(light)


@dataclass(frozen=True)
class Stuff:
    """Tile numbers for plain and barky things, and their density."""

    rough: int
    bark: int
    density: float


def kerb_lines(plan: Plan) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Facade lines as (start [2], end [2], unit normal towards the street [2])."""
    lines = []
    for loop in (*plan.blocks, plan.outline[::-1]):
        for a, b in zip(loop, np.roll(loop, -1, 0), strict=True):
            along = (b - a) / np.linalg.norm(b - a)
            lines.append((a, b, np.array([along[1], -along[0]])))
    return lines


def add_lamps(builder: MeshBuilder, plan: Plan, lights: Lights, stuff: Stuff, rng: np.random.Generator) -> None:
    """Lanterns along the kerbs, a few metres apart on alternate sides, and around the squares."""
    iron = Cover(stuff.rough, stuff.density, (0.015, 0.02, 0.018))
    head = Cover(stuff.rough, stuff.density, (1.0, 0.95, 0.85), LAMP)
    spots = []
    for a, b, normal in kerb_lines(plan):
        length = np.linalg.norm(b - a)
        for s in np.arange(rng.uniform(3, 7), length - 2, 13.0):
            spots.append(a + (b - a) * s / length + 1.45 * normal)
    for square in plan.squares:
        spots += [corner + 0.09 * (square.mean(0) - corner) for corner in square]
    exits = np.array(plan.exits).reshape(-1, 2)
    for spot in spots:
        if len(exits) and np.linalg.norm(exits - spot, axis=1).min() < 6:
            continue
        base = np.append(spot, PAVEMENT_HEIGHT)
        top = base + [0, 0, LAMP_HEIGHT]
        warmth = rng.choice([0, 0, 0, 1])
        colour = ((1.0, 0.66, 0.34), (0.92, 0.95, 1.0))[int(warmth)]
        for quad in (prism(base, base + [0, 0, 0.9], 0.09), prism(base, top - [0, 0, 0.3], 0.045)):
            _rod(builder, quad, iron)
        builder.solid(box_corners(np.array([-0.15, -0.15, -0.3]), np.array([0.15, 0.15, 0.08]), None, top), head)
        builder.solid(box_corners(np.array([-0.19, -0.19, 0.08]), np.array([0.19, 0.19, 0.16]), None, top), iron)
        lights.add(top - [0, 0, 0.12], colour, 15.0)


def _rod(builder: MeshBuilder, quads: np.ndarray, cover: Cover) -> None:
    patch = builder.flat_patch(cover, quads[0, 0] - quads[:, 0].mean(0))
    builder.quads(quads, patch)


def add_squares(builder: MeshBuilder, plan: Plan, stuff: Stuff, rng: np.random.Generator) -> None:
    """A fountain or a monument in the middle of each square, benches around it."""
    stone = Cover(stuff.rough, stuff.density, (0.42, 0.4, 0.36))
    bronze = Cover(stuff.rough, stuff.density, (0.07, 0.11, 0.09), gloss=0.2)
    wood = Cover(stuff.rough, stuff.density, (0.16, 0.09, 0.05))
    for k, square in enumerate(plan.squares):
        centre = np.append(square.mean(0), PAVEMENT_HEIGHT)
        (_fountain if k % 2 == 0 else _monument)(builder, centre, stone, bronze)
        for angle in np.arange(4) * np.pi / 2 + rng.uniform(0, 1):
            turn, at = rotation_z(angle), centre + rotation_z(angle) @ [5.2, 0, 0]
            builder.solid(box_corners(np.array([-0.22, -0.9, 0.38]), np.array([0.22, 0.9, 0.45]), turn, at), wood)
            builder.solid(box_corners(np.array([0.2, -0.9, 0.5]), np.array([0.26, 0.9, 0.9]), turn, at), wood)
            for y in (-0.7, 0.7):
                builder.solid(
                    box_corners(np.array([-0.2, y - 0.05, 0]), np.array([0.25, y + 0.05, 0.38]), turn, at), stone
                )


def _fountain(builder: MeshBuilder, centre: np.ndarray, stone: Cover, bronze: Cover) -> None:
    for radius, low, high in ((2.4, 0.0, 0.6), (0.5, 0.0, 1.7), (1.0, 1.5, 1.75), (0.16, 1.7, 2.9)):
        _drum(builder, centre, radius, (low, high), stone)
    builder.quads(
        ellipsoid(centre + [0, 0, 3.1], np.array([0.28, 0.28, 0.4])), builder.flat_patch(bronze, np.array([0, 1.0, 0]))
    )


def _monument(builder: MeshBuilder, centre: np.ndarray, stone: Cover, bronze: Cover) -> None:
    for half, low, high in ((1.7, 0.0, 0.25), (1.3, 0.25, 0.5), (0.75, 0.5, 2.5), (0.9, 2.5, 2.7)):
        builder.solid(
            box_corners(np.array([-half, -half, low]), np.array([half, half, high]), rotation_z(0.4), centre), stone
        )
    figure = builder.flat_patch(bronze, np.array([0, 1.0, 0]))
    for at, radii in (
        ((0, 0, 3.35), (0.32, 0.26, 0.75)),
        ((0, 0, 4.2), (0.34, 0.24, 0.5)),
        ((0, 0, 4.85), (0.16, 0.17, 0.2)),
        ((0.3, 0.2, 4.4), (0.12, 0.12, 0.45)),
    ):
        builder.quads(ellipsoid(centre + at, np.array(radii)), figure)


def _drum(builder: MeshBuilder, centre: np.ndarray, radius: float, span: tuple[float, float], cover: Cover) -> None:
    """An upright drum with its lid."""
    quads = prism(centre + [0, 0, span[0]], centre + [0, 0, span[1]], radius, sides=14)
    for quad in quads:
        builder.quads(quad[None], builder.flat_patch(cover, np.cross(quad[1] - quad[0], quad[3] - quad[0])))
    rim = quads[:, [3, 2]]
    lid = np.concatenate([rim, np.broadcast_to(centre + [0, 0, span[1]], (len(rim), 1, 3))], 1)
    builder.triangles(lid, builder.flat_patch(cover, np.array([0, 0, 1.0])))


def tree_spots(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Where trees stand [T, 3]: on the squares, along the widest streets, outside the gates."""
    spots = []
    for square in plan.squares:
        centre = square.mean(0)
        spots += [centre + 0.72 * (corner - centre) for corner in square[:: 1 if rng.random() < 0.5 else 2]]
    lines = kerb_lines(plan)
    for k in rng.permutation(len(lines))[: len(lines) // 6]:
        a, b, normal = lines[k]
        spots += [a + (b - a) * s + 1.5 * normal for s in rng.uniform(0.1, 0.9, int(rng.integers(1, 3)))]
    for gate in plan.exits:
        away = (gate - plan.outline.mean(0)) / np.linalg.norm(gate - plan.outline.mean(0))
        side = np.array([-away[1], away[0]])
        spots += [gate + away * d + side * s for d, s in ((30, -5), (34, 6), (46, -8), (52, 9))]
    return np.array([[*spot, PAVEMENT_HEIGHT] for spot in spots])


def add_tree(wood: MeshBuilder, leaves: MeshBuilder, at: np.ndarray, stuff: Stuff, rng: np.random.Generator) -> None:
    """Trunk and branches into `wood`, leaves into `leaves`: a summer tree is both, a winter tree the first."""
    bark = wood.flat_patch(Cover(stuff.bark, stuff.density, (0.11, 0.085, 0.065)), np.array([0, 1.0, 0]))
    trunk, crown = rng.uniform(2.2, 2.9), rng.uniform(1.4, 2.1)
    fork = at + [0, 0, trunk]
    wood.quads(prism(at, fork, 0.15, 7, 0.75), bark)
    tips = []
    for _ in range(9):
        angle, lift = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.4)
        end = fork + crown * np.array([np.cos(angle) * np.cos(lift), np.sin(angle) * np.cos(lift), 0.4 + np.sin(lift)])
        wood.quads(prism(fork + [0, 0, rng.uniform(-0.3, 0.4)], end, 0.06, 5, 0.35), bark)
        for _ in range(4):
            start = fork + (end - fork) * rng.uniform(0.4, 1.0)
            tip = start + rng.normal(0, 0.42, 3) * crown * 0.75
            wood.quads(prism(start, tip, 0.022, 4, 0.4), bark)
            tips.append(tip)
    _leaves(leaves, np.array(tips), crown, stuff, rng)


def _leaves(leaves: MeshBuilder, tips: np.ndarray, crown: float, stuff: Stuff, rng: np.random.Generator) -> None:
    count = LEAVES
    centre = tips[rng.integers(len(tips), size=count)] + rng.normal(0, 0.33 * crown * 0.55, (count, 3))
    u, v = rng.normal(size=(2, count, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(u, v)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    size = rng.uniform(0.06, 0.13, (count, 1))
    quads = np.stack([centre - u * size, centre + v * 0.6 * size, centre + u * size, centre - v * 0.6 * size], 1)
    shades = [
        leaves.flat_patch(
            Cover(stuff.rough, stuff.density, (0.09 * k, 0.16 * k, 0.035 * k), LEAF), np.array([0, 1.0, 0])
        )
        for k in (0.7, 1.0, 1.35)
    ]
    leaves.quads(quads, np.array(shades)[rng.integers(3, size=count)])
