"""Firmware of the nodes behind this gateway, as a resource and as work: fetched from the center, kept, offered to a
node and followed until the node says what became of it.

In: a center's wish (POST {"node": DEVICE, "manifest": FILE at the center, "by": WHO}; DELETE nodes/DEVICE gives it up),
files, what nodes answer. Out: blocks to nodes at [agent].nodes, an address written to the node's 5/0/1, and the state
(GET, Observe). The gateway is believed by nobody: a node proves manifest and image itself (docs/nodes.md).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.agent import nodes_offers
from gateway.agent.download import Cut, Damaged, Full, Missing, Source
from gateway.agent.nodes_cache import NodesCache, Unfit
from gateway.agent.nodes_offers import ENDED, Offer, Step
from gateway.agent.nodes_port import Address, NoAnswer, NodesPort
from gateway.agent.resource import About, Refused, Reply, Request, Role
from gateway.site.site import Site
from gateway.spool import audit
from gateway.spool.trouble import Trouble
from gateway.wire import coap, credentials
from gateway.wire.coap import Message

FOLDER = "nodes"
LOOK_S = 5.0  # between two looks at a node that updates
PAUSE_S = 60.0  # after what may go better later
GIVE_UP_S = 7 * 86_400.0
LONGEST_NAME = 200
PUT = 0x03
IDLE, DOWNLOADED, SUCCESS = 0, 2, 1  # 5/0/3 and 5/0/5

log = logging.getLogger("citygate.agent")


class Nodes:
    """A `Resource` with work of its own: `run` it."""

    def __init__(
        self,
        site: Site,
        source: Source,
        *,
        clock_s: Callable[[], float] = time.time,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises OSError."""
        self._site, self._source, self._clock_s, self._pause = site, source, clock_s, pause
        self._folder = Path(site.state_dir) / FOLDER
        self._cache = NodesCache(self._folder)
        self._offers = nodes_offers.load(self._folder)
        self._port: NodesPort | None = None
        self._contexts: dict[str, credentials.SecurityContext] = {}
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._work: dict[str, asyncio.Task[None]] = {}  # of one node each: a slow download holds up no other

    @property
    def about(self) -> About:
        return About("nodes", "Firmware of nodes", change=Role.RELEASE, kind="citygate.nodes", observable=True)

    # -- what the center asks

    async def answer(self, request: Request) -> Reply:
        if request.method == coap.GET:
            return Reply.of(self._told(request.path))
        if request.method == coap.POST and not request.path:
            return Reply.of(self._wished(request).told(), coap.CHANGED)
        if request.method == coap.DELETE and len(request.path) == 1:
            await self._give_up(request.path[0], request)
            return Reply(coap.DELETED)
        raise Refused(coap.NOT_ALLOWED, "CG-6224", "GET, POST or DELETE nodes/NAME", "GET, POST, DELETE nodes/이름")

    async def changes(self, request: Request) -> AsyncIterator[Reply]:
        while True:
            changed = self._changed
            yield Reply.of(self._told(request.path))
            await changed.wait()

    def _told(self, path: tuple[str, ...]) -> dict[str, Any]:
        if not path:
            return {
                "serving": self._site.agent.nodes,
                "blocks": self._port.served if self._port else 0,
                "cache": self._cache.held(),
                "nodes": {name: offer.told() for name, offer in self._offers.items()},
            }
        offer = self._offers.get(path[0]) if len(path) == 1 else None
        if offer is None:
            raise Refused(
                coap.NOT_FOUND, "CG-6225", f"no update of {'/'.join(path)}", f"{'/'.join(path)} 업데이트 없음"
            )
        return offer.told()

    def _wished(self, request: Request) -> Offer:
        body = request.body()
        node, name, by = (body.get(key) if isinstance(body, dict) else None for key in ("node", "manifest", "by"))
        if not (isinstance(node, str) and isinstance(name, str) and 0 < len(name) <= LONGEST_NAME):
            raise Refused(
                coap.BAD_REQUEST,
                "CG-6224",
                'the body is {"node": DEVICE, "manifest": FILE at the center, "by": WHO}',
                '본문은 {"node": 장치, "manifest": 센터의 파일, "by": 담당자} 형식입니다',
            )
        if not self._site.agent.nodes:
            raise Refused(
                coap.FORBIDDEN,
                "CG-6226",
                "this gateway serves no nodes: [agent].nodes is not set in its site file",
                "이 게이트웨이는 노드에 펌웨어를 제공하지 않습니다: 사이트 파일의 [agent].nodes 미설정",
            )
        self._address(node)
        standing = self._offers.get(node)
        if standing is not None and standing.step not in ENDED and standing.name != name:
            raise Refused(
                coap.NOT_ALLOWED,
                "CG-6227",
                f"{node} is being updated to {standing.name}; give that up first",
                f"{node} 은(는) {standing.name} 업데이트 중입니다. 먼저 취소하십시오",
            )
        if standing is None or standing.step in ENDED:
            person = by[:100] if isinstance(by, str) else ""
            standing = Offer(node, name, person, request.upstream, self._clock_s())
            self._keep(standing)
            self._audit("node_update", standing, manifest=name)
        self._wake.set()
        return standing

    async def _give_up(self, node: str, request: Request) -> None:
        offer = self._offers.get(node)
        if offer is None:
            raise Refused(coap.NOT_FOUND, "CG-6225", f"no update of {node}", f"{node} 업데이트 없음")
        if (work := self._work.pop(node, None)) is not None:
            work.cancel()
        if offer.step is Step.FOLLOWING:
            try:
                await self._write(offer, "5/0/1", b"")
            except NoAnswer as no:
                raise Refused(
                    coap.UNAVAILABLE,
                    "CG-6228",
                    f"{node}: {no}; it may still update",
                    f"{node}: {no}. 계속 진행될 수 있음",
                ) from no
        self._offers.pop(node, None)
        nodes_offers.save(self._folder, self._offers)
        self._audit("node_update_given_up", replace(offer, upstream=request.upstream))
        self._tell()

    # -- what it does

    async def run(self) -> None:
        """Until cancelled. A port that cannot be opened is tried again."""
        if not self._site.agent.nodes:
            return
        try:
            while self._port is None:
                await self._open()
            while True:
                self._wake.clear()
                under_way = [offer for offer in self._offers.values() if offer.step not in ENDED]
                if not under_way:
                    await self._wake.wait()
                    continue
                for offer in under_way:
                    if offer.node not in self._work:
                        self._work[offer.node] = asyncio.ensure_future(self._advance(offer.node))
                await self._wait(LOOK_S)
                self._work = {node: work for node, work in self._work.items() if not work.done()}
        finally:
            for work in self._work.values():
                work.cancel()
            await asyncio.gather(*self._work.values(), return_exceptions=True)
            if self._port is not None:
                self._port.close()
            for context in self._contexts.values():
                context.close()

    async def _open(self) -> None:
        host, _, port = self._site.agent.nodes.rpartition(":")
        try:
            self._port = await NodesPort.opened(host.strip("[]"), int(port), self._read)
        except (OSError, ValueError) as bad:
            log.error("CG-6229 nodes cannot be served at %s (%s)", self._site.agent.nodes, bad)
            await self._pause(PAUSE_S)

    async def _wait(self, seconds: float) -> None:
        waits = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._pause(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def _advance(self, node: str) -> None:
        """One step of one update; whatever goes wrong with it hurts no other."""
        offer = self._offers.get(node)
        if offer is None:
            return
        try:
            if self._clock_s() - offer.begun_s > GIVE_UP_S:
                self._end(offer, Step.FAILED, "nothing came of it in a week")
            elif offer.step is Step.FETCHING:
                await self._fetch(offer)
            elif offer.step is Step.OFFERING:
                await self._offer(offer)
            else:
                await self._follow(offer)
        except (Unfit, Damaged, Missing) as bad:
            self._end(offer, Step.FAILED, str(bad) or "the center has no such file")
        except Refused as no:
            self._end(offer, Step.FAILED, no.en)
        except (Cut, Full, NoAnswer, OSError, Trouble) as bad:
            self._note(offer, f"{bad.code} {bad.en}" if isinstance(bad, Trouble) else str(bad))

    async def _fetch(self, offer: Offer) -> None:
        manifest = offer.manifest or await self._cache.fetch_manifest(self._source, offer.name)
        found = self._cache.manifest(manifest)
        self._cache.make_room(found.size, self._needed() | {manifest, found.sha256.hex()})
        await self._cache.fetch_image(self._source, offer.name, found)
        if self._offers.get(offer.node) is not None:
            self._keep(
                replace(
                    offer,
                    step=Step.OFFERING,
                    manifest=manifest,
                    image=found.sha256.hex(),
                    uri=found.uri,
                    sequence=found.sequence,
                    why="",
                )
            )

    async def _offer(self, offer: Offer) -> None:
        to = await self._resolved(offer.node)
        assert self._port is not None
        host, port = self._port.address
        if host in ("0.0.0.0", "::"):
            host = _own_address_towards(to)
        where = f"coap://{f'[{host}]' if ':' in host else host}:{port}/f/{offer.manifest}/m"
        await self._write(offer, "5/0/1", where.encode())
        self._keep(replace(offer, step=Step.FOLLOWING, why=""))
        self._audit("node_told", offer, sequence=offer.sequence, image=offer.image)

    async def _follow(self, offer: Offer) -> None:
        phase, result = await self._number(offer, "5/0/3"), await self._number(offer, "5/0/5")
        if phase == IDLE and result == SUCCESS:
            self._end(replace(offer, result=result), Step.DONE, "")
        elif phase == IDLE and result:
            self._end(replace(offer, result=result), Step.FAILED, f"the node says {result} (5/0/5)")
        elif phase == IDLE:  # it lost power before it wrote down what it was told
            self._keep(replace(offer, step=Step.OFFERING))
        else:
            self._note(offer, "the node has it and waits to be started" if phase == DOWNLOADED else "")

    # -- the node

    async def _number(self, offer: Offer, path: str) -> int:
        answer = await self._asked(offer.node, Message(coap.GET, _path(path, (coap.ACCEPT, b""))))
        if answer.code != coap.CONTENT:
            raise NoAnswer(f"it answers {answer.dotted} to GET {path}")
        try:
            return int(answer.payload)
        except ValueError as bad:
            raise NoAnswer(f"{path} is no number") from bad

    async def _write(self, offer: Offer, path: str, text: bytes) -> None:
        answer = await self._asked(offer.node, Message(PUT, _path(path, (coap.CONTENT_FORMAT, b"")), text))
        if answer.code_class != 2:
            words = answer.payload[:200].decode("utf-8", "replace")
            raise NoAnswer(f"it answers {answer.dotted} to PUT {path} {words}".rstrip())

    async def _asked(self, node: str, request: Message) -> Message:
        to = await self._resolved(node)
        assert self._port is not None
        return await self._port.ask(to, request, self._context(node))

    def _context(self, node: str) -> credentials.SecurityContext | None:
        """The field half uses the link's own context; numbers must not be shared, so the agent has one beside it."""
        link = self._site.link(next(one.link for one in self._site.devices if one.name == node))
        if not link.credentials:
            return None
        if node not in self._contexts:
            folder = Path(self._site.file).absolute().parent / f"{link.credentials}.agent"
            self._contexts[node] = credentials.SecurityContext(folder)
        return self._contexts[node]

    def _address(self, node: str) -> Address:
        """As the site has it. Raises Refused."""
        device = next((one for one in self._site.devices if one.name == node), None)
        url = urlsplit(self._site.link(device.link).url) if device else None
        if url is None or url.scheme != "coap" or not url.hostname:
            known = [one.name for one in self._site.devices if self._site.link(one.link).scheme == "coap"]
            raise Refused(
                coap.NOT_FOUND,
                "CG-6225",
                f"{node} is no CoAP node of this site; there are: {', '.join(known) or 'none'}",
                f"{node} 은(는) 이 사이트의 CoAP 노드가 아닙니다. 노드: {', '.join(known) or '없음'}",
            )
        return url.hostname, url.port or 5683

    async def _resolved(self, node: str) -> Address:
        """Raises NoAnswer, Refused."""
        host, port = self._address(node)
        if self._port is None:
            raise NoAnswer("no port towards the nodes is open")
        family = socket.AF_INET6 if ":" in self._port.address[0] else socket.AF_INET
        try:
            rows = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
        except OSError as bad:
            raise NoAnswer(f"{host}: {bad}") from bad
        found = str(rows[0][4][0])
        self._port.known.add(found)
        return found, port

    def _read(self, path: tuple[str, ...], offset: int, length: int) -> tuple[bytes, int, bytes] | None:
        """f/MANIFEST/m and f/MANIFEST/IMAGE'S NAME, of updates under way."""
        if len(path) < 3 or path[0] != "f":
            return None
        offer = next((one for one in self._offers.values() if one.manifest == path[1] and one.step not in ENDED), None)
        if offer is None:
            return None
        if path[2:] == ("m",):
            return self._cache.read(offer.manifest, offset, length)
        return self._cache.read(offer.image, offset, length) if "/".join(path[2:]) == offer.uri else None

    # -- what is kept

    def _needed(self) -> set[str]:
        live = [offer for offer in self._offers.values() if offer.step not in ENDED]
        return {offer.manifest for offer in live} | {offer.image for offer in live}

    def _end(self, offer: Offer, step: Step, why: str) -> None:
        ended = replace(offer, step=step, why=why)
        self._keep(ended)
        self._audit("node_updated" if step is Step.DONE else "node_update_failed", ended, result=ended.result, why=why)

    def _note(self, offer: Offer, why: str) -> None:
        if self._offers.get(offer.node) is not None and offer.why != why:
            self._keep(replace(offer, why=why))

    def _keep(self, offer: Offer) -> None:
        self._offers[offer.node] = offer
        nodes_offers.save(self._folder, self._offers)
        log.info("node %s: %s %s", offer.node, offer.step.value, offer.why)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _audit(self, what: str, offer: Offer, **facts: Any) -> None:
        try:
            audit.append(
                self._site.state_dir,
                what,
                f"center:{offer.upstream}",
                {"node": offer.node, "person": offer.by, **facts},
            )
        except OSError as bad:
            log.error("CG-6209 %s of %s could not be written to the audit file: %s", what, offer.node, bad)


def _path(path: str, *options: tuple[int, bytes]) -> coap.Options:
    return (*((coap.URI_PATH, part.encode()) for part in path.split("/")), *options)


def _own_address_towards(to: Address) -> str:
    """Of this machine, as that node sees it; sends nothing."""
    with socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(to)
        return str(probe.getsockname()[0])
