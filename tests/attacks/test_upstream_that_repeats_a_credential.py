"""An upstream says back what it was given, in one of the forms servers say things in."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.action import Action
from midflight.domain.errors import UpstreamBroken
from midflight.domain.lease import Credential, Injection, Placement
from midflight.domain.records import Observed
from midflight.domain.scrubbing import REMOVED, Scrubber
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.echoes import MAX_LEASES, Echoes
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Reply
from midflight.testing import ListSink, MemoryPlane, ScriptedLeases, ScriptedUpstream, call, caller

SECRET = 'p@ss/w0rd+"7f1c09ab55e2" é&<>'
PEM = (
    "-----BEGIN PRIVATE KEY-----\n" + "\n".join("QWxhZGRpbg+/" * 5 for _ in range(3)) + "\n-----END"
)


def encoded(prefix: str, encode: Callable[[bytes], bytes]) -> Callable[[str], str]:
    return lambda secret: encode(prefix.encode() + secret.encode() + b"-tail").decode()


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda s: s,
    "inside": lambda s: f"Authorization: Bearer {s}; ok",
    "reversed": lambda s: s[::-1],
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64-after-1": encoded("a", base64.b64encode),
    "base64-after-2": encoded("ab", base64.b64encode),
    "base64-after-user": encoded("user:", base64.b64encode),
    "base64url": lambda s: base64.urlsafe_b64encode(s.encode()).decode().rstrip("="),
    "hex": lambda s: s.encode().hex(),
    "HEX": lambda s: s.encode().hex().upper(),
    "url": lambda s: quote(s, safe=""),
    "form": quote_plus,
    "percent": lambda s: "".join(f"%{b:02x}" for b in s.encode()),
    "json": lambda s: json.dumps({"k": s}),
    "json-in-json": lambda s: json.dumps(json.dumps({"k": s})),
    "unicode": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "html": html.escape,
    "html-without-quotes": lambda s: html.escape(s, quote=False),
    "html-of-templates": lambda s: html.escape(s).replace("/", "&#x2F;").replace("=", "&#x3D;"),
    "html-of-owasp": lambda s: html.escape(s).replace("/", "&#x2F;"),
    "hex-entities": lambda s: "".join(f"&#x{ord(c):x};" for c in s),
    "encodeURIComponent": lambda s: quote(s, safe="!'()*"),
    "encodeURI": lambda s: quote(s, safe="!'()*;,/?:@&=+$#"),
    "percent-in-lower-case": lambda s: re.sub("%..", lambda e: e[0].lower(), quote(s, safe="")),
    "json-of-php": lambda s: json.dumps(s).replace("/", "\\/"),
    "json-of-net": lambda s: re.sub(r"\\u(....)", lambda e: rf"\u{e[1].upper()}", json.dumps(s)),
    "hex-dump": lambda s: s.encode().hex(" "),
    "hex-of-a-fingerprint": lambda s: s.encode().hex(":").upper(),
    "hex-of-c": lambda s: "".join(f"\\x{b:02x}" for b in s.encode()),
    "base64-in-lines": lambda s: base64.encodebytes(s.encode()).decode(),
    "entities": lambda s: "".join(f"&#{ord(c)};" for c in s),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [SECRET, "plain-token-0123456789", PEM])
def test_in_every_form_that_is_looked_for(form: str, secret: str) -> None:
    said = FORMS[form](secret)
    scrubbed, count = Scrubber([secret]).text(f"before {said} after")
    assert count >= 1
    assert REMOVED in scrubbed
    assert said not in scrubbed


def test_a_key_rewrapped_or_only_a_line_of_it() -> None:
    scrubber = Scrubber([PEM])
    body = "".join(PEM.splitlines()[1:-1])
    assert scrubber.text(body)[1]
    assert scrubber.text(PEM.splitlines()[1])[1]


@given(
    st.text(st.characters(codec="utf-8"), min_size=8, max_size=40),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_whatever_the_secret_and_whatever_stands_around_it(
    secret: str, before: str, after: str
) -> None:
    scrubber = Scrubber([secret])
    value = {"a": [before + secret + after], before + secret: {"b": 1}, "plain": True}
    scrubbed, count = scrubber.object(value)
    assert count >= 2
    said = json.dumps(scrubbed, ensure_ascii=False).replace(REMOVED, "\x00")
    assert json.dumps(secret, ensure_ascii=False)[1:-1] not in said
    raw = (before + secret + after).encode()
    assert scrubber.text(base64.b64encode(raw).decode())[1] >= 1


def test_one_of_digits_that_comes_back_as_a_number() -> None:
    scrubber = Scrubber(["4829103847561", "012345678", "12345"])
    value = {"a": 4829103847561, "b": [{"c": 4829103847561}, 12345, True], "d": 4829103847561.5}
    scrubbed, count = scrubber.object(value)
    assert scrubbed == {"a": REMOVED, "b": [{"c": REMOVED}, 12345, True], "d": 4829103847561.5}
    assert count == 2


def test_keys_that_become_the_same_stay_apart() -> None:
    secret = "secret-one-1"
    value = {secret: 1, REMOVED: 2, secret[::-1]: 3}
    scrubbed, _ = Scrubber([secret]).object(value)
    assert sorted(scrubbed.values()) == [1, 2, 3]


@pytest.mark.anyio
async def test_in_results_errors_and_the_words_of_errors() -> None:
    leases = ScriptedLeases()
    rule = Injection(placement=Placement.HEADER, name="X-Key")
    leases.add(
        Credential(name="crm", backend="memory", upstreams=frozenset({"one"}), injections=(rule,)),
        token=SECRET,
    )
    definition = {"name": "look", "description": "", "inputSchema": {"type": "object"}}
    upstream = ScriptedUpstream("one", [definition])
    plane = MemoryPlane(upstream=upstream, leases=leases)
    await plane.start()
    await plane.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))

    async def fail(action: Action, flight: Any, sink: Any) -> Reply:
        return Reply(result=None, error={"code": -1, "message": f"bad key {SECRET}"})

    async def throw(action: Action, flight: Any, sink: Any) -> Reply:
        raise UpstreamBroken(f"It said {SECRET}.", hint=SECRET)

    upstream.scripts["look"] = fail
    done = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(done, Performed)
    assert SECRET not in str(done.reply.error)
    upstream.scripts["look"] = throw
    broken = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(broken, Refused)
    assert SECRET not in repr(msgspec.to_builtins(broken.decision))

    # A definition, and a notice, that hold what a run's call was given.
    upstream.tools = [definition | {"description": f"use {SECRET}"}]
    await plane.catalogue.refresh("one")
    assert SECRET not in str(plane.catalogue.tool("one", "look"))
    records = await plane.records()
    assert SECRET not in repr(records)
    echoes = [r for r in records if isinstance(r, Observed) and r.what == "credential_echoed"]
    assert len(echoes) >= 3


@pytest.mark.anyio
async def test_one_runs_credential_told_to_another_run() -> None:
    leases = ScriptedLeases()
    rule = Injection(placement=Placement.HEADER, name="X-Key")
    leases.add(
        Credential(name="crm", backend="memory", upstreams=frozenset({"one"}), injections=(rule,)),
        token="of-the-first-run",
    )
    definition = {"name": "look", "description": "", "inputSchema": {"type": "object"}}
    upstream = ScriptedUpstream("one", [definition])
    plane = MemoryPlane(upstream=upstream, leases=leases)
    await plane.start()
    await plane.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
    await plane.guard.perform(call("look"), caller(token="tok_1"), sink=ListSink())
    leases.secrets["crm"] = {"token": "of-the-second-run"}
    leases.live.clear()

    async def betray(action: Action, flight: Any, sink: Any) -> Reply:
        return Reply(result={"content": [{"type": "text", "text": "of-the-first-run"}]})

    upstream.scripts["look"] = betray
    done = await plane.guard.perform(call("look"), caller(token="tok_2"), sink=ListSink())
    assert isinstance(done, Performed)
    assert "of-the-first-run" not in str(done.reply.result)


def test_one_that_is_still_used_is_not_forgotten_for_many_that_came_since() -> None:
    made = MemoryPlane(upstream=ScriptedUpstream("one", []))
    known = Echoes(recorder=made.ledger, clock=made.clock, telemetry=made.telemetry)
    known.sent("one", "run_1", "lease_1", frozenset({SECRET}))
    for number in range(MAX_LEASES + 10):
        known.sent("one", f"run_{number}", f"other_{number}", frozenset({f"secret-no-{number}"}))
        if number % 1_000 == 0:
            known.sent("one", "run_1", "lease_1", frozenset({SECRET}))
    scrubber = known.scrubber("one", "run_1")
    assert scrubber is not None
    assert scrubber.text(SECRET) == (REMOVED, 1)
