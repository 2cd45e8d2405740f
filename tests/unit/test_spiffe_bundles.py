"""Trust bundles: read, kept, published, and fetched from others."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, trusting
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from spiffe_kit import DOMAIN, OTHER_DOMAIN, Mint
from svid_forge import Forge
from svid_forge import authority as forged

from midflight.adapters.federation.endpoint import SpiffeEndpoint, WebEndpoint
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.attestation import Entry
from midflight.domain.errors import (
    Conflict,
    Malformed,
    Misconfigured,
    NotFound,
    StoreUnavailable,
    TooLarge,
    Unavailable,
)
from midflight.domain.spiffe import TrustBundle
from midflight.services.bundles import MAX_AGE_S, SNAPSHOT
from midflight.services.federation import FIRST_RETRY_S, Federation
from midflight.testing import FakeClock
from midflight.wire.spiffe import decode_bundle, encode_bundle

pytestmark = pytest.mark.anyio

PARTNER = forged(subject="partner", names=(f"spiffe://{OTHER_DOMAIN}",))


def document(sequence: int = 1, *authorities: bytes, **more: Any) -> bytes:
    bundle = TrustBundle(
        trust_domain=OTHER_DOMAIN, x509_authorities=authorities or (PARTNER.der,), sequence=sequence
    )
    return json.dumps(json.loads(encode_bundle(bundle)) | more).encode()


# The document


async def test_a_bundle_says_what_spire_says(tmp_path: Path) -> None:
    mint = Mint(tmp_path)
    await mint.start()
    told = json.loads(encode_bundle(mint.bundles.own))
    assert set(told) == {"keys", "spiffe_sequence", "spiffe_refresh_hint"}
    assert [key["use"] for key in told["keys"]] == ["x509-svid", "jwt-svid"]
    assert len(told["keys"][0]["x5c"]) == 1
    assert told["keys"][1]["kid"]
    assert "d" not in told["keys"][1]
    assert decode_bundle(encode_bundle(mint.bundles.own), trust_domain=DOMAIN) == mint.bundles.own


def test_what_is_not_known_is_passed_over_and_nothing_means_nothing_verifies() -> None:
    raw = document(keys=[{"use": "wit-svid"}, {"kty": "EC"}, {"use": 7}])
    assert decode_bundle(raw, trust_domain=OTHER_DOMAIN).x509_authorities == ()
    empty = decode_bundle(b'{"keys":[]}', trust_domain=OTHER_DOMAIN)
    assert (empty.x509_authorities, empty.sequence, empty.refresh_hint_s) == ((), 0, 300)


CERTIFICATE = json.loads(document())["keys"][0]
LEAF = encode_bundle(TrustBundle(trust_domain=DOMAIN, x509_authorities=(Forge(PARTNER).der,)))
JWK = {"use": "jwt-svid", "kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43, "kid": "a"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[1]}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[],"spiffe_sequence":-1}',
        b'{"keys":[],"spiffe_sequence":"1"}',
        b'{"keys":[],"spiffe_refresh_hint":1.5}',
        LEAF,
        *(
            json.dumps({"keys": keys}).encode()
            for keys in (
                [{**CERTIFICATE, "x5c": []}],
                [{**CERTIFICATE, "x5c": CERTIFICATE["x5c"] * 2}],
                [{**CERTIFICATE, "x5c": ["AAAA"]}],
                [{**CERTIFICATE, "x5c": "AAAA"}],
                [{name: value for name, value in CERTIFICATE.items() if name != "x5c"}],
                [JWK],  # not on the curve
                [{**JWK, "kty": "oct", "k": "AAAA"}],
                [{**JWK, "d": "AAAA"}],
                [{**JWK, "kid": ""}],
                [CERTIFICATE] * 129,
            )
        ),
    ],
)
def test_what_is_no_bundle_is_refused_whole(raw: bytes) -> None:
    with pytest.raises(Malformed):
        decode_bundle(raw, trust_domain=OTHER_DOMAIN)


def test_a_bundle_of_more_than_a_mebibyte_is_not_read() -> None:
    with pytest.raises(TooLarge):
        decode_bundle(b" " * 1_048_577, trust_domain=OTHER_DOMAIN)


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_bundle_or_a_clean_error(raw: bytes) -> None:
    with suppress(Malformed):
        assert decode_bundle(raw, trust_domain=DOMAIN).trust_domain == DOMAIN


@given(st.data())
def test_a_bundle_that_was_changed_anywhere_is_a_bundle_or_a_clean_error(data: Any) -> None:
    raw = bytearray(document())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Malformed):
        decode_bundle(bytes(raw), trust_domain=OTHER_DOMAIN)


# Kept


async def test_our_sequence_grows_with_every_change_and_never_goes_back(tmp_path: Path) -> None:
    store = MemoryStore()
    mint = Mint(tmp_path, store=store)
    await mint.start()
    assert mint.bundles.own.sequence == 1
    assert not await mint.bundles.refresh()
    mint.signer.announce()
    assert await mint.bundles.refresh()
    assert mint.bundles.own.sequence == 2
    assert len(mint.bundles.own.jwt_authorities) == 2
    again = Mint(tmp_path, store=store, clock=mint.clock)
    await again.start()  # another token key: a new bundle
    assert again.bundles.own.sequence == 3
    await store.put_snapshot(SNAPSHOT, b"damaged")
    with pytest.raises(StoreUnavailable):
        await Mint(tmp_path, store=store).start()


async def test_another_bundle_is_taken_forward_only_and_kept(tmp_path: Path) -> None:
    store = MemoryStore()
    mint = Mint(tmp_path, store=store, federated={OTHER_DOMAIN: document(5)})
    await mint.start()
    told: list[int] = []
    mint.bundles.on_changed(lambda: told.append(1))
    assert mint.bundles.bundle(OTHER_DOMAIN) is not None
    with pytest.raises(Conflict, match="before"):
        await mint.bundles.accept(OTHER_DOMAIN, document(4))
    with pytest.raises(Conflict, match="Two bundles"):
        await mint.bundles.accept(OTHER_DOMAIN, document(5, forged(subject="evil").der))
    with pytest.raises(Malformed):
        await mint.bundles.accept(OTHER_DOMAIN, b"{}")
    assert told == []
    assert not await mint.bundles.accept(OTHER_DOMAIN, document(5))
    second = forged(subject="second")
    assert await mint.bundles.accept(OTHER_DOMAIN, document(6, PARTNER.der, second.der))
    assert told == [1]
    again = Mint(tmp_path, store=store, clock=mint.clock, federated={OTHER_DOMAIN: document(5)})
    await again.start()
    held = again.bundles.bundle(OTHER_DOMAIN)
    assert held is not None
    assert held.x509_authorities == (PARTNER.der, second.der)


async def test_nobody_gives_us_a_bundle_that_we_did_not_ask_for(tmp_path: Path) -> None:
    mint = Mint(tmp_path, federated={OTHER_DOMAIN: None})
    await mint.start()
    for name in (DOMAIN, "stranger.test"):
        with pytest.raises(NotFound):
            await mint.bundles.accept(name, document())
    assert mint.bundles.bundle(OTHER_DOMAIN) is None


async def test_a_bundle_that_was_not_confirmed_for_too_long_counts_no_longer(
    tmp_path: Path,
) -> None:
    mint = Mint(tmp_path, federated={OTHER_DOMAIN: document()})
    await mint.start()
    mint.clock.advance(MAX_AGE_S + 1)
    assert mint.bundles.bundle(OTHER_DOMAIN) is None
    assert not await mint.bundles.accept(OTHER_DOMAIN, document())
    assert mint.bundles.bundle(OTHER_DOMAIN) is not None


# Fetched


@asynccontextmanager
async def answering(
    body: bytes, *, status: str = "200 OK", tls: ssl.SSLContext | None = None
) -> AsyncGenerator[int]:
    """A bundle endpoint: one answer, whoever asks."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nlocation: /other\r\n"
        writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def test_bundles_are_fetched_by_https_alone() -> None:
    for url in ("http://partner.test/b", "http://127.0.0.1/b", "file:///b", "https://"):
        with pytest.raises(Misconfigured):
            WebEndpoint(OTHER_DOMAIN, url)
    with pytest.raises(Misconfigured):
        WebEndpoint(OTHER_DOMAIN, "http://partner.test/b", loopback_http=True)


