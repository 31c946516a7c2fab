"""`citygate`: argument parsing only. Each verb imports its own part when it is called, so `--help` stays quick."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from gateway import VERSION

Verb = Callable[[argparse.Namespace], int]

CENTER_KEYS = ("key", "waiting", "accept", "revoke")
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
        "look",
        nargs="?",
        choices=["tail", "gaps", "gateways", *CENTER_KEYS],
        help="show what the database holds and exit; key, waiting, accept NAME FINGERPRINT, revoke NAME: who may enrol",
    )
    center.add_argument("gateway", nargs="?", default="", help="with accept, revoke: the gateway's id")
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
    center.add_argument("--json", action="store_true", help="with tail, gaps, gateways: JSON lines")

    check = add("check", _check, "every fault of site files and profiles", "citygate check site.toml --json")
    check.add_argument("paths", nargs="+", help="site files, profiles, or folders of profiles")
    check.add_argument("--json", action="store_true", help="one JSON object a fault")
    check.add_argument("--lang", choices=["en", "ko"], help="language (default: the locale's)")

    _profiles(add("profile", _profile, "the library of device profiles", "citygate profile search 유량"))

    schema = add(
        "schema",
        _schema,
        "the JSON Schema of profiles or sites, for editors",
        "citygate schema profile --out profile.schema.json",
    )
    schema.add_argument("kind", choices=["profile", "site"])
    schema.add_argument("--out", metavar="FILE", default="", help="write it there instead of to standard output")

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

    enrol = add(
        "enrol",
        _enrol,
        "agree on an OSCORE context with a center (EDHOC), each side knowing the other's key",
        "citygate enrol site.toml --center 3f2a-91bc-0d44-7e1b-a0c2-55f9-8d63-e417 --wait 600",
    )
    enrol.add_argument("site", help="site file")
    enrol.add_argument("--upstream", default="", help="which of the site's upstreams, where there are several")
    enrol.add_argument("--center", default="", metavar="FINGERPRINT", help="as citygate center key prints it there")
    enrol.add_argument("--wait", type=float, default=0.0, metavar="S", help="until an operator accepts (default 0)")
    enrol.add_argument(
        "--rebind", action="store_true", help="the card moved to this machine for good: take its key over"
    )
    enrol.add_argument("--json", action="store_true", help="one JSON object")

    keys = add(
        "credentials",
        _credentials,
        "make the pair of OSCORE contexts of one gateway and its center",
        "citygate credentials new --gateway cab-7 --out-gateway credentials/center --out-center intake",
    )
    keys.add_argument(
        "action", choices=["new", "begin"], help="begin: numbers for a key that systemd hands over and nobody has used"
    )
    keys.add_argument("--gateway", default="", help="the gateway's id, as in its site file")
    keys.add_argument("--out-gateway", required=True, metavar="DIR", help="folder for the gateway's half")
    keys.add_argument(
        "--out-center",
        default="",
        metavar="DIR",
        help="the center's credentials folder; its half goes into a subfolder",
    )
    return parser


def _profiles(profile: argparse.ArgumentParser) -> None:
    """The verbs below `citygate profile`."""
    whats = profile.add_subparsers(dest="what", required=True, metavar="WHAT")
    about = {
        "list": "every profile that a site can name",
        "search": "profiles in which all words occur: vendor, model, name, role, point, in Korean or English",
        "show": "one profile in full",
        "test": "decode its captures, byte by byte to value",
        "new": "write one to be filled in",
    }
    for what, words in about.items():
        one = whats.add_parser(what, help=words, description=words)
        if what == "new":
            one.add_argument("name", help="FAMILY/VENDOR-MODEL, as water/acme-f100")
            one.add_argument("--protocol", choices=["modbus", "serial", "ble", "coap"], default="modbus")
            one.add_argument("--out", metavar="DIR", default="profiles", help="folder of profiles (default profiles)")
            continue
        if what == "list":
            one.add_argument("--family", default="", help="water, streetlight, air, traffic, other")
            one.add_argument("--protocol", default="", help="modbus, serial, ble, coap")
        elif what == "search":
            one.add_argument("words", nargs="+")
        else:
            one.add_argument("name", help="family/vendor-model, or a file")
        one.add_argument("--profiles", metavar="DIR", action="append", default=[], help="look there first")
        one.add_argument("--json", action="store_true", help="one JSON object")


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
    if args.look:
        from gateway.center import look

        shown: Callable[[str, bool], int] = getattr(look, args.look)
        return shown(args.db, args.json)
    from gateway.center.main import run

    return run(args.bind, args.sink or args.db, args.credentials, args.insecure, args.observer)


def _check(args: argparse.Namespace) -> int:
    from gateway.tools.check import run

    return run(args.paths, json=args.json, lang=args.lang)


def _profile(args: argparse.Namespace) -> int:
    from gateway.tools import profile

    if args.what == "list":
        return profile.list_profiles(args.profiles, args.family, args.protocol, json=args.json)
    if args.what == "search":
        return profile.search(args.words, args.profiles, json=args.json)
    if args.what == "new":
        return profile.new(args.name, args.protocol, args.out)
    verb = profile.show if args.what == "show" else profile.test
    return verb(args.name, args.profiles, json=args.json)


def _schema(args: argparse.Namespace) -> int:
    from gateway.tools import schema

    return schema.run(args.kind, args.out)


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


def _enrol(args: argparse.Namespace) -> int:
    from gateway.tools.enrol import enrol

    return enrol(args.site, args.upstream, args.center, wait_s=args.wait, rebind=args.rebind, json=args.json)


def _credentials(args: argparse.Namespace) -> int:
    from gateway.tools.credentials import begin, new

    if args.action == "begin":
        return begin(args.out_gateway)
    return new(args.gateway, args.out_gateway, args.out_center)


if __name__ == "__main__":
    sys.exit(main())
