"""OSCORE (RFC 8613) around messages of `gateway.wire.coap`: a context and a message in, a protected one out, and back.

The arithmetic is aiocoap's. No sockets. Whatever is wrong with a message raises `NotProtected`, `Replayed`, `Unfresh`
or `Invalid`, never anything else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import aiocoap
from aiocoap import error, oscore
from aiocoap.message import Direction
from aiocoap.numbers.codes import Code
from aiocoap.numbers.optionnumbers import OptionNumber

from gateway.wire import coap
from gateway.wire.coap import Message

KeyId = tuple[bytes, bytes | None]


class Invalid(Exception):
    """Cannot be opened with this context."""


class NotProtected(Invalid):
    """An answer without OSCORE: `plain` is what it says."""

    def __init__(self, plain: Message) -> None:
        super().__init__(plain.dotted)
        self.plain = plain


class Replayed(Invalid):
    """A number that was used before, or is too old to tell."""


class Unfresh(Invalid):
    """A request whose number cannot be checked yet: `answer` asks for proof that it is fresh (appendix B.1.2)."""

    def __init__(self, answer: Message) -> None:
        super().__init__("asked for freshness")
        self.answer = answer


def key_id(request: Message) -> KeyId:
    """(kid, kid context) of a protected request. Raises Invalid."""
    try:
        unprotected = oscore.verify_start(_theirs(request))
        return unprotected[oscore.COSE_KID], unprotected.get(oscore.COSE_KID_CONTEXT)
    except _FAULTS as bad:
        raise Invalid("no key id") from bad


def protect_request(context: Any, request: Message) -> tuple[Message, Any]:
    """The outer message and what is needed to open its answer. Raises Invalid when the numbers are used up."""
    try:
        outer, identifiers = context.protect(_ours(request))
    except oscore.ContextUnavailable as bad:
        raise Invalid("the numbers of this key are used up") from bad
    return _plain(outer, request), identifiers


def open_request(context: Any, request: Message) -> tuple[Message, Any]:
    """The inner message and what is needed to protect its answer. Raises Invalid, Replayed, Unfresh."""
    try:
        inner, identifiers = context.unprotect(_theirs(request))
    except oscore.ReplayErrorWithEcho as stale:
        raise Unfresh(_plain(stale.to_message(), request)) from stale
    except oscore.ReplayError as bad:
        raise Replayed("used before") from bad
    except _FAULTS as bad:
        raise Invalid("cannot be decrypted") from bad
    return _plain(inner, request), identifiers


def protect_response(context: Any, response: Message, identifiers: Any) -> Message:
    """A notification (Observe) carries a number of its own, and says outside that it is one (section 4.1.3.5)."""
    outer, _ = context.context_for_response().protect(_ours(response), identifiers)
    protected = _plain(outer, response)
    if (observed := response.first(coap.OBSERVE)) is not None:
        protected = replace(protected, options=(*protected.options, (coap.OBSERVE, observed)))
    return protected


def number_anew(identifiers: Any) -> None:
    """Let the answer carry a number of its own, not the request's: needed before each that is not the only one."""
    identifiers.get_reusable_kid_and_piv()


def open_response(context: Any, response: Message, identifiers: Any) -> Message:
    """A notification's Observe is the number it was protected under. Raises NotProtected, Invalid."""
    if response.first(coap.OSCORE) is None:
        raise NotProtected(response)
    try:
        inner, _ = context.unprotect(_theirs(response), identifiers)
    except _FAULTS as bad:
        raise Invalid("cannot be decrypted") from bad
    return _plain(inner, response)


# what the library lets through for bytes that are no message of its own
_FAULTS = (error.Error, ValueError, IndexError, KeyError, TypeError, AttributeError, AssertionError)


def _ours(message: Message) -> Any:
    out = aiocoap.Message(code=Code(message.code), payload=message.payload)
    for number, value in message.options:
        out.opt.add_option(OptionNumber(number).create_option(decode=value))
    return out


def _theirs(message: Message) -> Any:
    """Only the options that the library must see: its tables of numbers keep every one they meet."""
    protected = message.first(coap.OSCORE)
    out = aiocoap.Message(code=Code(message.code), payload=message.payload)
    if protected is not None:
        out.opt.oscore = protected
    if len(observed := message.first(coap.OBSERVE) or b"") <= 3 and message.first(coap.OBSERVE) is not None:
        out.opt.observe = int.from_bytes(observed, "big")
    out.direction = Direction.INCOMING
    return out


def _plain(found: Any, around: Message) -> Message:
    options = tuple((int(option.number), option.encode()) for option in found.opt.option_list())
    return Message(int(found.code), options, found.payload, around.token, around.kind, around.mid)
