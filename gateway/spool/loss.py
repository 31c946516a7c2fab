"""What the loss of records means: records that are dropped in, one `Gap` out that declares them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.spool.records import Gap, Item, Lane, Windows

Span = tuple[int, int]


def declare(reason: str, boot: str, lost: Sequence[tuple[int, int, Item | None]], *, own_boot: str) -> Gap:
    """The gap left by records (lane, seq, item) of one boot and catalog; item None could not be read."""
    other = "" if boot == own_boot else boot
    return Gap(
        reason=reason,
        entries=_entries(item for _, _, item in lost if isinstance(item, Windows)),
        from_boot=other,
        to_boot=other,
        records=tuple((lane, boot, first, last) for lane, first, last in _ranges((lane, seq) for lane, seq, _ in lost)),
    )


def thinned(step_s: int, boot: str, seqs: Sequence[int]) -> Gap:
    """Summaries of one boot that are now part of coarser ones: the records are gone, no reading is."""
    lane = int(Lane.SUMMARY)
    return Gap(
        reason=f"thinned to {step_s // 60} min" if step_s < 3600 else f"thinned to {step_s // 3600} h",
        entries=(),
        records=tuple((lane, boot, first, last) for _, first, last in _ranges((lane, seq) for seq in seqs)),
    )


def _entries(lost: Iterable[Windows]) -> tuple[tuple[tuple[int, ...], int, int], ...]:
    spans: dict[int, list[Span]] = {}
    for windows in lost:
        for row in windows.rows:
            spans.setdefault(row.channel, []).append((row.start_ns - 1, row.end_ns))
    shared: dict[Span, list[int]] = {}
    for channel in sorted(spans):
        for span in _joined(spans[channel]):
            shared.setdefault(span, []).append(channel)
    return tuple((tuple(channels), start, end) for (start, end), channels in sorted(shared.items()))


def _joined(spans: list[Span]) -> list[Span]:
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _ranges(numbers: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    out: list[tuple[int, int, int]] = []
    for lane, seq in sorted(numbers):
        if out and out[-1][0] == lane and out[-1][2] + 1 == seq:
            out[-1] = (lane, out[-1][1], seq)
        else:
            out.append((lane, seq, seq))
    return out
