"""`citygate`: argument parsing only. Each verb imports its own part when it is called, so `--help` stays quick."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

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

    taken = add(
        "import",
        _import,
        "profiles from what other systems have: Telegraf, Home Assistant, EdgeX, W3C Thing Descriptions",
        "citygate import telegraf.conf --family water",
    )
    taken.add_argument("file", metavar="FILE", help="TOML, YAML or JSON of the other system")
    taken.add_argument(
        "--from",
        dest="format",
        choices=["telegraf", "homeassistant", "edgex", "thing"],
        default="",
        help="whose file it is (default: by its contents)",
    )
    taken.add_argument("--out", metavar="DIR", default="profiles", help="folder of profiles (default profiles)")
    taken.add_argument(
        "--family", choices=["water", "streetlight", "air", "traffic", "other"], default="other", help="default other"
    )
    taken.add_argument("--json", action="store_true", help="one JSON object, all that did not carry over included")

    schema = add(
        "schema",
        _schema,
        "the JSON Schema of profiles or sites, for editors",
        "citygate schema profile --out profile.schema.json",
    )
    schema.add_argument("kind", choices=["profile", "site"])
    schema.add_argument("--out", metavar="FILE", default="", help="write it there instead of to standard output")

    _finding_out(add)

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

    _work(add)

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


def _finding_out(add: Callable[[str, Verb, str, str], argparse.ArgumentParser]) -> None:
    """The bench's verbs in the order of the job."""
    scan = add(
        "scan",
        _scan,
        "find devices: serial lines, Modbus TCP, CoAP, Bluetooth; and what is wrong with a line",
        "citygate scan /dev/ttyUSB0 --baud 9600,19200 --units 1-32",
    )
    scan.add_argument(
        "targets", nargs="*", help="a port, tcp://HOST, coap://HOST, coap://, ble:hci0 (default: all ports)"
    )
    scan.add_argument("--site", default="", help="with --link: the site whose field half holds the line")
    scan.add_argument("--link", default="", help="a link of the site, through the running field half")
    scan.add_argument("--baud", default="", metavar="LIST", help="default 9600,19200,38400,115200")
    scan.add_argument("--parity", default="", metavar="LIST", help="default N,E,O")
    scan.add_argument("--units", default="1-247", metavar="LIST", help="addresses, as 1-16,32 (default 1-247)")
    scan.add_argument("--timeout", type=float, default=0.1, metavar="S", help="for a first byte (default 0.1)")
    scan.add_argument("--within", type=float, default=float("inf"), metavar="S", help="end after so long")
    scan.add_argument("--thorough", action="store_true", help="all settings, also where some device has answered")
    scan.add_argument("--seconds", type=float, default=10.0, help="how long the air is listened to (default 10)")

    identify = add(
        "identify",
        _identify,
        "which profiles fit what answers, the best first",
        "citygate identify /dev/ttyUSB0 --unit 5 --baud 9600",
    )
    identify.add_argument("target", nargs="?", default="", help="a port, tcp://HOST, coap://HOST, ble:hci0")
    identify.add_argument("--device", default="", help="a Modbus device of the site, through the running field half")
    identify.add_argument("--family", default="", help="only these: water, streetlight, air, traffic, other")
    _device(identify)

    read = add(
        "read",
        _read,
        "one device, byte by byte to value, and what its display says against it",
        "citygate read meter1 --suggest flow=23.4",
    )
    read.add_argument("device", nargs="?", default="", help="a device of the site; else --profile and --link")
    words = (
        "find the encoding that gives what the display shows; up to three (POINT=23.4,23.9), 3:ADDRESS=23.4, or POINT"
    )
    read.add_argument("--suggest", default="", metavar="POINT=23.4", help=f"{words} alone, to be asked")
    read.add_argument("--every", type=float, default=5.0, metavar="S", help="between several values (default 5)")
    _device(read, profile=True)

    watch = add(
        "watch",
        _watch,
        "live values, and PASS or FAIL against what is done to the sensor",
        "citygate watch rope1 --expect leak",
    )
    watch.add_argument("device", nargs="?", default="", help="a device of the site; else --profile and --link")
    watch.add_argument("--expect", default="", metavar="WHAT", help="leak, dark, vehicle, door, lamp-on, flow ..., or "
                       "POINT>2.5, POINT+5, POINT~1")  # fmt: skip
    watch.add_argument("--every", type=float, default=1.0, metavar="S", help="between readings (default 1)")
    watch.add_argument("--within", type=float, default=60.0, metavar="S", help="with --expect: FAIL after (default 60)")
    _device(watch, profile=True)

    simulate = add(
        "simulate",
        _simulate,
        "a device by its profile: on a pseudo terminal, a TCP port or a CoAP port",
        "citygate simulate water/tuf-2000m --on pty:/tmp/meter --set flow=23.4 --fault crc --fault-rate 0.1",
    )
    simulate.add_argument("profile", help="family/vendor-model, or a file")
    simulate.add_argument(
        "--on", default="", help="pty, pty:PATH, tcp:PORT, coap:PORT (default: what the profile speaks)"
    )
    simulate.add_argument("--unit", default="1", metavar="LIST", help="addresses; one twice makes a doubled address")
    simulate.add_argument("--set", dest="sets", metavar="POINT=VALUE", action="append", default=[])
    simulate.add_argument("--fault", default="", choices=["", "silent", "crc", "late", "exception", "stuck"])
    simulate.add_argument("--fault-rate", type=float, default=1.0, metavar="0..1", help="how often (default 1: always)")
    simulate.add_argument("--noise", type=float, default=0.0, help="standard deviation as a part of the value")
    simulate.add_argument("--baud", type=int, default=0, help="default: the profile's")
    simulate.add_argument("--parity", default="", choices=["", "N", "E", "O"], help="default: the profile's")
    simulate.add_argument("--echo", action="store_true", help="an adapter that hears itself")
    simulate.add_argument("--seconds", type=float, default=0.0, help="end after so long (default: Ctrl-C)")
    simulate.add_argument("--profiles", metavar="DIR", action="append", default=[], help="look there first")
    for one in (scan, identify, read, watch, simulate):
        one.add_argument("--json", action="store_true", help="JSON instead of text")


