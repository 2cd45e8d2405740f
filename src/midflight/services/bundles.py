"""Trust bundles in force: our own, and one for each trust domain that we federate with.

Bundles are kept apart and never merged: an authority vouches for its own trust domain alone. Our
own gets a higher sequence with every change, which is durable before it is published. Another's is
taken only if its sequence does not go back, is kept across restarts, and is dropped once it was
last confirmed too long ago. What `accept` is given was authenticated by whoever fetched it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from midflight.domain.errors import Conflict, NotFound, StoreUnavailable
from midflight.domain.records import Changed
from midflight.domain.spiffe import TrustBundle
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.authority import Authority
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import TokenSigner
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.spiffe import Documents
from midflight.services.ports.store import Store

SNAPSHOT = "spiffe-bundles-v1"
REFRESH_HINT_S = 300
MAX_AGE_S = 86_400
"""How long a bundle of another trust domain counts after it was last confirmed."""

_PUBLIC = ("kty", "crv", "x", "y", "n", "e", "kid", "alg")


class Held(Value):
    """The bundle of another trust domain: the document, and when it was last confirmed (Unix s)."""

    raw: bytes
    confirmed_at: int


class _Snapshot(Value):
    sequence: int = 0
    digest: str = ""
    peers: dict[str, Held] = {}


class TrustBundles:
    """`Bundles`. `start` it before use; `refresh` it whenever an authority or a key changed."""

    def __init__(
        self,
        *,
        trust_domain: str,
        authority: Authority,
        signer: TokenSigner,
        documents: Documents,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        federated: Mapping[str, bytes | None],
        revoked: Callable[[str], bool] = lambda _: False,
        wit_signer: TokenSigner | None = None,
        refresh_hint_s: int = REFRESH_HINT_S,
        max_age_s: int = MAX_AGE_S,
    ) -> None:
        """Nothing is read and nothing published yet.

        `authority` and the signers are what our bundle publishes; `federated` names the trust
        domains to hold bundles of, each with a first bundle or None; `revoked` says whether one is
        revoked; `refresh_hint_s` is how often others should look at ours.
        """
        self.trust_domain = trust_domain
        self._authority = authority
        self._signer = signer
        self._wit_signer = wit_signer
        self._documents = documents
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._federated = dict(federated)
        self._revoked = revoked
        self._hint_s = refresh_hint_s
        self._max_age_s = max_age_s
        self._own = TrustBundle(trust_domain=trust_domain, refresh_hint_s=refresh_hint_s)
        self._kept = _Snapshot()
        self._peers: dict[str, TrustBundle] = {}
        self._listeners: list[Callable[[], None]] = []
        self._turn = asyncio.Lock()

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a bundle in force has changed."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Read what is kept, take first bundles, publish our own.

        Raises:
            StoreUnavailable: what is kept cannot be read; then the sequence would go back.
            Malformed: a first bundle is none.
        """
        stored = await self._store.get_snapshot(SNAPSHOT)
        if stored is not None:
            self._kept = _read(stored)
        for domain, held in self._kept.peers.items():
            if domain in self._federated:
                bundle = self._documents.decode_bundle(held.raw, trust_domain=domain)
                self._peers[domain] = bundle
        for domain, first in self._federated.items():
            if first is not None and domain not in self._peers:
                await self.accept(domain, first)
        await self.refresh()

    # Looking

    def bundle(self, trust_domain: str) -> TrustBundle | None:
        """The bundle in force, or None: unknown, revoked, or confirmed too long ago. No I/O."""
        if self._revoked(trust_domain):
            return None
        if trust_domain == self.trust_domain:
            return self._own
        found = self._peers.get(trust_domain)
        if found is None:
            return None
        confirmed = self._kept.peers[trust_domain].confirmed_at
        return found if self._clock.now() < confirmed + self._max_age_s else None

    @property
    def own(self) -> TrustBundle:
        """Ours, as it is published."""
        return self._own

    def federated(self) -> Sequence[str]:
        """The trust domains that we federate with, whether or not their bundle is in force."""
        return sorted(self._federated)

    def confirmed_at(self, trust_domain: str) -> int | None:
        """When a bundle was last fetched or confirmed (Unix seconds), or None."""
        held = self._kept.peers.get(trust_domain)
        return None if held is None else held.confirmed_at

    # Changing

    async def refresh(self) -> bool:
        """Publish what authority and signer have now; whether anything changed."""
        async with self._turn:
            now = TrustBundle(
                trust_domain=self.trust_domain,
                x509_authorities=self._authority.roots,
                jwt_authorities=_keys_of(self._signer),
                wit_authorities=() if self._wit_signer is None else _keys_of(self._wit_signer),
                refresh_hint_s=self._hint_s,
            )
            digest = hashlib.sha256(self._documents.encode_bundle(now)).hexdigest()
            kept = self._kept
            changed = digest != kept.digest
            if changed:
                kept = msgspec.structs.replace(kept, sequence=kept.sequence + 1, digest=digest)
                await self._keep(kept)
            published = msgspec.structs.replace(now, sequence=kept.sequence)
            changed = changed or published != self._own
            self._own = published
        if changed:
            self._tell()
        return changed

    async def accept(self, trust_domain: str, raw: bytes) -> bool:
        """Take the bundle of another trust domain; whether it is another one than before.

        Raises:
            NotFound: we do not federate with it, or it is our own.
            Malformed, TooLarge: it is not a bundle.
            Conflict: its sequence goes back, or is that of another bundle.
        """
        if trust_domain not in self._federated or trust_domain == self.trust_domain:
            raise NotFound(f"There is no federation with {trust_domain}.")
        made = self._documents.decode_bundle(raw, trust_domain=trust_domain)
        async with self._turn:
            before = self._peers.get(trust_domain)
            if before is not None:
                _check_succession(before, made)
            held = Held(raw=raw, confirmed_at=int(self._clock.now()))
            peers = {**self._kept.peers, trust_domain: held}
            await self._keep(msgspec.structs.replace(self._kept, peers=peers))
            self._peers[trust_domain] = made
        if made == before:
            return False
        self._tell()  # it is in force, whether or not the ledger takes the record
        self._recorder.append(
            Changed(
                at=self._clock.now(),
                what=f"bundle.accept {trust_domain}",
                author="midflight:federation",
                proof="endpoint",
                details={
                    "sequence": made.sequence,
                    "x509_authorities": len(made.x509_authorities),
                    "jwt_authorities": len(made.jwt_authorities),
                    "sha256": hashlib.sha256(raw).hexdigest(),
                },
            )
        )
        return True

    # Inside

    async def _keep(self, kept: _Snapshot) -> None:
        await self._store.put_snapshot(SNAPSHOT, msgspec.json.encode(kept))
        self._kept = kept

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _check_succession(before: TrustBundle, after: TrustBundle) -> None:
    if after.sequence < before.sequence:
        raise Conflict(
            f"The bundle of {before.trust_domain} has sequence {after.sequence}, which is before"
            f" {before.sequence}.",
            hint="An old bundle was replayed, or the trust domain was set up anew; then remove the"
            " federation, start once, and add it again.",
        )
    # 0 is the sequence of documents that say none.
    if after.sequence == before.sequence != 0 and after != before:
        raise Conflict(
            f"Two bundles of {before.trust_domain} have sequence {after.sequence}.",
            hint="Its sequence has to grow with every change.",
        )


def _keys_of(signer: TokenSigner) -> tuple[JSONObject, ...]:
    return tuple(_plain(jwk) for jwk in signer.public_jwks()["keys"])


def _plain(jwk: JSONObject) -> JSONObject:
    return {name: jwk[name] for name in _PUBLIC if name in jwk}


def _read(stored: bytes) -> _Snapshot:
    try:
        return msgspec.json.decode(stored, type=_Snapshot)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise StoreUnavailable(
            "The kept trust bundles are damaged.", hint="Restore the store from a backup."
        ) from None


__all__ = ["MAX_AGE_S", "REFRESH_HINT_S", "SNAPSHOT", "TrustBundles"]
