"""The bench's verbs in the order of the job: scan, identify, read, watch, simulate."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gateway.cli.verb import Add


def verbs(add: Add) -> None:
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
        "--on", default="", help="pty, pty:PATH, tcp:PORT, coap:PORT, ble:ADDRESS (default: what the profile speaks)"
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
