"""The agent's figures: commands, configurations, releases, nodes; each part a module of its own with its table."""

from __future__ import annotations

from importlib import import_module

PARTS = ("agent_command", "agent_configuration", "agent_release", "agent_node")
SUMMED = ("broken", "stuck")  # a release's and a configuration's
WANTED = {
    "broken": 0,
    "stuck": 0,
    "resent_share": 0.02,
    "bricked": 0,
    "command_p50_ms": 100,
    "polls_missed": 0,
}


def run(*, full: bool) -> dict[str, float]:
    figures: dict[str, float] = {}
    for part in PARTS:
        print(f"\n{part.replace('_', ' ')}", flush=True)
        for key, value in import_module(f"benchmarks.{part}").run(full=full).items():
            figures[key] = figures.get(key, 0) + value if key in SUMMED else value
    print(f"\n{'figure':16} {'wanted':>8} {'measured':>10}")
    for key, wanted in WANTED.items():
        print(f"{key:16} {wanted:>8} {figures[key]:>10.4f}")
    return figures
