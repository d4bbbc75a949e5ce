"""The street plan: a crooked grid of streets, blocks and squares, and the lots of land along them.

World frame: x east, y north, z up, metres. A facade is the street side of a house: a vertical rectangle
over the segment `start` -> `end`, which a person in the street sees from left to right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

PITCH = 29.0  # metres between the axes of neighbouring streets
LOT = 8.2  # mean width of a lot
PAVEMENT = 1.9  # width of a pavement
PAVEMENT_HEIGHT = 0.12


@dataclass(frozen=True, eq=False)
class Facade:
    """One global instance: the segment it stands on, its building and its colour id (R*65536 + G*256 + B)."""

    index: int
    building: int
    start: np.ndarray  # float64 [2], left end seen from the street
    end: np.ndarray  # float64 [2], right end
    depth: float  # of the lot behind it
    colour_id: int
    style_seed: int  # equal for the facades of one building, and for near twins
    design_seed: int  # equal for near twins
    design_width: float  # of the model a twin is stretched from, else its own
    twin_of: int | None = None
    kind: str = "house"  # house, hall (on a square), church

    @cached_property
    def width(self) -> float:
        return float(np.linalg.norm(self.end - self.start))

    @cached_property
    def right(self) -> np.ndarray:
        """float64 [3]: unit vector from left to right."""
        return np.append((self.end - self.start) / self.width, 0.0)

    @cached_property
    def outward(self) -> np.ndarray:
        """float64 [3]: unit normal, towards the street."""
        r = self.right
        return np.array([r[1], -r[0], 0.0])

    @property
    def instance(self) -> int:
        """Class id in the vocabulary; 0 is background."""
        return self.index + 1

    def to_world(self, shd: np.ndarray) -> np.ndarray:
        """Facade coordinates [..., 3] (along, height, outward) -> world points [..., 3]."""
        shd = np.asarray(shd, np.float64)
        base = np.append(self.start, 0.0)
        return base + shd[..., :1] * self.right + shd[..., 1:2] * np.array([0, 0, 1.0]) + shd[..., 2:] * self.outward


@dataclass(frozen=True, eq=False)
class Street:
    """A stretch of street between two crossings, as cameras walk it: axis a -> b [2] and half its width."""

    a: np.ndarray
    b: np.ndarray
    half_width: float

    @property
    def length(self) -> float:
        return float(np.linalg.norm(self.b - self.a))


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that has a place: facades, streets, squares. Corner polygons are [4, 2], counter-clockwise."""

    facades: tuple[Facade, ...]
    streets: tuple[Street, ...]
    blocks: tuple[np.ndarray, ...]
    squares: tuple[np.ndarray, ...]
    outline: np.ndarray  # [K, 2] facade line of the outer ring, counter-clockwise
    exits: tuple[np.ndarray, ...] = field(default=())  # [2] points where a street leaves the town

    @property
    def num_buildings(self) -> int:
        return len({f.building for f in self.facades})

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner [2] of the built area."""
        return self.outline.min(0) - 14.0, self.outline.max(0) + 14.0

    @property
    def twins(self) -> list[tuple[int, int]]:
        """Pairs of instances whose facades are near twins."""
        return [(self.facades[f.twin_of].instance, f.instance) for f in self.facades if f.twin_of is not None]


def make_plan(blocks: tuple[str, ...], seed: int) -> Plan:
    """Lay out the town drawn by `blocks` (first row north). Deterministic in `seed`."""
    rng = np.random.default_rng([seed, 1])
    rows, cols = len(blocks) - 2, len(blocks[0]) - 2
    nodes = np.stack(np.meshgrid(np.arange(cols + 1), np.arange(rows + 1), indexing="ij"), -1) * PITCH
    nodes = nodes + rng.uniform(-2.0, 2.0, nodes.shape)
    half_x, half_y = rng.uniform(5.4, 6.6, cols + 1), rng.uniform(5.4, 6.6, rows + 1)
    houses: list[np.ndarray] = []
    squares: list[np.ndarray] = []
    for i in range(cols):
        for j in range(rows):
            corners = np.array([nodes[i, j], nodes[i + 1, j], nodes[i + 1, j + 1], nodes[i, j + 1]])
            cell = offset_polygon(corners, -np.array([half_y[j], half_x[i + 1], half_y[j + 1], half_x[i]]))
            (squares if blocks[rows - j][i + 1] == "S" else houses).append(cell)
    ring = _ring(nodes)
    sides = np.repeat([half_y[0], half_x[-1], half_y[-1], half_x[0]], [cols, rows, cols, rows])
    outline = offset_polygon(ring, sides)
    exits = tuple(ring[k] for k in _exit_nodes(cols, rows))
    facades = _lots(houses, outline, exits, squares, rng)
    return Plan(facades, _streets(nodes, half_x, half_y), tuple(houses), tuple(squares), outline, exits)


def offset_polygon(corners: np.ndarray, distance: np.ndarray | float) -> np.ndarray:
    """Counter-clockwise polygon [K, 2] with each side moved outward by its distance [K] (inward where negative)."""
    corners = np.asarray(corners, np.float64)
    along = np.roll(corners, -1, 0) - corners
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    offset = (normal * corners).sum(1) + distance
    previous = np.roll(normal, 1, 0)
    before = np.roll(np.broadcast_to(offset, len(corners)), 1)
    solved = []
    for n0, c0, n1, c1, corner in zip(previous, before, normal, offset, corners, strict=True):
        straight = abs(n0[0] * n1[1] - n0[1] * n1[0]) < 0.2
        solved.append(corner + n1 * (c1 - n1 @ corner) if straight else np.linalg.solve([n0, n1], [c0, c1]))
    return np.array(solved)


def _ring(nodes: np.ndarray) -> np.ndarray:
    """Outer nodes [2 (cols + rows), 2], counter-clockwise from the south-west."""
    south, east = nodes[:-1, 0], nodes[-1, :-1]
    north, west = nodes[:0:-1, -1], nodes[0, :0:-1]
    return np.concatenate([south, east, north, west])


def _exit_nodes(cols: int, rows: int) -> list[int]:
    """Ring nodes, never corners, where the crossing street goes on out of the town: one per long side."""
    return [k for k in (cols // 2 if cols > 1 else -1, cols + rows + cols // 2 if cols > 2 else -1) if k > 0]


def _streets(nodes: np.ndarray, half_x: np.ndarray, half_y: np.ndarray) -> tuple[Street, ...]:
    """Streets in the order of a walk: rows of the grid to and fro, then its columns."""
    out = []
    for j in range(nodes.shape[1]):
        for i in range(nodes.shape[0] - 1):
            out.append(Street(nodes[i, j], nodes[i + 1, j], float(half_y[j])))
    for i in range(nodes.shape[0]):
        for j in range(nodes.shape[1] - 1):
            out.append(Street(nodes[i, j], nodes[i, j + 1], float(half_x[i])))
    return tuple(out)


@dataclass
class _Lot:
    start: np.ndarray
    end: np.ndarray
    depth: float
    building: int
    kind: str = "house"


def _split(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut a block's side into lots of 6.5 to 12 m."""
    length = float(np.linalg.norm(b - a))
    count = max(1, round(length / LOT))
    widths = rng.uniform(0.8, 1.25, count)
    cuts = np.concatenate([[0], np.cumsum(widths) / widths.sum()])
    return [(a + (b - a) * s, a + (b - a) * e) for s, e in zip(cuts[:-1], cuts[1:], strict=True)]