async def test_a_fetch_follows_no_redirect_and_reads_no_flood() -> None:
    for body, status in ((b"", "302 Found"), (b"", "500 No"), (b" " * 1_100_000, "200 OK")):
        async with answering(body, status=status) as port:
            source = WebEndpoint(
                OTHER_DOMAIN, f"http://127.0.0.1:{port}/spiffe/bundle", loopback_http=True
            )
            with pytest.raises(Unavailable):
                await source.fetch()


async def test_the_web_profile_trusts_whom_it_is_told_to(tmp_path: Path) -> None:
    web = Authority(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*web.issue("server"))
    async with answering(document(), tls=serving) as port:
        url = f"https://localhost:{port}/spiffe/bundle"
        assert await WebEndpoint(OTHER_DOMAIN, url, tls=trusting(web)).fetch() == document()
        with pytest.raises(Unavailable):
            await WebEndpoint(OTHER_DOMAIN, url).fetch()


async def test_federation_renews_by_hint_and_puts_off_what_fails(tmp_path: Path) -> None:
    clock = FakeClock()
    mint = Mint(tmp_path, clock=clock, federated={OTHER_DOMAIN: None})
    await mint.start()
    async with answering(document(2, spiffe_refresh_hint=120)) as port:
        source = WebEndpoint(OTHER_DOMAIN, f"http://127.0.0.1:{port}/b", loopback_http=True)
        federation = Federation([source], bundles=mint.bundles, clock=clock)
        await federation.refresh()
        assert mint.bundles.bundle(OTHER_DOMAIN) is not None
        assert federation.due_at(OTHER_DOMAIN) == clock.monotonic() + 120
        clock.advance(120)
    waits: list[float] = []
    for _ in range(3):
        await federation.refresh()
        waits.append(federation.due_at(OTHER_DOMAIN) - clock.monotonic())
        clock.advance(waits[-1])
    assert waits == [FIRST_RETRY_S, FIRST_RETRY_S * 2, FIRST_RETRY_S * 4]
    assert federation.problem(OTHER_DOMAIN)
    assert mint.bundles.bundle(OTHER_DOMAIN) is not None  # the last good one


