"""Connected components of a class raster and their outlines, strip by strip.

Pixels of one value that touch by an edge hang together (4-connectivity); two that touch by a corner do not. A strip of
rows at a time is held, and what is known of the components that reach its last row: nothing depends on where strips
end. What is smaller than asked for is dropped before it gets an outline.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from undercast.product.rings import LEFT, TOP, Rings, link, pack
from undercast.product.runs import Contacts, RunArea, Runs, find_contacts, find_runs, sum_over

UNSEEN = 255
"""What the table of a tracer makes of ground that was not observed; it gets no outline."""


class Strip(NamedTuple):
    """Whole rows of a raster from row ``row`` down: ``codes`` and ``likelihood`` ``[h, W]`` uint8."""

    row: int
    codes: NDArray[np.uint8]
    likelihood: NDArray[np.uint8]


class Figures(NamedTuple):
    """What is known of components, ``[N]`` each.

    ``value`` uint8; ``pixels``, ``area`` in units of :class:`RunArea` and ``likelihood`` (the sum over the pixels);
    ``first``, the number of the topmost leftmost pixel, and ``last``, the lowest row, all int64; ``at_edge`` bool: it
    touches the raster's edge or ground that was not observed, and may go on there.
    """

    value: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    area: NDArray[np.int64]
    likelihood: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    at_edge: NDArray[np.bool_]

    def take(self, chosen: NDArray[np.int64]) -> "Figures":
        """The components numbered ``chosen``, in that order."""
        return Figures._make(part[chosen] for part in self)


class Traced(NamedTuple):
    """Complete components ordered by lowest row, then by first pixel, and their rings (numbered as ``figures``)."""

    figures: Figures
    rings: Rings


class Tracer:
    """Takes strips from the top down and gives components as they become complete.

    ``table`` ``[256]`` uint8 says as what each code is traced: 0 not at all, ``UNSEEN`` for what was not observed.
    Likelihood is summed where components are ``weighed``. Components below ``minimum`` square metres get no outline;
    ``dropped_count`` and ``dropped_pixels`` ``[256]`` count them by value.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        table: NDArray[np.uint8],
        area: RunArea,
        minimum: float = 0.0,
        *,
        weighed: bool = True,
    ) -> None:
        self.dropped_count = np.zeros(256, np.int64)
        self.dropped_pixels = np.zeros(256, np.int64)
        self._shape, self._table, self._area, self._minimum = shape, table.tobytes(), area, minimum
        self._weighed = weighed
        nothing = np.zeros(0, np.int64)
        # components that reach the last row taken, ordered by first pixel; their corners so far; the runs of that row
        self._open = Figures(nothing.astype(np.uint8), *(nothing,) * 5, nothing.astype(np.bool_))
        self._corners: list[list[NDArray[np.int64]]] = []
        self._last, self._owner = Runs.none(), nothing

    def take(self, strip: Strip) -> Traced:
        """Take the next strip, right below the one before, and give what is complete with it."""
        # bytes are translated in half the time that an index takes
        told = np.frombuffer(strip.codes.tobytes().translate(self._table), np.uint8).reshape(strip.codes.shape)
        runs = find_runs(told, strip.row)
        likelihood = sum_over(runs, strip.likelihood, strip.row) if self._weighed else np.zeros(len(runs.row), np.int64)
        return self._advance(runs, likelihood, strip.row + len(strip.codes) - 1)

    def finish(self) -> Traced:
        """There is no further strip: give the rest."""
        return self._advance(Runs.none(), np.zeros(0, np.int64), self._shape[0])

    def _advance(self, fresh: Runs, likelihood: NDArray[np.int64], bottom: int) -> Traced:
        """Take the runs of all rows down to ``bottom``."""
        runs = self._last.then(fresh)
        known, size = len(self._open.value), len(self._open.value) + len(fresh.row)
        node = np.concatenate([self._owner, np.arange(known, size)])
        contacts = find_contacts(runs, self._shape[1])
        upper, lower = contacts.pairs()
        alike = runs.value[upper] == runs.value[lower]
        label = _components(size, node[upper[alike]], node[lower[alike]])
        figures = self._add_up(label, fresh, likelihood)
        owner = label[node]
        figures.at_edge[owner[self._at_edge(runs, upper[~alike], lower[~alike])]] = True
        at_bottom = runs.row == bottom
        stays = np.zeros(len(figures.value), np.bool_)
        stays[owner[at_bottom]] = True
        earlier: list[list[NDArray[np.int64]]] = [[] for _ in figures.value] if known else []
        for old, chunks in enumerate(self._corners):
            earlier[label[old]] += chunks
        corners, whose = self._turns(runs, contacts, len(self._last.row), at_bottom)
        whose = owner[whose]
        traced = self._close(figures, stays, corners, whose, earlier)
        self._corners = _kept(stays, corners, whose, earlier)
        self._open = figures.take(np.flatnonzero(stays))
        self._last, self._owner = runs.take(at_bottom), (np.cumsum(stays) - 1)[owner[at_bottom]]
        return traced

    def _add_up(self, label: NDArray[np.int64], fresh: Runs, likelihood: NDArray[np.int64]) -> Figures:
        """The figures of each component, from those open before and from the fresh runs; ``label`` is by node."""
        count = int(label.max()) + 1 if len(label) else 0

        def total(before: NDArray[np.int64], now: NDArray[np.int64]) -> NDArray[np.int64]:
            # exact: sums of whole numbers stay below 2⁵³
            return np.bincount(label, np.concatenate([before, now]), count).astype(np.int64)

        value, first, last = np.empty(count, np.uint8), np.empty(count, np.int64), np.empty(count, np.int64)
        # of several assignments the last one stays, and nodes are in order of their first pixel
        value[label] = np.concatenate([self._open.value, fresh.value])
        at = np.concatenate([self._open.first, fresh.row * self._shape[1] + fresh.start])
        first[label[::-1]] = at[::-1]
        last[label] = np.concatenate([self._open.last, fresh.row])
        at_edge = np.zeros(count, np.bool_)
        at_edge[label[: len(self._open.value)][self._open.at_edge]] = True
        return Figures(
            value,
            total(self._open.pixels, fresh.stop - fresh.start),
            total(self._open.area, self._area.of(fresh)),
            total(self._open.likelihood, likelihood),
            first, last, at_edge,
        )  # fmt: skip

    def _at_edge(self, runs: Runs, upper: NDArray[np.int64], lower: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Runs at the edge of the raster or beside unseen ground; ``upper`` and ``lower`` touch and are not alike."""
        height, width = self._shape
        edge: NDArray[np.bool_] = (runs.row == 0) | (runs.row == height - 1) | (runs.start == 0) | (runs.stop == width)
        unseen = runs.value == UNSEEN
        beside = (runs.row[1:] == runs.row[:-1]) & (runs.start[1:] == runs.stop[:-1])
        edge[1:] |= beside & unseen[:-1]
        edge[:-1] |= beside & unseen[1:]
        edge[upper[unseen[lower]]] = True
        edge[lower[unseen[upper]]] = True
        return edge

    def _turns(
        self, runs: Runs, contacts: Contacts, carried: int, at_bottom: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where outlines turn on the grid lines between the rows at hand, packed; and the run of each.

        Every end of a run is a corner at its top and at its bottom, but where a run of the same value above ends in the
        same column the outline goes straight on.
        """
        width, count = self._shape[1], len(runs.row)
        lower = np.flatnonzero(contacts.last > contacts.first)
        outlined = runs.value != UNSEEN
        tops, bottoms = outlined & (np.arange(count) >= carried), outlined & ~at_bottom
        corners, whose = [], []
        for side, ends, upper in ((LEFT, runs.start, contacts.first), (0, runs.stop, contacts.last - 1)):
            above = upper[lower]
            straight = (ends[above] == ends[lower]) & (runs.value[above] == runs.value[lower])
            for kind, row, chosen, other in ((TOP, 0, tops, lower), (0, 1, bottoms, above)):
                turning = chosen.copy()
                turning[other[straight]] = False
                which = np.flatnonzero(turning)
                corners.append(pack(runs.row[which] + row, ends[which], side + kind, width))
                whose.append(which)
        return np.concatenate(corners), np.concatenate(whose)

    def _close(
        self,
        figures: Figures,
        stays: NDArray[np.bool_],
        corners: NDArray[np.int64],
        whose: NDArray[np.int64],
        earlier: list[list[NDArray[np.int64]]],
    ) -> Traced:
        """Outline the components that are complete and large enough."""
        done = np.flatnonzero(~stays & (figures.value != UNSEEN))
        large = figures.area[done] * self._area.unit >= self._minimum
        small = figures.take(done[~large])
        self.dropped_count += np.bincount(small.value, minlength=256)
        self.dropped_pixels += np.bincount(small.value, small.pixels, 256).astype(np.int64)
        done = done[large]
        done = done[np.argsort(figures.last[done], kind="stable")]
        rank = np.full(len(stays), -1)
        rank[done] = np.arange(len(done))
        fresh = rank[whose] >= 0
        parts, owners = [corners[fresh]], [rank[whose[fresh]]]
        for number in done if earlier else ():
            parts += earlier[number]
            owners += [np.full(len(part), rank[number]) for part in earlier[number]]
        return Traced(figures.take(done), link(np.concatenate(owners), np.concatenate(parts), self._shape))


def _components(size: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """The component ``[size]`` of each node, numbered by smallest member; ``one`` and ``other`` are joined."""
    graph = sparse.coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(size, size))
    count, label = csgraph.connected_components(graph, directed=False)
    smallest = np.empty(count, np.int64)
    smallest[label[::-1]] = np.arange(size)[::-1]
    number = np.empty(count, np.int64)
    number[np.argsort(smallest)] = np.arange(count)
    return np.asarray(number[label], np.int64)


def _kept(
    stays: NDArray[np.bool_],
    corners: NDArray[np.int64],
    whose: NDArray[np.int64],
    earlier: list[list[NDArray[np.int64]]],
) -> list[list[NDArray[np.int64]]]:
    """The corners of every component that stays, in pieces."""
    numbers = np.flatnonzero(stays)
    pieces = [earlier[number] if earlier else [] for number in numbers]
    chosen = stays[whose]
    corners, whose = corners[chosen], (np.cumsum(stays) - 1)[whose[chosen]]
    order = np.argsort(whose, kind="stable")
    ends = np.cumsum(np.bincount(whose, minlength=len(numbers)))
    # copies: a view would keep the corners of the whole strip
    for piece, part in zip(pieces, np.split(corners[order], ends[:-1]), strict=True) if len(numbers) else ():
        if len(part):
            piece.append(part.copy())
    return pieces