def _device(verb: argparse.ArgumentParser, *, profile: bool = False) -> None:
    """Where a device is."""
    if profile:
        verb.add_argument("--profile", default="", help="family/vendor-model, or a file: a device that no site has")
        verb.add_argument("--link", default="", help="with --profile: a port, tcp://HOST, coap://HOST, ble:hci0")
    verb.add_argument("--site", default="", help="default: CITYGATE_SITE, ./site.toml, /etc/citygate/site.toml")
    verb.add_argument("--unit", type=int, default=1, help="address on the line (default 1)")
    verb.add_argument("--address", default="", help="of a Bluetooth device")
    verb.add_argument("--baud", type=int, default=0, help="default: the profile's, else 9600")
    verb.add_argument("--parity", default="", choices=["", "N", "E", "O"], help="default: the profile's, else N")
    verb.add_argument("--profiles", metavar="DIR", action="append", default=[], help="look there first")


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


def _work(add: Callable[[str, Verb, str, str], argparse.ArgumentParser]) -> None:
    """What a technician does on a running gateway."""
    words = "bus frames of a running gateway to a file that Wireshark opens"
    capture = add("capture", _capture, words, "citygate capture site.toml --link bus --for 60s --out bus.pcapng")
    capture.add_argument("site", nargs="?", default="", help="site file; not with --show and --replay")
    capture.add_argument("--link", default="", help="one link (default: all)")
    capture.add_argument("--out", metavar="FILE.pcapng", default="", help="default: GATEWAY-TIME.pcapng")
    capture.add_argument("--for", dest="for_", metavar="60s", default="", help="go on so long (default: what was kept)")
    capture.add_argument("--show", metavar="FILE", default="", help="a capture in the terminal, frame by frame")
    capture.add_argument("--replay", metavar="FILE", default="", help="a capture as a simulated device")
    capture.add_argument("--port", type=int, help="with --replay: TCP port on loopback (default: a pty for a line)")
    capture.add_argument("--json", action="store_true", help="one JSON object, or one a frame")

    words = "hold alarms while somebody works; they come back by themselves"
    keep = add("maintenance", _maintenance, words, "citygate maintenance site.toml on --for 45m --device meter1")
    keep.add_argument("site", help="site file")
    keep.add_argument("what", choices=["on", "off", "show"])
    keep.add_argument("--for", dest="for_", metavar="45m", default="", help="with on: how long, 10s to 8h")
    keep.add_argument("--device", default="", help="one device (default: the whole site)")
    keep.add_argument("--why", default="", help="a few words for the center")
    keep.add_argument("--by", default="", help="who (default: the user)")
    keep.add_argument("--json", action="store_true", help="one JSON object")

    words = "a meter was exchanged: its totals count on from the old one's"
    example = "citygate replace site.toml meter1 --point volume --old-total 48211.3 --new-total 0.2"
    replace = add("replace", _replace, words, example)
    replace.add_argument("site", help="site file")
    replace.add_argument("device", help="device's name")
    replace.add_argument("--point", default="", help="the counter that the totals belong to")
    replace.add_argument("--old-total", type=float, metavar="X", help="as the old meter showed (default: last read)")
    replace.add_argument("--new-total", type=float, metavar="Y", help="as the new meter showed (default: read now)")
    replace.add_argument("--serial", default="", help="the new meter's serial number")
    replace.add_argument("--old-serial", default="", help="the old meter's")
    replace.add_argument("--by", default="", help="who (default: the user)")
    replace.add_argument("--json", action="store_true", help="one JSON object")

    push = add("push-test", _push_test, "does the center acknowledge, and how fast", "citygate push-test site.toml")
    push.add_argument("site", help="site file")
    push.add_argument("--upstream", default="", help="one of the site's upstreams (default: all)")
    push.add_argument("--within", type=float, default=30.0, metavar="S", help="give up after so long (default 30)")
    push.add_argument("--by", default="", help="who (default: the user)")
    push.add_argument("--json", action="store_true", help="one JSON object")

    words = "what was changed, by whom, and whether the record of it is whole"
    audit = add("audit", _audit, words, "citygate audit site.toml")
    audit.add_argument("site", help="site file")
    audit.add_argument("--json", action="store_true", help="one JSON object")

    words = "as-found and as-left readings, line quality, push test; signed, one file to print"
    example = 'citygate commission site.toml meter1 --by "Kim" --display volume=48211.3 --photo dial.jpg'
    commission = add("commission", _commission, words, example)
    commission.add_argument("site", nargs="?", default="", help="site file; not with --verify")
    commission.add_argument("device", nargs="?", default="", help="device's name")
    commission.add_argument("--found", action="store_true", help="before the work: note the readings as they are")
    commission.add_argument("--by", default="", help="the technician's name")
    commission.add_argument("--display", metavar="POINT=VALUE", action="append", default=[], help="as the device shows")
    commission.add_argument("--photo", metavar="FILE", action="append", default=[], help="noted by its SHA-256")
    commission.add_argument("--serial", default="", help="serial number on the plate")
    commission.add_argument("--notes", default="", help="a few words")
    commission.add_argument("--watch", type=float, default=20.0, metavar="S", help="of the line's errors (default 20)")
    commission.add_argument("--no-push", action="store_true", help="without the push test")
    commission.add_argument("--key", metavar="FILE", default="", help="Ed25519 key (default: the gateway's)")
    commission.add_argument("--out", metavar="DIR", default="", help="folder (default: this one)")
    commission.add_argument("--verify", metavar="FILE", default="", help="whether a record is as it was signed")
    commission.add_argument("--signer", metavar="FINGERPRINT", default="", help="with --verify: by this key")
    commission.add_argument("--json", action="store_true", help="one JSON object")


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


