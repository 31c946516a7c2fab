"""The verbs that run citygate: the demo, its halves, the center."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from gateway.cli.verb import Add

CENTER_KEYS = ("key", "waiting", "accept", "revoke")


def verbs(add: Add) -> None:
    demo = add("demo", _demo, "play a simulated city block, end to end", "citygate demo --seconds 60 --json")
    demo.add_argument("--seconds", type=float, default=60.0, help="length of the play (default 60; at least 10)")
    demo.add_argument("--json", action="store_true", help="the account as one JSON object on the last line")
    demo.add_argument("--replay", metavar="FILE.csv", help="play a recorded series (timestamp,value) as a device")
    demo.add_argument("--keep", metavar="DIR", help="keep site, spool, center database and logs in DIR")

    field = add("field", _field, "the field half: poll, judge, spool", "citygate field site.toml")
    field.add_argument("site", help="site file")
    field.add_argument("--record", metavar="FILE.csv", help="also write every raw reading, for citygate replay")

    uplink = add("uplink", _uplink, "the sending half: spool to the centers", "citygate uplink site.toml")
    uplink.add_argument("site", help="site file")

    both = add("run", _run, "both halves under one roof", "citygate run site.toml")
    both.add_argument("site", help="site file")

    center = add(
        "center",
        _center,
        "the reference intake, or a look into its database",
        "citygate center --bind 0.0.0.0:5683 --db center.db --credentials intake",
    )
    center.add_argument(
        "look",
        nargs="?",
        choices=["tail", "gaps", "gateways", "audit", *CENTER_KEYS],
        help="show what the database holds and exit; key, waiting, accept NAME FINGERPRINT, revoke NAME: who may enrol",
    )
    center.add_argument("gateway", nargs="?", default="", help="with accept, revoke, audit: the gateway's id")
    center.add_argument("fingerprint", nargs="?", default="", help="with accept: as citygate enrol prints it")
    center.add_argument("--bind", default="127.0.0.1:5683", help="address to listen at (default 127.0.0.1:5683)")
    center.add_argument("--db", default="center.db", help="SQLite file (default center.db)")
    center.add_argument(
        "--sink",
        metavar="WHERE",
        help="instead of --db: sqlite:FILE, jsonl:FOLDER, or nats://HOST:PORT/NAME for several centers side by side",
    )
    center.add_argument("--credentials", default="credentials", help="folder with one OSCORE context a gateway")
    center.add_argument(
        "--observer",
        metavar="NAME",
        action="append",
        default=[],
        help="credentials by this name may look up all gateways in the resource directory; may be repeated",
    )
    center.add_argument("--insecure", action="store_true", help="also take plain CoAP: for a bench, never a city")
    center.add_argument(
        "--control",
        default="",
        metavar="PATH",
        help="socket through which the center's tools ask gateways (default center.sock beside the database)",
    )
    center.add_argument("--files", default="", metavar="DIR", help="folder that gateways may fetch releases from")
    center.add_argument("--json", action="store_true", help="with tail, gaps, gateways, audit: JSON lines")


def _demo(args: argparse.Namespace) -> int:
    from gateway.demo.main import run

    return run(args.seconds, json=args.json, replay=args.replay, keep=args.keep)


def _field(args: argparse.Namespace) -> int:
    from gateway.field.main import run

    return run(args.site, record=args.record)


def _uplink(args: argparse.Namespace) -> int:
    from gateway.uplink.main import run

    return run(args.site)


def _run(args: argparse.Namespace) -> int:
    from gateway.tools.both import run

    return run(args.site)


def _center(args: argparse.Namespace) -> int:
    if args.look in CENTER_KEYS:
        from gateway.tools import enrol

        named = (args.gateway, args.fingerprint)[: {"accept": 2, "revoke": 1}.get(args.look, 0)]
        decided: Callable[..., int] = getattr(enrol, args.look)
        return decided(args.credentials, *named, args.json)
    if args.look == "audit":
        from gateway.center import audit

        return audit.run(args.db, args.gateway, args.json)
    if args.look:
        from gateway.center import look

        shown: Callable[[str, bool], int] = getattr(look, args.look)
        return shown(args.db, args.json)
    from gateway.center.main import run

    return run(
        args.bind,
        args.sink or args.db,
        args.credentials,
        args.insecure,
        args.observer,
        args.control,
        args.files,
    )
