"""`citygate`: argument parsing only. Each verb imports its own part when it is called, so `--help` stays quick."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from gateway import VERSION

Verb = Callable[[argparse.Namespace], int]

EPILOG = """\
examples:
  citygate demo --seconds 60            a simulated city block, end to end
  citygate check site.toml              every fault of a site and its profiles, with file and line
  citygate run site.toml                both halves under one roof
exit codes: 0 done, 1 faults found, 2 wrong use or refused start, 3 address in use, 130 interrupted"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(arguments)
    _log(args.verbose)
    verb: Verb = args.verb
    try:
        return verb(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _log(verbose: int) -> None:
    level = logging.WARNING if verbose < 0 else logging.DEBUG if verbose > 0 else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for chatty in ("aiocoap", "coap", "coap-server", "pymodbus", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING if verbose <= 0 else logging.DEBUG)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="citygate",
        description="Street-cabinet gateway: polls sensors, judges every reading, sends alarms and compact summaries.",
        epilog=EPILOG,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"citygate {VERSION}")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="debug output")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def add(name: str, verb: Verb, words: str, example: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=words, description=words, epilog=f"example: {example}", formatter_class=raw)
        sub.set_defaults(verb=verb)
        return sub

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
        "look", nargs="?", choices=["tail", "gaps", "gateways"], help="show what the database holds and exit"
    )
    center.add_argument("--bind", default="127.0.0.1:5683", help="address to listen at (default 127.0.0.1:5683)")
    center.add_argument("--db", default="center.db", help="SQLite file (default center.db)")
    center.add_argument("--credentials", default="credentials", help="folder with one OSCORE context a gateway")
    center.add_argument("--insecure", action="store_true", help="also take plain CoAP: for a bench, never a city")
    center.add_argument("--json", action="store_true", help="with tail, gaps, gateways: JSON lines")

    check = add("check", _check, "every fault of site files and profiles", "citygate check site.toml --json")
    check.add_argument("paths", nargs="+", help="site files, profiles, or folders of profiles")
    check.add_argument("--json", action="store_true", help="one JSON object a fault")
    check.add_argument("--lang", choices=["en", "ko"], help="language (default: the locale's)")

    plan = add("plan", _plan, "what is polled when, and how busy each line is", "citygate plan site.toml")
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

    keys = add(
        "credentials",
        _credentials,
        "make the pair of OSCORE contexts of one gateway and its center",
        "citygate credentials new --gateway cab-7 --out-gateway credentials/center --out-center intake",
    )
    keys.add_argument("action", choices=["new"])
    keys.add_argument("--gateway", required=True, help="the gateway's id, as in its site file")
    keys.add_argument("--out-gateway", required=True, metavar="DIR", help="folder for the gateway's half")
    keys.add_argument(
        "--out-center",
        required=True,
        metavar="DIR",
        help="the center's credentials folder; its half goes into a subfolder",
    )
    return parser


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
    if args.look:
        from gateway.center import look

        shown: Callable[[str, bool], int] = getattr(look, args.look)
        return shown(args.db, args.json)
    from gateway.center.main import run

    return run(args.bind, args.db, args.credentials, args.insecure)


def _check(args: argparse.Namespace) -> int:
    from gateway.tools.check import run

    return run(args.paths, json=args.json, lang=args.lang)


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


def _credentials(args: argparse.Namespace) -> int:
    from gateway.tools.credentials import new

    return new(args.gateway, args.out_gateway, args.out_center)


if __name__ == "__main__":
    sys.exit(main())