def _import(args: argparse.Namespace) -> int:
    from gateway.tools.importing import run

    return run(args.file, args.format, args.out, args.family, json=args.json)


def _scan(args: argparse.Namespace) -> int:
    from gateway.bench.scan import BAUDS, PARITIES
    from gateway.tools.scan import Search, ranges, run

    try:
        units = ranges(args.units)
        bauds = tuple(int(one) for one in args.baud.split(",")) if args.baud else BAUDS
    except ValueError as bad:
        print(f"--units and --baud take numbers: {bad}", file=sys.stderr)
        return 2
    parities = tuple(args.parity.upper().split(",")) if args.parity else PARITIES
    if not set(parities) <= {"N", "E", "O"} or not all(50 <= baud <= 4_000_000 for baud in bauds):
        print("--parity takes N, E, O; --baud 50 to 4000000", file=sys.stderr)
        return 2
    search = Search(
        tuple(args.targets),
        args.site,
        args.link,
        bauds,
        parities,
        units,
        args.timeout,
        args.within,
        args.thorough,
        args.seconds,
    )
    return run(search, json=args.json)


def _identify(args: argparse.Namespace) -> int:
    from gateway.tools.identify import Stranger, run

    stranger = Stranger(
        args.target,
        args.unit,
        args.device,
        args.site,
        args.baud,
        args.parity,
        args.address,
        args.family,
        tuple(args.profiles),
    )
    return run(stranger, json=args.json)