def _block_lots(block: np.ndarray, first_building: int, rng: np.random.Generator) -> list[_Lot]:
    """Lots around a block; the two lots at each corner are one building."""
    lots: list[_Lot] = []
    depth = float(min(9.0, 0.4 * np.sqrt(np.ptp(block[:, 0]) * np.ptp(block[:, 1]))))
    building = first_building
    for k in range(4):
        pieces = _split(block[k], block[(k + 1) % 4], rng)
        for n, (a, b) in enumerate(pieces):
            building += 1 if n else 0
            lots.append(_Lot(a, b, depth, building))
    lots[-1].building = first_building
    return lots


def _ring_lots(
    outline: np.ndarray, exits: tuple[np.ndarray, ...], building: int, rng: np.random.Generator
) -> list[_Lot]:
    """Lots of the outer ring, facing inward, with gaps where streets leave."""
    lots: list[_Lot] = []
    count = len(outline)
    for k in range(count):
        a, b = outline[(k + 1) % count], outline[k]
        length = float(np.linalg.norm(b - a))
        gap_a, gap_b = (any(np.linalg.norm(p - e) < 12 for e in exits) for p in (a, b))
        along = (b - a) / length
        a, b = a + along * (5.5 if gap_a else 0.0), b - along * (5.5 if gap_b else 0.0)
        for start, end in _split(a, b, rng):
            lots.append(_Lot(start, end, 9.5, building))
            building += 1
    return lots


