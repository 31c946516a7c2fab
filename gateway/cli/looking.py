"""Looks into a site and what runs there: plan, status, replay, write, bus."""

from __future__ import annotations

import argparse

from gateway.cli.verb import Add


def verbs(add: Add) -> None:
    plan = add("plan", _plan, "what is polled when, how busy lines are, and who gets what", "citygate plan site.toml")
    plan.add_argument("site", help="site file")
    plan.add_argument("--json", action="store_true", help="one JSON object")

    status = add("status", _status, "links, values and alarms of a running field half", "citygate status site.toml")
    status.add_argument("site", help="site file")
    status.add_argument("--json", action="store_true", help="one JSON object")

    replay = add(
        "replay",
        _replay,
        "recorded raw readings through the production judge: every verdict and why",
        "citygate replay night.csv --profile water/tuf-2000m",
    )
    replay.add_argument("file", metavar="FILE.csv", help="timestamp and a column a point, or timestamp,channel,value")
    what = replay.add_mutually_exclusive_group(required=True)
    what.add_argument("--profile", default="", help="family/vendor-model, or a profile's file: one device")
    what.add_argument("--site", default="", help="site file: all its devices, zones and services")
    replay.add_argument("--device", default="device", help="name of the device with --profile (default device)")
    replay.add_argument("--period", type=float, metavar="S", help="seconds between readings (default: the profile's)")
    replay.add_argument("--timezone", default="Asia/Seoul", help="with --profile (default Asia/Seoul)")
    replay.add_argument("--vehicles", default="", metavar="OUT.csv", help="vehicles of raw loops, one row each")
    replay.add_argument("--json", action="store_true", help="one JSON object a verdict, the account on the last line")

    write = add(
        "write",
        _write,
        "set one point that its profile declares writable, and read it back",
        "citygate write site.toml lamp1.level 40",
    )
    write.add_argument("site", help="site file")
    write.add_argument("point", help="device.point")
    write.add_argument("value", type=float, help="in the point's unit")
    write.add_argument("--json", action="store_true", help="one JSON object")

    bus = add("bus", _bus, "how each line of a running field half is used", "citygate bus site.toml")
    bus.add_argument("site", help="site file")
    bus.add_argument("--json", action="store_true", help="one JSON object")


def _plan(args: argparse.Namespace) -> int:
    from gateway.tools.plan import run

    return run(args.site, json=args.json)


def _status(args: argparse.Namespace) -> int:
    from gateway.tools.status import run

    return run(args.site, json=args.json)


def _replay(args: argparse.Namespace) -> int:
    from gateway.tools.replay import run

    return run(
        args.file,
        profile=args.profile,
        site=args.site,
        device=args.device,
        period_s=args.period,
        timezone=args.timezone,
        vehicles=args.vehicles,
        json=args.json,
    )


def _write(args: argparse.Namespace) -> int:
    from gateway.tools.write import run

    return run(args.site, args.point, args.value, json=args.json)


def _bus(args: argparse.Namespace) -> int:
    from gateway.tools.bus import run

    return run(args.site, json=args.json)