def _read(args: argparse.Namespace) -> int:
    from gateway.tools.read import run

    wanted = _wanted(args)
    return run(wanted, args.suggest, every_s=args.every, json=args.json) if wanted else 2


def _watch(args: argparse.Namespace) -> int:
    from gateway.tools.watch import run

    wanted = _wanted(args)
    if wanted is None:
        return 2
    within_s = args.within if args.expect else float("inf")
    return run(wanted, args.expect, every_s=args.every, within_s=within_s, json=args.json)


def _wanted(args: argparse.Namespace) -> Any:
    """The device that is meant; None, with the reason on stderr, where none is."""
    from gateway.bench.way import Wanted

    if bool(args.device) == bool(args.profile) or bool(args.profile) != bool(args.link):
        print(
            "name a DEVICE of the site, or give --profile and --link / 장치 이름 또는 --profile 과 --link",
            file=sys.stderr,
        )
        return None
    return Wanted(
        args.device,
        args.site,
        args.profile,
        args.link,
        args.unit,
        args.address,
        args.baud,
        args.parity,
        tuple(args.profiles),
    )


def _simulate(args: argparse.Namespace) -> int:
    from gateway.tools.simulate import Play, run

    try:
        units = tuple(int(one) for one in args.unit.split(","))
    except ValueError as bad:
        print(f"--unit takes numbers: {bad}", file=sys.stderr)
        return 2
    play = Play(
        args.profile,
        args.on,
        units,
        tuple(args.sets),
        args.fault,
        args.fault_rate,
        args.noise,
        args.baud,
        args.parity,
        args.echo,
        args.seconds,
        tuple(args.profiles),
    )
    return run(play, json=args.json)


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


def _capture(args: argparse.Namespace) -> int:
    if args.replay:
        from gateway.tools.capture_replay import run as replay

        return replay(args.replay, link=args.link, port=args.port)
    from gateway.tools import capture

    if args.show:
        return capture.show(args.show, link=args.link, json=args.json)
    if not args.site:
        return _lacks("capture", "SITE.toml, --show FILE or --replay FILE")
    return capture.run(args.site, link=args.link, out=args.out, for_=args.for_, json=args.json)


def _maintenance(args: argparse.Namespace) -> int:
    from gateway.tools.maintenance import run

    return run(args.site, args.what, device=args.device, for_=args.for_, why=args.why, by=args.by, json=args.json)


def _replace(args: argparse.Namespace) -> int:
    from gateway.tools.replace import run

    return run(
        args.site,
        args.device,
        point=args.point,
        old_total=args.old_total,
        new_total=args.new_total,
        serial=args.serial,
        old_serial=args.old_serial,
        by=args.by,
        json=args.json,
    )


def _push_test(args: argparse.Namespace) -> int:
    from gateway.tools.push_test import run

    return run(args.site, upstream=args.upstream, within_s=args.within, by=args.by, json=args.json)


def _audit(args: argparse.Namespace) -> int:
    from gateway.tools.audit import run

    return run(args.site, json=args.json)


def _commission(args: argparse.Namespace) -> int:
    from gateway.tools import commission

    if args.verify:
        return commission.verify(args.verify, signer=args.signer, json=args.json)
    if not args.device:
        return _lacks("commission", "SITE.toml and DEVICE, or --verify FILE")
    if args.found:
        return commission.found(args.site, args.device, out=args.out)
    if not args.by:
        return _lacks("commission", "--by NAME: who signs for it")
    return commission.run(
        args.site,
        args.device,
        by=args.by,
        displays=args.display,
        photos=args.photo,
        serial=args.serial,
        notes=args.notes,
        watch_s=args.watch,
        push=not args.no_push,
        key=args.key,
        out=args.out,
        json=args.json,
    )


def _lacks(verb: str, what: str) -> int:
    print(f"citygate {verb}: give {what}; see citygate {verb} --help", file=sys.stderr)
    return 2


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
