"""Links that go on while the plan around them changes: a configuration that does not touch a link misses none of its
polls.

In: two plans, and runners. Out: which links are the same in both, and runners whose batches carry the numbers of the
new plan. What comes between the old plan's end and the new one's beginning is kept and taken first. No files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from gateway.field.scheduler import LinkRunner
from gateway.site.plan import LinkPlan, Plan
from protocols.api import Batch


def same_links(old: Plan, new: Plan) -> frozenset[str]:
    """Names of links that ask the same of the same devices by the same names, whatever their channels' numbers."""
    before = {link.link.name: link for link in old.links}
    return frozenset(
        link.link.name
        for link in new.links
        if (was := before.get(link.link.name)) is not None and _asks(old, was) == _asks(new, link)
    )


def _asks(plan: Plan, link: LinkPlan) -> object:
    points = tuple((plan.channels[point.channel].name, replace(point, channel=0)) for point in link.points)
    return link.link, link.driver, link.timeout_s, points, tuple(point.units for point in link.points)


@dataclass
class Running:
    """One link's task. `names`: of its channels, by the numbers that its own plan gave them."""

    runner: LinkRunner
    names: Mapping[int, str]
    stop: asyncio.Event
    task: asyncio.Task[None]


@dataclass
class Ongoing:
    """Every link that runs, over changes of the plan. `held`: what came while no plan took it."""

    running: dict[str, Running] = field(default_factory=dict)
    held: list[tuple[str, Batch]] = field(default_factory=list)

    def start(self, runner: LinkRunner, plan: Plan) -> None:
        link = next(link for link in plan.links if link.link.name == runner.name)
        names = {point.channel: plan.channels[point.channel].name for point in link.points}
        stop = asyncio.Event()
        task = asyncio.get_running_loop().create_task(runner.run(stop), name=f"link {runner.name}")
        self.running[runner.name] = Running(runner, names, stop, task)

    def hold(self, names: frozenset[str]) -> None:
        """From here on these keep what they read until somebody takes it."""
        for name in names & self.running.keys():
            self.running[name].runner.sink = lambda batch, name=name: self.held.append((name, batch))  # type: ignore[misc]

    async def end(self, but: frozenset[str] = frozenset()) -> None:
        """Stop all but these: what is in flight is finished. Raises what a link died of."""
        over = [self.running.pop(name) for name in list(self.running) if name not in but]
        for one in over:
            one.stop.set()
        await asyncio.gather(*(one.task for one in over))

    async def broken(self) -> None:
        """Waits until a link's task has died, and raises what it died of."""
        while True:
            tasks = [one.task for one in self.running.values()]
            if not tasks:
                await asyncio.Event().wait()
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=1.0)
            for task in done:
                task.result()
            if done:
                return

    def take_over(self, plan: Plan, sink: Callable[[Batch], None]) -> dict[str, LinkRunner]:
        """What runs already, under `plan`: their batches go to `sink` with its numbers, those that were held first."""
        numbers = {channel.name: channel.index for channel in plan.channels}
        sinks: dict[str, Callable[[Batch], None]] = {}
        for name, one in self.running.items():
            table = np.zeros(max(one.names, default=-1) + 1, np.int32)
            for number, channel in one.names.items():
                table[number] = numbers[channel]
            sinks[name] = lambda batch, table=table: sink(batch._replace(channel=table[batch.channel]))  # type: ignore[misc]
            one.runner.numbers = {numbers[channel]: number for number, channel in one.names.items()}
        held, self.held = self.held, []
        for name, batch in held:
            if name in sinks:
                sinks[name](batch)
        for name, renumbered in sinks.items():
            self.running[name].runner.sink = renumbered
        return {name: one.runner for name, one in self.running.items()}
