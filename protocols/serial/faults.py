"""What is wrong with the layout of a serial device: a device and its points in, faults in words out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from protocols.api import Device, Link, Point
from protocols.serial.points import (
    MAX_FRAME,
    SIZES,
    Check,
    Field,
    Length,
    Options,
    Time,
    blank,
    names_unit,
)

Fault = tuple[str, str, str]  # point name, key, words
Words = Iterator[tuple[str, str]]
HEX = 'is not hex: write it like "42 4D"'


def check(device: Device, points: Sequence[Point]) -> tuple[Fault, ...]:
    """Everything types cannot say: (point name or "", key, words)."""
    options: Options = device.options
    layout = _line_faults if options.frame == "lines" else _binary_faults
    faults = [("", key, words) for key, words in (*_common_faults(options), *layout(options), *_time_faults(options))]
    for point in points:
        faults += ((point.name, key, words) for key, words in _point_faults(point.spec, options))
        if point.writable is not None:
            faults.append((point.name, "writable", "serial devices are only read"))
    return tuple(faults)


def check_link(link: Link, device: Device) -> str:
    """Why `device` cannot be on `link`, or ""."""
    options: Options = device.options
    texts = (options.request, options.start, *(fixed.bytes for fixed in options.fixed))
    if any(names_unit(text) for text in texts) and not 0 <= device.unit <= 255:
        return f"unit {device.unit}: an address of one byte is 0 to 255"
    return ""


def _common_faults(options: Options) -> Words:
    check = options.request_check
    texts = [("start", options.start), ("request", options.request)]
    for command in options.commands:
        texts += [("on_start", command.send), ("on_start", command.answer)]
        if command.pause_ms < 0:
            yield "on_start", "pause_ms cannot be negative"
        if not command.send:
            yield "on_start", "a command needs the bytes to send"
    for key, text in texts:
        if blank(text, check) is None:
            yield key, f'"{text}" {HEX}'
        elif "{check}" in text and (key == "start" or check is None):
            yield key, "{check} needs a request_check" if check is None else "{check} is filled in where we send only"
    if check is not None and not any("{check}" in text for _, text in texts):
        yield "request_check", "no {check} in request says where it goes"
    if options.mode == "request" and not options.request:
        yield "request", 'mode "request" needs the bytes to send'
    if options.mode == "stream" and options.request:
        yield "request", 'only sent in mode = "request"'
    if options.mode == "request" and options.rate_hz is not None:
        yield "rate_hz", 'only in mode = "stream"'
    if options.rate_hz is not None and options.rate_hz <= 0:
        yield "rate_hz", "must be positive"
    if options.pause_ms < 0:
        yield "pause_ms", "cannot be negative"
    if options.timeout_ms is not None and options.timeout_ms <= 0:
        yield "timeout_ms", "must be positive"


# ---- binary and stuffed frames


def _binary_faults(options: Options) -> Words:
    start, length = blank(options.start) or b"", options.length
    if options.prefix or options.fields is not None:
        yield "fields" if options.fields is not None else "prefix", 'only in frame = "lines"'
    if not options.start and options.frame == "binary" and options.mode == "stream":
        yield "start", "a binary frame needs the bytes it starts with: nothing else tells where it begins"
    if options.frame == "stuffed":
        yield from _flag_faults(options)
    if isinstance(length, Length):
        faults = list(_length_faults(length, start))
        yield from faults
        if faults:
            return
    elif length is None or not max(1, len(start)) <= length <= MAX_FRAME:
        yield "length", f"a frame needs its whole length in bytes, {max(1, len(start))} to {MAX_FRAME}"
        return
    shortest = length.min if isinstance(length, Length) else length
    yield from _fixed_faults(options, shortest, start)
    if options.check is None:
        yield "check", 'a frame without a check delivers noise as values: give one, or write check = "none"'
    elif isinstance(options.check, Check):
        yield from _check_faults(options.check, options, shortest)


def _flag_faults(options: Options) -> Words:
    flag, escape = blank(options.flag), blank(options.escape)
    for key, one in (("flag", flag), ("escape", escape)):
        if one is None or len(one) != 1:
            yield key, 'one byte in hex, like "7E"'
    if flag is not None and flag == escape:
        yield "escape", "flag and escape must differ"


def _length_faults(length: Length, start: bytes) -> Words:
    if length.at < 0:
        yield "length.at", "where in the frame its length stands, from 0"
    elif length.at < len(start):
        yield "length.at", f"overlaps the {len(start)} bytes of start"
    if not 1 <= length.min <= length.max <= MAX_FRAME:
        yield "length.min", f"min {length.min} to max {length.max} is no range within 1 to {MAX_FRAME}"
    elif length.at + length.size > length.min:
        yield "length.min", f"a frame of {length.min} bytes has no room for the length at {length.at}"
    most = (1 << 8 * SIZES[length.type]) - 1 + length.plus
    if length.max > most or length.min < length.plus:
        yield "length.plus", f"{length.type} plus {length.plus} says {max(0, length.plus)} to {most} bytes only"


def _fixed_faults(options: Options, shortest: int, start: bytes) -> Words:
    taken: list[tuple[int, int, str]] = [(0, len(start), "start")] if start else []
    if isinstance(options.length, Length):
        taken.append((options.length.at, options.length.at + options.length.size, "the length"))
    for fixed in options.fixed:
        constant = blank(fixed.bytes)
        if not constant:
            yield "fixed", f'"{fixed.bytes}" {HEX}'
            continue
        end = fixed.at + len(constant)
        if fixed.at < 0 or end > shortest:
            yield "fixed", f"{len(constant)} bytes at {fixed.at} do not fit into {shortest}"
        for first, last, what in taken:
            if fixed.at < last and first < end:
                yield "fixed", f"{len(constant)} bytes at {fixed.at} overlap {what}"
        taken.append((fixed.at, end, f"the fixed bytes at {fixed.at}"))


def _check_faults(sum_: Check, options: Options, shortest: int) -> Words:
    if sum_.after:
        yield "check.after", 'only in frame = "lines"'
    if sum_.end is None or sum_.at is None:
        yield "check.end" if sum_.end is None else "check.at", "where it ends and where it stands, in bytes"
        return
    if (
        isinstance(options.length, Length)
        and (sum_.end >= 0 or sum_.at >= 0)
        and options.length.min < options.length.max
    ):
        key = "check.end" if sum_.end >= 0 else "check.at"
        yield key, "a frame of any length has its check at its end: count from there, like -2"
        return
    start, end, at = sum_.place(shortest)
    if not 0 <= start < end <= shortest:
        yield "check.start", f"start {start} to end {end} is not a part of {shortest} bytes"
    if not 0 <= at <= shortest - sum_.size:
        yield "check.at", f"{sum_.size} bytes at {at} do not fit into {shortest}"
    if start < at + sum_.size and at < end:
        yield "check.at", f"the check cannot lie within what it checks ({start} up to {end})"
    for fixed in options.fixed:
        if fixed.at < at + sum_.size and at < fixed.at + len(blank(fixed.bytes) or b""):
            yield "fixed", f"overlaps the check at {at}"


# ---- lines


def _line_faults(options: Options) -> Words:
    if options.fields is None or not 1 <= options.fields <= 1024:
        yield "fields", "how many fields a line has, 1 to 1024"
    if not options.separator or not options.terminator:
        yield "separator" if not options.separator else "terminator", "cannot be empty"
    if options.separator in options.terminator or options.terminator in options.separator:
        yield "separator", "separator and terminator must differ"
    for key in ("separator", "terminator", "prefix"):
        if not getattr(options, key).isascii():
            yield key, "ASCII only"
    given = {"start": options.start, "length": options.length is not None, "fixed": options.fixed}
    for key, there in given.items():
        if there:
            yield key, 'only in frame = "binary"'
    if isinstance(options.check, Check):
        yield from _line_check_faults(options.check, options)


def _line_check_faults(sum_: Check, options: Options) -> Words:
    if not sum_.after or not sum_.after.isascii():
        yield "check.after", 'the text before the digits of the check, like "*"'
    elif sum_.after in options.separator or sum_.after in options.terminator:
        yield "check.after", "must differ from separator and terminator"
    if sum_.end is not None or sum_.at is not None:
        yield "check.end" if sum_.end is not None else "check.at", 'in lines it goes up to the text "after"'
    if sum_.start < 0:
        yield "check.start", "the first byte that it covers, from 0"


# ---- points and times


def _time_faults(options: Options) -> Words:
    names = [time.name for time in options.times]
    for name in {name for name in names if names.count(name) > 1}:
        yield "times", f'two times are called "{name}"'
    if len({_wrap_s(time) for time in options.times}) > 1:
        yield "times", "the times of one device are by one clock: the same scale and rollover"
    for time in options.times:
        if time.scale <= 0 or (time.rollover is not None and time.rollover <= 0):
            yield "times", f'"{time.name}": scale and rollover must be positive'
        for _, words in _place_faults(time, options):
            yield "times", f'"{time.name}": {words}'


def _wrap_s(time: Time) -> float | None:
    return time.rollover * time.scale if time.rollover else None


def _point_faults(spec: Field, options: Options) -> Words:
    yield from _place_faults(spec, options)
    if spec.time and spec.time not in [time.name for time in options.times]:
        known = ", ".join(time.name for time in options.times) or "none"
        yield "time", f'no "{spec.time}" among times: {known}'
    if spec.plausible and spec.plausible[0] > spec.plausible[1]:
        yield "plausible", f"{spec.plausible[0]} is more than {spec.plausible[1]}"


def _place_faults(spec: Field | Time, options: Options) -> Words:
    if options.frame == "lines":
        if spec.field is None:
            yield "field", "which field of the line, from 0"
        elif options.fields is not None and not 0 <= spec.field < options.fields:
            yield "field", f"0 to {options.fields - 1}: a line has {options.fields} fields"
        if spec.offset is not None:
            yield "offset", 'only in frame = "binary"'
        return
    if spec.field is not None:
        yield "field", 'only in frame = "lines"'
    if spec.offset is None:
        yield "offset", "where in the frame the value begins, from 0"
        return
    end, longest = spec.offset + SIZES[spec.type], options.longest
    if spec.offset < 0 or (longest and end > longest):
        yield "offset", f"{spec.type} at {spec.offset} does not fit into {longest} bytes"
    elif isinstance(options.check, Check) and options.check.at is not None and longest:
        _, _, at = options.check.place(longest)
        if spec.offset < at + options.check.size and at < end:
            yield "offset", f"overlaps the check at {at}"
    bits = 8 * SIZES[spec.type]
    if not spec.type.startswith("float") and any(not -(1 << (bits - 1)) <= raw < 1 << bits for raw in spec.nan):
        yield "nan", f"a raw value that {spec.type} cannot hold"
