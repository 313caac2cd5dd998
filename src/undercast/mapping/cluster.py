"""The blocks of a map answered by other processes or machines, through Dask; each opens the files itself.

A worker that dies takes only the blocks it was at with it: the scheduler gives them to another.
"""

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from undercast.errors import ConfigError, UndercastError
from undercast.mapping.codes import answered_blocks
from undercast.mapping.config import MapConfig
from undercast.mapping.job import Job, open_job
from undercast.mapping.result import BlockResult
from undercast.model import ModelFolder
from undercast.predict import OpenVinoPredictor
from undercast.raster.backscatter import RadarUnit
from undercast.raster.inputs import parse_request
from undercast.raster.item import is_item
from undercast.raster.reflectance import OpticalForm
from undercast.raster.windows import Window

LOCAL = "local"
AT_ONCE = 4
"""Blocks a worker is given at a time: what it reads, infers and sends back overlaps."""
HELD = 2
"""Scenes a worker keeps open."""


@dataclass(frozen=True)
class Request:
    """All that a worker must know to answer any block of a scene; paths are absolute."""

    inputs: tuple[str, ...]
    model: str
    precision: str
    config: MapConfig
    unit: RadarUnit | None
    optical: OpticalForm | None
    nodata: float | None

    @classmethod
    def of(cls, inputs: Sequence[str], job: Job) -> "Request":
        """What a worker needs for ``job`` of ``inputs``; one thread each, for workers come by the core."""
        config = job.config.model_copy(update={"mapper": job.config.mapper.model_copy(update={"threads": 1})})
        model = str(job.model.path.absolute())
        return cls(tuple(map(_absolute, inputs)), model, job.precision, config, job.unit, job.optical, job.nodata)


@contextmanager
def connect(address: str, timeout: float = 20.0) -> Iterator[Any]:
    """A client of the scheduler at ``address``; ``local`` starts a worker a core on this machine, and ends them again.

    ``timeout`` is how long to wait for the scheduler, seconds.

    Raises:
        ConfigError: Dask is not installed, or nobody answers at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise ConfigError("--cluster needs dask.distributed: pip install 'undercast[cluster]'") from None
    with ExitStack() as stack:
        if address == LOCAL:
            cluster = LocalCluster(
                n_workers=os.cpu_count() or 1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
                silence_logs=50,
            )  # fmt: skip
            target = stack.enter_context(cluster)
        else:
            target = address
        try:
            client = stack.enter_context(Client(target, timeout=timeout, set_as_default=False))
        except (OSError, ValueError) as error:
            raise ConfigError(f"--cluster {address}: no scheduler answers there ({error})") from None
        yield client


def blocks_from(client: Any, request: Request, windows: Sequence[Window]) -> Generator[BlockResult, None, None]:
    """The blocks of ``windows``, in order, answered by the workers of ``client``; few are under way at a time.

    Raises:
        UndercastError: what a worker could not read or answer, or a block at which one worker after another died.
    """
    from distributed import KilledWorker

    workers = sum(client.nthreads().values()) or 1
    underway: deque[Any] = deque()
    batches = (windows[first : first + AT_ONCE] for first in range(0, len(windows), AT_ONCE))
    try:
        while True:
            while len(underway) < 2 * workers + 1 and (batch := next(batches, None)):
                # a turn's number, so that windows answered once and lost are not taken for known ones
                underway.append(client.submit(_answer, request, batch, pure=False))
            if not underway:
                return
            try:
                answers = underway[0].result()
            except KilledWorker:
                raise UndercastError(
                    f"{request.inputs[0]}: one worker after another died at the same blocks; give them more memory"
                ) from None
            yield from map(BlockResult.from_bytes, answers)
            underway.popleft().release()
    finally:
        client.cancel(list(underway))


_Opened: TypeAlias = tuple[Job, OpenVinoPredictor, ExitStack]
_held: OrderedDict[Request, _Opened] = OrderedDict()
_lock = threading.Lock()


def _answer(request: Request, windows: Sequence[Window]) -> list[bytes]:
    """Runs in a worker: the blocks of ``windows``, to be sent back."""
    job, predictor, _open = _opened(request)
    with closing(answered_blocks(job, predictor, [Window(*window) for window in windows])) as blocks:
        return [block.to_bytes() for block in blocks]


def _opened(request: Request) -> _Opened:
    """The scene and the model of ``request``, opened once in this process, and what closes them when it is let go."""
    with _lock:
        if request not in _held:
            stack = ExitStack()
            model = ModelFolder.open(Path(request.model))
            job = stack.enter_context(
                open_job(
                    request.inputs, model, request.config, unit=request.unit, optical=request.optical,
                    nodata=request.nodata, precision=request.precision, hashed=False,
                )
            )  # fmt: skip
            _held[request] = (job, OpenVinoPredictor(model, request.precision, 1), stack)
            if len(_held) > HELD:
                _held.popitem(last=False)
        _held.move_to_end(request)
        return _held[request]


def _absolute(text: str) -> str:
    """An input with its path made absolute, where it is one of this machine."""
    request = parse_request(text)
    place, *name = request.path.split("#") if is_item(request.path) else [request.path]
    if not Path(place).exists():
        return text
    request = replace(request, path="#".join([str(Path(place).absolute()), *name]))
    role = f"{request.role}{f':{request.band}' if request.band else ''}=" if request.role else ""
    return f"{role}{request.path}{f'@{request.number}' if request.number else ''}"
