"""What every driver offers and what the scheduler may rely on.

In: points of a profile, compiled. Out: `Batch`es, four owned columns of equal length. No driver knows about
schedules, spools or centers; the scheduler alone owns cadence, retry, quarantine and cancellation.

Failure is data: a polled channel always comes back, with NaN and a quality code. Only a dead link raises
(`LinkDown`). Calls on one reader never overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Quality(IntEnum):
    """Quality of one reading, u8, ordered: a larger code is worse. From `SENTINEL` on the value is NaN."""

    GOOD = 0
    SUSPECT = 32  # a number, but a filter doubts it (spike, step)
    OUT_OF_RANGE = 64  # a number outside the profile's believable range
    SENTINEL = 128  # the device itself says "not available" (NaN, 0x8000, 0xFFFF ...)
    NO_REPLY = 160  # no answer within the time-out
    BAD_REPLY = 161  # an answer that failed its check, length, unit or function
    REFUSED = 162  # the device answered with an exception
    LINK_DOWN = 192  # the port or connection is gone
    NOT_POLLED = 224  # left out on purpose: quarantine or overrun


class Batch(NamedTuple):
    """Readings in columns, contiguous, owned by the receiver, equal length n.

    channel i32[n]; time_ns i64[n] CLOCK_BOOTTIME at the response; value f64[n] scaled, NaN = none; quality u8[n].
    """

    channel: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]

    @staticmethod
    def empty() -> Batch:
        return Batch(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint8))

    @staticmethod
    def failed(channels: Sequence[int], time_ns: int, quality: Quality) -> Batch:
        """The same failure for every channel: NaN with `quality` at `time_ns`."""
        n = len(channels)
        return Batch(
            np.asarray(channels, np.int32),
            np.full(n, time_ns, np.int64),
            np.full(n, np.nan),
            np.full(n, int(quality), np.uint8),
        )

    @staticmethod
    def join(parts: Sequence[Batch]) -> Batch:
        """One batch of all parts in order."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Batch.empty()
        return Batch(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class LinkDown(Exception):
    """The whole link is gone (port unplugged, connection refused or cut). `hint` says what a person may do.

    `code` is a technician's code (CG-3xxx, docs/errors.md).
    """

    def __init__(self, what: str, *, code: str = "CG-3001", hint: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.hint = hint


class PlanError(ValueError):
    """A point or device that this driver cannot serve. `where` is the point's name, or "" for the device."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(what)
        self.where = where


@dataclass(frozen=True, slots=True)
class Link:
    """Where a link leads: a `url` and what the line needs.

    `tcp://host:port` (Modbus TCP), `rtu+tcp://host:port`, `serial:/dev/...` (a serial port); `ascii:/dev/...` and
    `ascii+tcp://host:port` for Modbus ASCII. `connections` of one client at a time, where the far end is TCP.
    `ble:hci0`: a Bluetooth adapter. `coap://host:port`: one CoAP node, `credentials` the folder of its OSCORE context,
    "" for none.
    """

    name: str
    url: str
    baud: int = 9600
    parity: str = "N"  # N, E or O
    stop_bits: int = 1
    data_bits: int = 8
    rs485: bool = False
    connections: int = 1
    credentials: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """One device on a link: `unit` is its address there (0 where the protocol has none), `options` an instance
    of the driver's `device` dataclass (the profile's `[modbus]`, `[serial]` ... table). `address` where it is no
    number (a Bluetooth address); `secret` the key that its messages are encrypted with, b"" for none."""

    name: str
    unit: int
    options: Any
    address: str = ""
    secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a device, compiled: engine channel, driver's own `spec` (an instance of the driver's `point`
    dataclass), and the linear scale: value = raw * scale + offset, in the profile's unit. `writable`: the smallest and
    the largest value that may be written, None where the profile declares none. `units`: of every unit that a device
    may name itself, (factor, offset) to the profile's, for protocols whose messages carry units. `rest`: what it is put
    back to when a command is over, None for what it was before."""

    channel: int
    name: str
    device: Device
    spec: Any
    period_s: float
    scale: float = 1.0
    offset: float = 0.0
    writable: tuple[float, float] | None = None
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict, compare=False, repr=False)
    rest: float | None = None


class PlannedOp(Protocol):
    """What the scheduler reads of a driver's operation; the rest is the driver's own."""

    @property
    def device(self) -> Device: ...
    @property
    def channels(self) -> tuple[int, ...]: ...
    @property
    def period_s(self) -> float: ...
    def wire_s(self, link: Link) -> float:
        """Seconds this operation occupies the line `link`, answer and silences included; 0 where it does not matter."""
        ...

    def describe(self) -> str:
        """One line for `citygate plan`: `unit 1 FC3 0-11 (12 registers)`."""
        ...