async def test_a_bug_with_one_partner_does_not_end_the_federation_with_others(
    tmp_path: Path,
) -> None:
    class Odd:
        trust_domain = "odd.example"

        async def fetch(self) -> bytes:
            raise RuntimeError("somebody's bug")

    mint = Mint(tmp_path, federated={OTHER_DOMAIN: None, Odd.trust_domain: None})
    await mint.start()
    async with answering(document(2)) as port:
        source = WebEndpoint(OTHER_DOMAIN, f"http://127.0.0.1:{port}/b", loopback_http=True)
        federation = Federation([Odd(), source], bundles=mint.bundles, clock=mint.clock)
        await federation.refresh()
    assert mint.bundles.bundle(OTHER_DOMAIN) is not None
    assert federation.problem(Odd.trust_domain) == "RuntimeError"


async def test_a_partner_that_never_answers_holds_up_nobody(tmp_path: Path) -> None:
    asked = asyncio.Event()

    class Silent:
        trust_domain = "silent.example"

        async def fetch(self) -> bytes:
            asked.set()
            await asyncio.Event().wait()  # for ever
            raise AssertionError

    mint = Mint(tmp_path, federated={OTHER_DOMAIN: None, Silent.trust_domain: None})
    await mint.start()
    taken = asyncio.Event()
    mint.bundles.on_changed(taken.set)
    async with answering(document(2)) as port:
        source = WebEndpoint(OTHER_DOMAIN, f"http://127.0.0.1:{port}/b", loopback_http=True)
        federation = Federation([Silent(), source], bundles=mint.bundles, clock=mint.clock)
        running = asyncio.create_task(federation.run())
        await asked.wait()
        while mint.bundles.bundle(OTHER_DOMAIN) is None:
            await taken.wait()
            taken.clear()
        assert not running.done()
        # And it is looked at again when it asks to be, though the other one still waits.
        assert federation.due_at(OTHER_DOMAIN) > mint.clock.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_the_spiffe_profile_knows_the_endpoint_by_its_identity(tmp_path: Path) -> None:
    theirs = Mint(tmp_path / "theirs", domain=OTHER_DOMAIN, clock=FakeClock(time.time()))
    await theirs.start()
    endpoint, other = f"spiffe://{OTHER_DOMAIN}/bundles", f"spiffe://{OTHER_DOMAIN}/agents/evil"
    first = encode_bundle(theirs.bundles.own)
    ours = Mint(tmp_path / "ours", federated={OTHER_DOMAIN: first})
    await ours.start()
    for name, good in ((endpoint, True), (other, False)):
        await theirs.register(name)
        entry = Entry(id="e", spiffe_id=name, selectors=frozenset())
        tls = server_context(await theirs.svids.x509(entry, proof="test"), tmp_path)
        theirs.signer.announce()
        await theirs.bundles.refresh()
        now = encode_bundle(theirs.bundles.own)
        async with answering(now, tls=tls) as port:
            source = SpiffeEndpoint(
                OTHER_DOMAIN,
                f"https://127.0.0.1:{port}/spiffe/bundle",
                endpoint=endpoint,
                bundles=ours.bundles.bundle,
            )
            if good:
                assert await ours.bundles.accept(OTHER_DOMAIN, await source.fetch())
            else:
                with pytest.raises(Unavailable, match="is not"):
                    await source.fetch()
    stranger = Mint(tmp_path / "stranger", domain=OTHER_DOMAIN, clock=FakeClock(time.time()))
    await stranger.start()
    await stranger.register(endpoint)
    entry = Entry(id="e", spiffe_id=endpoint, selectors=frozenset())
    tls = server_context(await stranger.svids.x509(entry, proof="test"), tmp_path)
    async with answering(first, tls=tls) as port:
        source = SpiffeEndpoint(
            OTHER_DOMAIN,
            f"https://127.0.0.1:{port}/b",
            endpoint=endpoint,
            bundles=ours.bundles.bundle,
        )
        with pytest.raises(Unavailable):
            await source.fetch()


def server_context(svid: Any, folder: Path) -> ssl.SSLContext:
    text = b"".join(
        x509.load_der_x509_certificate(d).public_bytes(Encoding.PEM) for d in svid.chain
    )
    key = load_der_private_key(svid.key, None)
    both = folder / "both.pem"
    both.write_bytes(text + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(both)
    return made
