"""What a technician does on a running gateway: capture, maintenance, replace, push-test, audit, commission."""

from __future__ import annotations

import argparse

from gateway.cli.verb import Add, lacks


def verbs(add: Add) -> None:
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
    keep.add_argument("site", help="site file; with --center a gateway's id")
    keep.add_argument("--center", action="store_true", help="ask a gateway, where its center runs")
    keep.add_argument("--control", default="", metavar="PATH", help="with --center: the center's control socket")
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


def _capture(args: argparse.Namespace) -> int:
    if args.replay:
        from gateway.tools.capture_replay import run as replay

        return replay(args.replay, link=args.link, port=args.port)
    from gateway.tools import capture

    if args.show:
        return capture.show(args.show, link=args.link, json=args.json)
    if not args.site:
        return lacks("capture", "SITE.toml, --show FILE or --replay FILE")
    return capture.run(args.site, link=args.link, out=args.out, for_=args.for_, json=args.json)


def _maintenance(args: argparse.Namespace) -> int:
    if args.center:
        from gateway.tools.command import maintenance

        return maintenance(
            args.site,
            args.what,
            device=args.device,
            for_=args.for_,
            why=args.why,
            by=args.by,
            control=args.control,
            json=args.json,
        )
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
        return lacks("commission", "SITE.toml and DEVICE, or --verify FILE")
    if args.found:
        return commission.found(args.site, args.device, out=args.out)
    if not args.by:
        return lacks("commission", "--by NAME: who signs for it")
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
