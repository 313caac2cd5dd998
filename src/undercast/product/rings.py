"""Outlines from corners.

The outline of a set of pixels that hang together by their edges runs along grid lines and turns at corners. Sorted
along rows, its corners pair up to the horizontal edges; sorted along columns, to the vertical ones. Going round and
round over both gives the rings, all of them at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

LEFT, TOP = 2, 1
"""Bits of a corner: at the left end of a run; at its top."""


class Rings(NamedTuple):
    """Closed outlines of components, counter-clockwise on a north-up map outside, clockwise around holes.

    ``row`` and ``col`` ``[V]`` int64 are the vertices, each once, in pixels from the grid's upper left corner; ring
    ``k`` holds those from ``start[k]`` up to ``start[k + 1]`` (``[R + 1]``). ``component`` ``[R]`` says whose it is;
    the first ring of each component is its outside and the others are holes. A ring starts at the right end of its
    topmost edge (the leftmost of several), and the rings of a component follow one another in the order of those edges.
    """

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    start: NDArray[np.int64]
    component: NDArray[np.int64]


def pack(row: NDArray[np.int64], col: NDArray[np.int64], kind: int, width: int) -> NDArray[np.int64]:
    """Corners as one number each, in order of row, column and kind; ``kind`` adds up ``LEFT`` and ``TOP``."""
    return (row * (width + 1) + col) * 4 + kind


def link(component: NDArray[np.int64], corners: NDArray[np.int64], shape: tuple[int, int]) -> Rings:
    """The rings of components whose packed ``corners`` ``[N]`` are given in any order, ``component`` ``[N]`` from 0.

    Where two pixels of a component touch by a corner only, its outline is taken to pass between the other two pixels
    there, so that no ring touches itself: it would not be a valid polygon.
    """
    height, width = shape
    places = (height + 1) * (width + 1) * 4
    if len(component) and int(component.max() + 1) * places >= 2**62:
        raise OverflowError("too many components to link at once")
    keys = np.sort(component * places + corners)
    component, corners = np.divmod(keys, places)
    del keys
    row, col = np.divmod(corners >> 2, width + 1)
    left, top = (corners & LEFT) != 0, (corners & TOP) != 0
    # corners 2k and 2k + 1 are the ends of horizontal edge k; the component lies below it or above
    below = (left == top)[::2].astype(np.int64)
    order = np.argsort(((component * (width + 1) + col) * (height + 1) + row) * 2 + ~top)
    partner = np.empty(len(order), np.int64)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    del order
    edges = np.arange(len(below))
    tail, head = 2 * edges + below, 2 * edges + 1 - below
    sequence, start = _go_round(partner[head] // 2)
    vertices = np.stack([tail[sequence], head[sequence]], axis=1).ravel()
    owner = component[tail[sequence[start[:-1]]]]
    return Rings(row[vertices], col[vertices], 2 * start, owner)


def _go_round(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cycles of a permutation, each from its smallest member, in the order of those: members, and first of each."""
    count = len(following)
    if not count:
        return np.zeros(0, np.int64), np.zeros(1, np.int64)
    rings, label = csgraph.connected_components(_graph(following), directed=True, connection="weak")
    first = np.empty(rings, np.int64)
    first[label[::-1]] = np.arange(count)[::-1]  # of several assignments the last one stays
    first.sort()
    sizes = np.bincount(label)[label[first]]
    # the last of each cycle leads to the next cycle, so that one walk goes through all
    before = np.empty(count, np.int64)
    before[following] = np.arange(count)
    path = following.copy()
    path[before[first[:-1]]] = first[1:]
    path[before[first[-1]]] = before[first[-1]]
    sequence = csgraph.breadth_first_order(_graph(path), first[0], directed=True, return_predecessors=False)
    return sequence.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)])


def _graph(following: NDArray[np.int64]) -> sparse.csr_array:
    count = len(following)
    index = np.int32 if count < 2**31 - 1 else np.int64
    return sparse.csr_array(
        (np.ones(count), following.astype(index), np.arange(count + 1, dtype=index)), shape=(count, count)
    )
