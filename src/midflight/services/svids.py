"""SVIDs: minted for registered workloads in good standing, recorded, renewed at half of their life.

An SVID says who somebody is and opens nothing by itself. It is durable in the ledger before it is
handed out, ends with its entry, its workload's review and its authority at the latest, and its
serial number or `jti` is what can be revoked. It does not attest (`apps/workload_api` asks whoever
does) and verifies nobody but the bearers of JWT-SVIDs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from midflight.domain import jose
from midflight.domain.attestation import Attested, Entry
from midflight.domain.errors import Forbidden, Unauthenticated, Unavailable
from midflight.domain.identity import trust_domain
from midflight.domain.records import Issued
from midflight.domain.revocation import ScopeKind, scopes_over
from midflight.domain.spiffe import MAX_JWT_TTL_S, MAX_X509_TTL_S, JwtSvid, WitSvid, X509Svid
from midflight.domain.value import JSONObject
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.mint_rates import MintRates
from midflight.services.ports.authority import Authority
from midflight.services.ports.bundles import Bundles
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import TokenSigner
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.spiffe import Documents, SvidClaims
from midflight.services.receipts import refusal
from midflight.services.svid_streams import SvidStream


class Svids:
    """The mint of SVIDs, and the check of JWT-SVIDs."""

    def __init__(
        self,
        *,
        trust_domain_name: str,
        authority: Authority,
        signer: TokenSigner,
        documents: Documents,
        bundles: Bundles,
        inventory: Inventory,
        interruption: Interruption,
        recorder: Recorder,
        clock: Clock,
        x509_ttl_s: int = MAX_X509_TTL_S,
        jwt_ttl_s: int = MAX_JWT_TTL_S,
        wit_signer: TokenSigner | None = None,
        new_pair: Callable[[], JSONObject] | None = None,
    ) -> None:
        """Lives are cut to one hour and five minutes, whatever is asked for.

        WIT-SVIDs, which live as long as X509-SVIDs, are made only with `wit_signer` and `new_pair`,
        which gives a private P-256 JWK for their holder.
        """
        self._domain = trust_domain_name
        self._authority = authority
        self._signer = signer
        self._documents = documents
        self._bundles = bundles
        self._inventory = inventory
        self._interruption = interruption
        self._recorder = recorder
        self._clock = clock
        self._rates = MintRates(clock=clock)
        self._x509_ttl_s = min(x509_ttl_s, MAX_X509_TTL_S)
        self._jwt_ttl_s = min(jwt_ttl_s, MAX_JWT_TTL_S)
        self._wit_signer = wit_signer
        self._new_pair = new_pair

    def check(self, entry: Entry) -> None:
        """Whether the entry's workload may have an identity now. No I/O.

        Raises:
            Forbidden: not registered, not in good standing, not ours, or the entry has ended.
            Interrupted: it is revoked.
        """
        now = self._clock.now()
        workload = self._inventory.current(entry.spiffe_id)
        if trust_domain(entry.spiffe_id) != self._domain:
            raise Forbidden("The entry is for a workload of another trust domain.")
        why = self._inventory.standing(workload, now)
        if workload is None or why is not None:
            raise Forbidden(why or "The workload is not registered.", hint=_REGISTER)
        if entry.expires_at is not None and now >= entry.expires_at:
            raise Forbidden("The registration entry has ended.", hint=_REGISTER)
        scopes = scopes_over(entry.spiffe_id, owner=workload.owner, runs=(entry.run,))
        revocation = self._interruption.covering(scopes)
        if revocation is not None:
            raise refusal(revocation)

    async def x509(self, entry: Entry, *, proof: str, by: str | None = None) -> X509Svid:
        """A fresh X509-SVID with a key of its own.

        Args:
            entry: whose; `check` holds before and after.
            proof: how its bearer was established, for the record.
            by: who asks in its stead, and is counted apart; None where it asks for itself.

        Raises:
            Forbidden, Interrupted: as `check`.
            Unavailable: it cannot be signed or recorded; nothing was handed out.
            TooOften: the entry has had more than it is given in this time.
        """
        self.check(entry)
        self._rates.take(entry.id, by)
        ttl_s = self._ttl(entry, min(entry.x509_ttl_s, self._x509_ttl_s))
        made = await self._authority.issue(entry.spiffe_id, ttl_s=ttl_s, run=entry.run)
        made = msgspec.structs.replace(made, hint=entry.hint)
        await self._record("x509-svid", made.serial, entry, expires_at=made.expires_at, proof=proof)
        return made

    async def jwt(
        self, entry: Entry, audience: Sequence[str], *, proof: str, by: str | None = None
    ) -> JwtSvid:
        """A JWT-SVID for an audience. Errors as `x509`; `Malformed` for an unusable audience."""
        self.check(entry)
        self._rates.take(entry.id, by)
        now = int(self._clock.now())
        ttl_s = self._ttl(entry, min(entry.jwt_ttl_s, self._jwt_ttl_s))
        token_id = f"svid_{self._clock.token()}"
        header, claims = self._documents.jwt_svid_claims(
            subject=entry.spiffe_id,
            audience=audience,
            token=token_id,
            issued_at=now,
            lifetime_s=ttl_s,
        )
        if entry.run is not None:
            # Signed, so whoever is launched for a run can prove that one and no other.
            claims["txn"] = entry.run
        token = await self._signer.mint(header, claims)
        wanted = tuple(dict.fromkeys(audience))
        await self._record(
            "jwt-svid",
            token_id,
            entry,
            expires_at=now + ttl_s,
            proof=proof,
            audience=wanted,
        )
        return JwtSvid(
            spiffe_id=entry.spiffe_id,
            jti=token_id,
            token=token,
            audience=wanted,
            issued_at=now,
            expires_at=now + ttl_s,
            hint=entry.hint,
        )

    async def wit(self, entry: Entry, *, proof: str, by: str | None = None) -> WitSvid:
        """A WIT-SVID with a key of its own. Errors as `x509`; `Unavailable` where none are made."""
        if self._wit_signer is None or self._new_pair is None:
            raise Unavailable("No WIT-SVIDs are issued here.", hint="Set [spiffe] experimental.")
        self.check(entry)
        self._rates.take(entry.id, by)
        now = int(self._clock.now())
        ttl_s = self._ttl(entry, min(entry.x509_ttl_s, self._x509_ttl_s))
        token_id, key = f"svid_{self._clock.token()}", self._new_pair()
        header, claims = self._documents.wit_svid_claims(
            subject=entry.spiffe_id, key=key, token=token_id, issued_at=now, lifetime_s=ttl_s
        )
        if entry.run is not None:
            claims["txn"] = entry.run
        token = await self._wit_signer.mint(header, claims)
        await self._record("wit-svid", token_id, entry, expires_at=now + ttl_s, proof=proof)
        return WitSvid(
            spiffe_id=entry.spiffe_id,
            jti=token_id,
            token=token,
            key=key,
            issued_at=now,
            expires_at=now + ttl_s,
            hint=entry.hint,
        )

    def validate_jwt(
        self,
        token: str,
        audience: str,
        *,
        trusted: Callable[[str], bool] = lambda _: True,
        alone: bool = False,
    ) -> SvidClaims:
        """What a JWT-SVID says, of our trust domain or a federated one.

        Args:
            token: the compact JWS.
            audience: what it must be for.
            trusted: whether this asker trusts a trust domain.
            alone: whether the audience must be the only one.

        Raises:
            Unauthenticated: it does not verify, or its workload is not in good standing.
            Interrupted: it, its workload or its trust domain is revoked.
        """
        found = self._documents.verify_jwt_svid(
            token,
            bundles=lambda name: self._bundles.bundle(name) if trusted(name) else None,
            audience=audience,
            now=self._clock.now(),
            alone=alone,
        )
        self.check_bearer(found.spiffe_id, token=found.jti, run=found.run)
        return found

    def check_bearer(self, workload_id: str, *, token: str, run: str | None) -> None:
        """Whether the bearer of a verified SVID is in good standing now. No I/O.

        Args:
            workload_id: its SPIFFE ID, of any trust domain.
            token: its serial number or `jti`.
            run: the run that it names, or None; of ours only where the trust domain is ours.

        Raises:
            Unauthenticated: its workload, if ours, is not in good standing.
            Interrupted: it, its workload, owner, run or trust domain is revoked.
        """
        domain = trust_domain(workload_id)
        owner, ours = None, None
        if domain == self._domain:
            workload = self._inventory.current(workload_id)
            why = self._inventory.standing(workload, self._clock.now())
            if workload is None or why is not None:
                raise Unauthenticated(why or "The workload is not registered.")
            # Of a run only its own trust domain can speak.
            owner, ours = workload.owner, run
        scopes = scopes_over(workload_id, owner=owner, runs=(ours,), token=token)
        revocation = self._interruption.covering(scopes)
        if revocation is not None:
            raise refusal(revocation)

    def due(self, svid: X509Svid | WitSvid) -> bool:
        """Whether half of its life is over, it was revoked, or its signing key was withdrawn.

        Revoked by its serial number or `jti`; of X509-SVIDs authorities are not withdrawn at once.
        """
        if isinstance(svid, WitSvid) and self._withdrawn(svid):
            return True
        name = svid.serial if isinstance(svid, X509Svid) else svid.jti
        if self._interruption.covering(((ScopeKind.TOKEN, name),)) is not None:
            return True
        return self._clock.now() >= (svid.issued_at + svid.expires_at) / 2

    def stream(self, name: str, *, by: str | None = None, token: str = "") -> SvidStream:
        """A stream of SVIDs or bundles, to be shown with what is in flight; see `SvidStream`.

        `by` is whoever asks in the workload's stead, `token` by which he is known.
        """
        return SvidStream(self._interruption, self._inventory, name=name, by=by, token=token)

    # Inside

    def _withdrawn(self, svid: WitSvid) -> bool:
        """Nobody believes it then, so its holder must not wait for half of its life."""
        header: JSONObject = msgspec.json.decode(jose.from_base64url(svid.token.partition(".")[0]))
        signer = self._wit_signer
        keys: Sequence[JSONObject] = () if signer is None else signer.public_jwks()["keys"]
        return all(key["kid"] != header["kid"] for key in keys)

    def _ttl(self, entry: Entry, wanted: int) -> int:
        now = int(self._clock.now())
        ends = [now + wanted]
        if entry.expires_at is not None:
            ends.append(entry.expires_at)
        workload = self._inventory.current(entry.spiffe_id)
        if workload is not None:
            ends.append(workload.review_by)
        return max(1, min(ends) - now)

    async def _record(
        self,
        what: str,
        name: str,
        entry: Entry,
        *,
        expires_at: int,
        proof: str,
        audience: Sequence[str] = (),
    ) -> None:
        ticket = self._recorder.append(
            Issued(
                at=self._clock.now(),
                what=what,
                id=name,
                subject=entry.spiffe_id,
                run=entry.run,
                expires_at=expires_at,
                proof=proof,
                details={"entry": entry.id} | ({"audience": list(audience)} if audience else {}),
            )
        )
        await ticket.durable()
        self.check(entry)  # it may have been revoked while this was written


def proof_of(attested: Attested) -> str:
    """How a local caller was established, for records."""
    if attested.process:
        return f"unix:{attested.process}"
    return "attested" if attested.uid is None else f"peer-uid:{attested.uid}"


_REGISTER = "An operator registers workloads: midflight workload add --help."

__all__ = ["Svids", "proof_of"]