def _lots(
    houses: list, outline: np.ndarray, exits: tuple, squares: list, rng: np.random.Generator
) -> tuple[Facade, ...]:
    """All facades with colours, twins, the town hall and the church."""
    lots: list[_Lot] = []
    for block in houses:
        lots += _block_lots(block, 1 + max((lot.building for lot in lots), default=-1), rng)
    lots += _ring_lots(outline, exits, 1 + max((lot.building for lot in lots), default=-1), rng)
    _assign_landmarks(lots, squares)
    twins = _choose_twins(lots, rng)
    seeds = rng.integers(0, 2**31, 2 * len(lots))
    colours = _colours(len(lots), rng)
    facades = []
    for index, lot in enumerate(lots):
        twin = twins.get(index)
        model = index if twin is None else twin
        width = float(np.linalg.norm(lots[model].end - lots[model].start))
        style = int(seeds[len(lots) + lots[model].building])
        seed = (style, int(seeds[model]), width)
        facades.append(
            Facade(
                index, lot.building, lot.start, lot.end, lot.depth, colours[index], *seed, twin_of=twin, kind=lot.kind
            )
        )
    return tuple(facades)


def _assign_landmarks(lots: list[_Lot], squares: list[np.ndarray]) -> None:
    """The lot that faces the first square best becomes the hall, that of the last square the church."""
    middles = np.array([(lot.start + lot.end) / 2 for lot in lots])
    widths = np.array([np.linalg.norm(lot.end - lot.start) for lot in lots])
    counts = np.bincount([lot.building for lot in lots])
    corner = np.array([counts[lot.building] > 1 for lot in lots])
    for kind, square in zip(("hall", "church"), (squares[0], squares[-1]), strict=True) if squares else ():
        taken = np.array([lot.kind != "house" for lot in lots])
        cost = np.linalg.norm(middles - square.mean(0), axis=1) - 1.5 * widths + 1e3 * (corner | taken)
        lots[int(cost.argmin())].kind = kind


def _choose_twins(lots: list[_Lot], rng: np.random.Generator) -> dict[int, int]:
    """Index -> index of its model: pairs of equally wide houses in different streets, one pair per 16 lots.

    Wide houses first: they fill a picture, so that little of their neighbours tells them apart.
    """
    width = np.array([np.linalg.norm(lot.end - lot.start) for lot in lots])
    middle = np.array([(lot.start + lot.end) / 2 for lot in lots])
    free = np.array([lot.kind == "house" for lot in lots])
    counts = np.bincount([lot.building for lot in lots])
    free &= counts[[lot.building for lot in lots]] == 1
    far = np.linalg.norm(middle[:, None] - middle[None], axis=2) > 30
    unlike = np.abs(width[:, None] - width[None]) + rng.uniform(0, 0.05, (len(lots), len(lots)))
    usable = far & free[:, None] & free[None] & (unlike < 1.0)
    cost = np.where(usable, unlike - 0.25 * np.minimum(width[:, None], width[None]), np.inf)
    cost[np.tri(len(lots), dtype=bool)] = np.inf
    twins: dict[int, int] = {}
    for flat in np.argsort(cost, axis=None, kind="stable")[: int(np.isfinite(cost).sum())]:
        a, b = (int(v) for v in divmod(int(flat), len(lots)))
        if len(twins) >= max(1, len(lots) // 16):
            break
        if not {a, b} & (set(twins) | set(twins.values())):
            twins[b] = a
    return twins


def _colours(count: int, rng: np.random.Generator) -> list[int]:
    """Distinct colour ids, some of them only 10 apart in one channel, as in the published label images."""
    ids: list[int] = []
    while len(ids) < count:
        near = ids and len(ids) % 7 == 0
        rgb = [ids[-1] >> 16, ids[-1] >> 8 & 255, ids[-1] & 255] if near else [int(v) for v in rng.integers(20, 240, 3)]
        if near:
            rgb[int(rng.integers(3))] += 10
        code = rgb[0] * 65536 + rgb[1] * 256 + rgb[2]
        if code not in ids:
            ids.append(code)
    return ids