Op = TypeVar("Op", bound=PlannedOp)
Op_contra = TypeVar("Op_contra", bound=PlannedOp, contravariant=True)


class Reader(Protocol[Op_contra]):
    """An open link. `counters` names what the link has seen since it opened (`timeouts`, `crc_errors`,
    `foreign`, `late`, `dropped`, `resyncs` ...): drivers add names, none is reset."""

    @property
    def counters(self) -> Mapping[str, int]: ...

    async def read(self, ops: Sequence[Op_contra], timeout_s: float) -> Batch:
        """Polling drivers: carry out `ops` (all of them, pipelined where the device allows) and return one row a
        channel, NaN with a quality where it failed, within about `timeout_s` a device that does not answer.
        Listening drivers: return what has arrived for these ops as soon as anything has, or an empty batch after
        `timeout_s`. Raises LinkDown; nothing else."""
        ...


class Written(NamedTuple):
    """Outcome of a write. GOOD: the device took it and reads back `value`. SUSPECT: it took it, but reads back
    another `value`. OUT_OF_RANGE: not sent, beyond what the profile allows. REFUSED: not declared writable, or the
    device's exception. NO_REPLY, BAD_REPLY, LINK_DOWN: nobody knows whether it took effect. `detail` in words."""

    quality: Quality
    value: float
    time_ns: int
    detail: str = ""


@runtime_checkable
class Writer(Protocol):
    """A reader that can also write. Part of the same link: calls never overlap reads."""

    async def write(self, point: Point, value: float, timeout_s: float) -> Written:
        """Check `value` against `point.writable`, write it once, read it back. Raises LinkDown; nothing else."""
        ...


@runtime_checkable
class Identifier(Protocol):
    """A reader that can ask devices who they are."""

    async def identify(self, device: Device, timeout_s: float) -> Mapping[str, str]:
        """What `device` says of itself (vendor, product, revision ...), if anything. Raises LinkDown."""
        ...


Tap = Callable[[bool, bytes, int], None]  # (sent by us, bytes, CLOCK_BOOTTIME ns)


@runtime_checkable
class Tapped(Protocol):
    """A reader that shows the bytes that pass, as they pass, to whoever sets `tap`. None costs nothing."""

    tap: Tap | None


@runtime_checkable
class Learner(Protocol):
    """A reader that learns its devices' ways."""

    def learned(self) -> Mapping[str, Mapping[str, Any]]:
        """device -> facts that JSON can carry: `timeout_ms`, `answer_ms`, `holes` ..."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A reader whose devices count their messages: what was believed is not believed again after a restart."""

    def memory(self) -> Mapping[str, int]:
        """device -> the largest counter that was believed."""
        ...

    def recall(self, memory: Mapping[str, int]) -> None:
        """Believe nothing up to these, whatever was heard meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class Driver(Generic[Op]):
    """A protocol.

    `point` and `device` are frozen dataclasses with `__pydantic_config__ = {"extra": "forbid"}`: they are the
    schema of the profile keys that belong to the driver (per point, and the table named after the driver).
    `plan` is pure: points of ONE link to operations, raising PlanError.
    `listens` is True where the device speaks by itself (streams, advertisements, observations).
    `check_point(spec)` gives faults that types cannot express, as (key, words) pairs.
    """

    name: str
    point: type
    device: type
    plan: Callable[[Sequence[Point]], tuple[Op, ...]]
    connect: Callable[[Link, Sequence[Op]], AbstractAsyncContextManager[Reader[Op]]]
    listens: Callable[[Device], bool]
    urls: tuple[str, ...]
    decode: Callable[[Sequence[Point], bytes, bytes], Mapping[str, float]]
    """decode(points of one device, request bytes, reply bytes) -> {point name: value}: proves golden captures.
    Raises ValueError with the reason when the bytes are not a valid exchange for this device."""
    check: Callable[[Device, Sequence[Point]], Sequence[tuple[str, str, str]]] = field(
        default=lambda device, points: ()
    )
    """Faults of a device's points beyond types: (point name, key, words)."""
    asks_first: bool = False
    """A listening driver whose first reading after connecting is the answer to a question (CoAP Observe)."""
    check_link: Callable[[Link, Device], str] = field(default=lambda link, device: "")
    """Why `device` cannot be on `link` (a unit that does not exist there), or ""."""
