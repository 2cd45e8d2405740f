"""Identity: who is behind a request, and tokens for workloads.

`identify` turns what a request presents into a `Caller`, or refuses with 401. It does not ask
whether the workload is registered, nor whether token, run or workload are revoked: the guard asks
that for every action, so that a warm cache here cannot outlive a revocation. Bytes and signatures
are read by what is handed in as `proofs` (`midflight.wire.tokens`), keys are held by the signer.
Below: `presented.py`, `svid_callers.py`, and `token_mint.py`, which makes the tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from midflight.domain.errors import Misconfigured, NotHolder, Unauthenticated, Unavailable
from midflight.domain.identity import Author, Caller, spiffe_id
from midflight.domain.value import JSONObject
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import TokenSigner
from midflight.services.ports.proofs import Proofs, TokenClaims
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.presented import Credentials, Stolen, presented, refuse_needless_proof
from midflight.services.svid_callers import SvidCallers, SvidProof
from midflight.services.token_mint import DEFAULT_TTL_S, Given, MintedToken, TokenMint

CACHED_TOKENS = 10_000
"""Verified tokens remembered; only tokens that verified are, so garbage cannot push them out."""
REPLAY_PURPOSE = "dpop"


class Identity:
    """Proofs in, callers out; and the mint of workload tokens."""

    def __init__(
        self,
        *,
        store: Store,
        signer: TokenSigner,
        clock: Clock,
        recorder: Recorder,
        proofs: Proofs,
        issuer: str,
        resource: str,
        trust_domain: str,
        jwks_uri: str,
        published: Callable[[], JSONObject] | None = None,
        name: str = "Midflight",
        cached_tokens: int = CACHED_TOKENS,
        scopes: Sequence[str] = (),
        mtls: bool = False,
    ) -> None:
        """Names are settings.

        Args:
            store: for single use of proofs and for what `mint` must know.
            signer: signs tokens, and holds the keys that verify them.
            clock: time and fresh token ids.
            recorder: the ledger; a token is recorded durably before it is handed out.
            proofs: reads and writes tokens: `midflight.wire.tokens`.
            issuer: the `iss` of tokens: an http or https URL.
            resource: the gateway's resource URL, the one audience of tokens.
            trust_domain: the trust domain that workloads are in.
            jwks_uri: where `jwks` is served.
            published: the key set that is served there; default: the signer's own.
            name: `resource_name` of the metadata.
            cached_tokens: bound of the cache of verified tokens.
            scopes: scope values that the metadata names.
            mtls: whether callers can show certificates, for the metadata.

        Raises:
            Misconfigured: issuer, resource or trust domain are not usable, all at once.
        """
        _check_settings(issuer=issuer, resource=resource, trust_domain=trust_domain)
        self._store = store
        self._signer = signer
        self._clock = clock
        self._proofs = proofs
        self._issuer = issuer
        self._resource = resource
        self._trust_domain = trust_domain
        self._jwks_uri = jwks_uri
        self._published = published or signer.public_jwks
        self._name = name
        self._scopes = tuple(scopes)
        self._mtls = mtls
        self._mint = TokenMint(
            store=store,
            signer=signer,
            clock=clock,
            recorder=recorder,
            proofs=proofs,
            issuer=issuer,
            resource=resource,
            prove=self._prove,
        )
        self._bound = cached_tokens
        self._svids: SvidCallers | None = None
        self._verified: dict[bytes, TokenClaims] = {}
        self._stolen: list[Stolen] = []

    def believe(self, svids: SvidCallers) -> None:
        """Let callers prove themselves by an SVID, too; before this none does."""
        self._svids = svids

    def on_stolen(self, listener: Stolen) -> None:
        """Tell of tokens that hold and were shown by somebody who is not their holder."""
        self._stolen.append(listener)

    # For the gateway

    async def identify(self, credentials: Credentials) -> Caller:
        """Who presents these credentials.

        A bearer token that was minted or seen by this process costs about 2 µs, another about
        100; a DPoP proof about 100 and one write to the store each time.

        Raises:
            Unauthenticated: no proof, or one that does not hold; `challenge` is empty when the
                request presented none.
            StoreUnavailable: a proof's single use cannot be noted, so it is not accepted.
        """
        now = self._clock.now()
        if not credentials.authorization and credentials.certificates and self._svids is not None:
            return self._by_certificate(self._svids, credentials, now)
        scheme, token = presented(credentials)
        key = _digest(token)
        claims = self._known(key, now)
        if claims is None:
            if self._svids is not None and not self._proofs.is_access_token(token):
                return self._by_jwt_svid(self._svids, scheme, token, credentials, now=now)
            claims = self._verify(token, key, now)
        try:
            await self._check_holder(scheme, token, claims, credentials, now=now)
        except NotHolder as error:
            self._not_holder(claims, credentials, error)
            raise
        return Caller(
            workload=claims.workload,
            run=claims.run,
            token=claims.token,
            proof=scheme if claims.certificate is None else "mtls",
            expires_at=claims.expires_at,
            peer=credentials.peer,
            scope=claims.scope,
            actors=claims.actors,
        )

    def challenge_header(self, error: Unauthenticated) -> str:
        """The `WWW-Authenticate` header of the 401 for this error."""
        return self._proofs.challenge(
            error=error.challenge,
            description=error.message,
            metadata=self.metadata_url,
        )

    @property
    def metadata_url(self) -> str:
        """Where `metadata` is to be served, for anybody (RFC 9728 §3.1)."""
        return self._proofs.metadata_url(self._resource)

    def metadata(self) -> JSONObject:
        """The protected resource metadata document (RFC 9728 §2)."""
        return self._proofs.resource_metadata(
            resource=self._resource,
            issuer=self._issuer,
            jwks_uri=self._jwks_uri,
            name=self._name,
            scopes=self._scopes,
            mtls=self._mtls,
        )

    def jwks(self) -> JSONObject:
        """The public keys that verify tokens, and what else is served with them (RFC 7517 §5)."""
        return self._published()

    def forget(self) -> None:
        """Verify every token again when it comes next; for a key that was withdrawn."""
        self._verified.clear()

    # For operators

    async def mint(
        self,
        *,
        workload: str,
        author: Author,
        run: str | None = None,
        ttl_s: int = DEFAULT_TTL_S,
        jkt: str | None = None,
        given: Given | None = None,
    ) -> MintedToken:
        """Make an access token for a registered workload: `TokenMint.mint`."""
        return await self._mint.mint(
            workload=workload, author=author, run=run, ttl_s=ttl_s, jkt=jkt, given=given
        )

    def read(self, token: str) -> TokenClaims:
        """The claims of an access token of ours that holds now, whoever presents it.

        It asks neither for the key that the token is bound to nor whether anything is revoked:
        that is for who calls this.

        Raises:
            Unauthenticated: it is none, or has ended.
        """
        return self._claims(token, self._clock.now())

    # Inside

    def _claims(self, token: str, now: float) -> TokenClaims:
        """Claims of the token, from the cache while they last."""
        key = _digest(token)
        return self._known(key, now) or self._verify(token, key, now)

    def _known(self, key: bytes, now: float) -> TokenClaims | None:
        claims = self._verified.get(key)
        if claims is None or now < claims.expires_at:
            return claims
        del self._verified[key]
        return None

    def _verify(self, token: str, key: bytes, now: float) -> TokenClaims:
        claims = self._proofs.verify_access_token(
            token,
            jwks=self._signer.public_jwks(),
            issuer=self._issuer,
            resource=self._resource,
            trust_domain_name=self._trust_domain,
            now=now,
        )
        if len(self._verified) >= self._bound:
            del self._verified[next(iter(self._verified))]  # the oldest, which expires soonest
        self._verified[key] = claims
        return claims

    def _prove(self, token: str) -> None:
        """A token that was just signed is looked at as it will be: then it is known when it comes.

        A key that was withdrawn meanwhile, or that signs otherwise than it says, is found here,
        before anybody has the token.
        """
        try:
            self._verify(token, _digest(token), self._clock.now())
        except Unauthenticated:
            raise Unavailable(
                "A token was signed and does not verify, so it is not handed out.",
                hint="Its key was withdrawn meanwhile, or is not the one it says: midflight keys.",
            ) from None

    def _by_certificate(self, svids: SvidCallers, credentials: Credentials, now: float) -> Caller:
        if credentials.dpop:
            raise Unauthenticated(
                "A DPoP proof came without an access token.", challenge="invalid_request"
            )
        proof = svids.of_chain(credentials.certificates, now)
        return _caller(proof, how="mtls", credentials=credentials)

    def _by_jwt_svid(
        self, svids: SvidCallers, scheme: str, token: str, credentials: Credentials, *, now: float
    ) -> Caller:
        refuse_needless_proof(scheme, credentials)
        proof = svids.of_token(token, now)
        try:
            self._refuse_strange_certificate(proof.workload, credentials, now)
        except NotHolder as error:
            self._not_holder(proof, credentials, error)
            raise
        return _caller(proof, how="jwt-svid", credentials=credentials)

    async def _check_holder(
        self, scheme: str, token: str, claims: TokenClaims, credentials: Credentials, *, now: float
    ) -> None:
        """Whether whoever shows the token has what it is bound to."""
        if claims.certificate is not None:
            self._check_certificate(claims.certificate, credentials)
        else:
            self._refuse_strange_certificate(claims.workload, credentials, now)
        if claims.thumbprint is not None:
            await self._spend_proof(scheme, token, claims.thumbprint, credentials, now)
        else:
            refuse_needless_proof(scheme, credentials)

    def _not_holder(
        self, shown: TokenClaims | SvidProof, credentials: Credentials, error: NotHolder
    ) -> None:
        run, peer, why = shown.run or "", credentials.peer, error.message
        for tell in self._stolen:
            tell(workload=shown.workload, run=run, token=shown.token, peer=peer, why=why)

    def _check_certificate(self, bound_to: str, credentials: Credentials) -> None:
        """RFC 8705 §3: the certificate of the connection is the one that the token is bound to."""
        if not credentials.certificates:
            raise NotHolder(
                "This access token is bound to a certificate, and none was shown.",
                hint="Connect with the certificate that it was issued for (RFC 8705).",
            )
        shown = self._proofs.certificate_thumbprint(credentials.certificates[0])
        if not hmac.compare_digest(shown, bound_to):
            raise NotHolder(
                "This access token is bound to another certificate than was shown.",
                hint="Connect with the certificate that it was issued for (RFC 8705).",
            )

    def _refuse_strange_certificate(
        self, workload: str, credentials: Credentials, now: float
    ) -> None:
        """Two proofs of one request must not be of two workloads: one of them is stolen.

        A certificate that proves no SPIFFE ID here says nothing, for or against.
        """
        if not credentials.certificates or self._svids is None:
            return
        try:
            shown = self._svids.of_chain(credentials.certificates, now)
        except Unauthenticated:
            return
        if shown.workload != workload:
            raise NotHolder(
                "The token is of another workload than the client certificate.",
                hint="Use a token of the workload that connects.",
            )

    async def _spend_proof(
        self, scheme: str, token: str, bound_to: str, credentials: Credentials, now: float
    ) -> None:
        if scheme != "dpop":
            raise NotHolder(
                "This access token is bound to a key and is no bearer token.",
                hint="Present it with the DPoP scheme and a proof (RFC 9449).",
            )
        presented = list(credentials.dpop)
        if len(presented) != 1:
            refusal = Unauthenticated if presented else NotHolder
            raise refusal(
                "The request needs exactly one DPoP header.", challenge="invalid_dpop_proof"
            )
        proof = self._proofs.verify_proof(
            presented[0],
            method=credentials.method,
            url=credentials.url,
            token=token,
            bound_to=bound_to,
            now=now,
        )
        fresh = await self._store.use_once(
            REPLAY_PURPOSE, proof.replay_key, until=proof.until, now=int(now)
        )
        if not fresh:
            raise NotHolder(
                "The DPoP proof has been used before.",
                hint="Make a new proof with a new jti for each request.",
                challenge="invalid_dpop_proof",
            )


def _digest(token: str) -> bytes:
    """What a token is remembered by: the cache holds none that a memory dump could replay."""
    try:
        return hashlib.sha256(token.encode("ascii")).digest()
    except UnicodeEncodeError:
        return b""


def _caller(proof: SvidProof, *, how: str, credentials: Credentials) -> Caller:
    return Caller(
        workload=proof.workload,
        run=proof.run,
        token=proof.token,
        proof=how,
        expires_at=proof.expires_at,
        peer=credentials.peer,
    )


def _check_settings(*, issuer: str, resource: str, trust_domain: str) -> None:
    problems: list[str] = []
    for setting, url in (("issuer", issuer), ("resource", resource)):
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            problems.append(f"{setting} is not an http or https URL without user information")
        elif parts.query or parts.fragment or not re.fullmatch(r"[\x21-\x7e]+", url):
            problems.append(f"{setting} has a query, a fragment or characters outside ASCII")
    try:
        spiffe_id(f"spiffe://{trust_domain}/workload")
    except ValueError:
        problems.append("trust_domain is not a SPIFFE trust domain such as example.org")
    if problems:
        raise Misconfigured("Workload tokens cannot be checked with these settings.", problems)


__all__ = ["CACHED_TOKENS", "REPLAY_PURPOSE", "Identity"]
