"""oneM2M primitives as CoAP messages and what their answers mean (TS-0008, TS-0004). Pure: no sockets, no clocks.

    CREATE    POST   Uri-Path: the parent; From, Request-ID, Release and Resource-Type as options; body: attributes
    answer           the response status code as an option, else what the CoAP code stands for

Only what a gateway needs to write: an AE, containers, contentInstances. All of it is given a name by us, so that what
is there already says so.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from gateway.site.upstream import OneM2M
from gateway.uplink.onem2m_content import Instance
from gateway.wire import coap
from gateway.wire.coap import Message

# TS-0008, table 6.2.2.4.0-1
TY, RVI, FR, RQI, RSC = 267, 271, 279, 283, 307
ACCEPT = 17
CREATED_CODE, FORBIDDEN_CODE = 0x41, 0x83  # of CoAP
AE, CNT, CIN = 2, 3, 4  # resource types, TS-0004 table 6.3.4.2.1-1
NAMES = {AE: "m2m:ae", CNT: "m2m:cnt", CIN: "m2m:cin"}
NO_CONTENT = "rcn=0"  # result content: nothing, we know what we sent

CREATED = 2001
NOT_FOUND, CONFLICT, ALREADY_REGISTERED, ALREADY_EXISTS = 4004, 4105, 4117, 5106
STRANGERS = {4103, 4107, 4126, 4128}  # privilege, security association, registration, subscription
TIMEOUT = 4008
NOT_IMPLEMENTED, NOT_ACCEPTABLE = 5001, 5207  # the second: more than its container may hold


class Status(Enum):
    """What became of a CREATE."""

    CREATED = "created"
    EXISTS = "exists"  # under our name: we made it before
    ORPHAN = "orphan"  # its parent is not there
    STRANGER = "stranger"
    REFUSED = "refused"
    BUSY = "busy"
    ODD = "odd"


def ae(cse: tuple[str, ...], name: str, how: OneM2M, request: str) -> Message:
    """Registers the gateway."""
    body = {"rn": name, "api": how.app, "rr": False, "srv": [how.release]}
    return _create(cse, AE, body, how, request)


def container(parent: tuple[str, ...], name: str, how: OneM2M, request: str) -> Message:
    return _create(parent, CNT, {"rn": name}, how, request)


def instance(parent: tuple[str, ...], one: Instance, how: OneM2M, request: str) -> Message:
    return _create(parent, CIN, {"rn": one.name, "cnf": one.info, "con": one.content}, how, request)


def read(answer: Message, resource: int) -> Status:
    """What the answer to the CREATE of a `resource` says."""
    rsc = answer.uint(RSC)
    if rsc is None:
        return _by_coap(answer)
    if rsc == CREATED:
        return Status.CREATED
    if rsc in (CONFLICT, ALREADY_EXISTS) or (rsc == ALREADY_REGISTERED and resource == AE):
        return Status.EXISTS
    if rsc == NOT_FOUND:
        return Status.ORPHAN
    if rsc in STRANGERS:
        return Status.STRANGER
    if rsc == TIMEOUT or (rsc >= 5000 and rsc not in (NOT_IMPLEMENTED, NOT_ACCEPTABLE)):
        return Status.BUSY
    return Status.REFUSED if rsc >= 4000 else Status.ODD


def said(answer: Message) -> str:
    """The answer for a log: its status and the platform's own words."""
    words = answer.payload[:200].decode("utf-8", "replace")
    try:
        found = json.loads(answer.payload)
        words = str(found.get("m2m:dbg", words)) if isinstance(found, dict) else words
    except ValueError:
        pass
    return f"{answer.dotted}/{answer.uint(RSC) or '-'} {words[:100]}".strip()


def _by_coap(answer: Message) -> Status:
    """A platform that leaves the status out, or something on the way that is none."""
    if answer.code == CREATED_CODE:
        return Status.CREATED
    if answer.code == coap.NOT_FOUND:
        return Status.ORPHAN
    if answer.code in (coap.UNAUTHORIZED, FORBIDDEN_CODE):
        return Status.STRANGER
    return Status.BUSY if answer.code_class == 5 or answer.code == coap.TOO_MANY else Status.ODD


def _create(parent: tuple[str, ...], resource: int, body: dict[str, Any], how: OneM2M, request: str) -> Message:
    content_format = coap.uint(how.content_format)
    options = (
        *((coap.URI_PATH, part.encode()) for part in parent),
        (coap.CONTENT_FORMAT, content_format),
        (coap.URI_QUERY, NO_CONTENT.encode()),
        (ACCEPT, content_format),
        (TY, coap.uint(resource)),
        (RVI, how.release.encode()),
        (FR, how.originator.encode()),
        (RQI, request.encode()),
    )
    payload = json.dumps({NAMES[resource]: body}, ensure_ascii=False, separators=(",", ":")).encode()
    return Message(coap.POST, options, payload)
