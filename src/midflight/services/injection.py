"""Injection: from a permitted action and leases to what goes upstream with it.

The `lease` step of the life of an action. What is leased for it is placed as an operator configured
it (header, query, proof, signature, certificate, environment, or in place of `{{lease:name}}`),
looked at again in the turn of every write, and given back when the call is over. The workload sees
none of it. A lease that cannot be had is a refusal that says which, why, and what would help.

Above: `guard.py`. Below: the broker (`ports/leases.py`), `echoes.py`, the adapters that place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from midflight.domain import placeholders
from midflight.domain.action import ActionKind
from midflight.domain.decision import Deny, DenyCode
from midflight.domain.errors import Interrupted, LeaseUnavailable, MidflightError
from midflight.domain.lease import Credential, Lease, Placement, Secret
from midflight.domain.paths import argument_path
from midflight.domain.placeholders import Placed
from midflight.domain.question import Target
from midflight.domain.revocation import ScopeKind
from midflight.domain.tool import PinState
from midflight.domain.traits import Role
from midflight.services.echoes import Echoes
from midflight.services.flights import Flight
from midflight.services.guard_case import Case
from midflight.services.interruption import Interruption
from midflight.services.lease_rendering import certificate_of, hidden_of, refuse_overlaps, rendered
from midflight.services.ports.injection import Attachment, ClientCertificate, RequestSigner
from midflight.services.ports.leases import Held, Leases
from midflight.services.ports.upstream import OnCut, Upstream
from midflight.services.receipts import refusal
from midflight.services.refusing import deny

Signers: TypeAlias = Callable[[Credential, Placement, Secret], RequestSigner]
"""Makes what signs requests with a secret: `DPOP` and `SIGV4`."""


class Leased:
    """What one call carries. Give it back with `Injecting.done`."""

    __slots__ = ("attachment", "flight", "held")

    def __init__(self, flight: LeasedFlight) -> None:
        self.flight = flight
        self.held: list[Held] = []
        self.attachment = Attachment()


class LeasedFlight:
    """A flight that is looked at together with the leases it carries."""

    __slots__ = ("_check", "_flight", "_held")

    def __init__(self, flight: Flight, held: list[Held], check: Callable[[Held], None]) -> None:
        self._flight = flight
        self._held = held
        self._check = check

    def look(self) -> None:
        """Raise `Interrupted` if the action, or a lease that it carries, may no longer act."""
        self._flight.look()
        for held in self._held:
            self._check(held)

    def on_cut(self, cut: OnCut) -> None:
        """What to do when it is cut."""
        self._flight.on_cut(cut)

    def left(self, nbytes: int) -> None:
        """Count bytes that have left."""
        self._flight.left(nbytes)

    def came(self, nbytes: int) -> None:
        """Count bytes that have come back."""
        self._flight.came(nbytes)


class Injecting:
    """See the module. One event loop."""

    def __init__(
        self,
        *,
        leases: Leases,
        signers: Signers | None,
        interruption: Interruption,
        echoes: Echoes,
        upstreams: Mapping[str, Upstream],
    ) -> None:
        """Shares its parts with the plane; hears of leases that end from now on."""
        self._leases = leases
        self._signers = signers
        self._interruption = interruption
        self._echoes = echoes
        self._upstreams = upstreams
        self._flights: dict[str, set[Flight]] = {}
        self._made: dict[str, dict[Placement, RequestSigner]] = {}
        leases.on_gone(self.gone)
        leases.on_replaced(lambda old, _: self._let_go(old, drain=True))

    def placeholders(self, case: Case, target: Target) -> Deny | None:
        """The refusal of placeholders that are where none may be, or None."""
        return misplaced(case, target, self._leases.credentials_for(case.action.upstream))

    async def take(self, case: Case, flight: Flight) -> Leased | None:
        """Lease what the call needs, if anything; `flight` is cut when a lease of it ends.

        Raises:
            LeaseUnavailable: one cannot be had, so nothing may leave.
            Interrupted: the credential is revoked.
        """
        credentials = self._leases.credentials_for(case.action.upstream)
        if not credentials:
            return None
        wanted = _wanted(case, credentials)
        if not wanted:
            return None
        held: list[Held] = []
        leased = Leased(LeasedFlight(flight, held, self._leases.check))
        leased.held = held
        try:
            self.must_fit(case.action.upstream, wanted)
            for credential in wanted:
                # In its scopes before the first wait, so that a revocation meanwhile cuts it.
                flight.scopes |= {(ScopeKind.CREDENTIAL, credential.name)}
                flight.credentials += (credential.name,)
                self._not_revoked(credential)
                flight.look()  # it may be denied, and not be woken yet
                one = await self._lease(case, credential)
                held.append(one)
                self._flights.setdefault(one.lease.id, set()).add(flight)
            # Before anything is made of the secrets: what ended meanwhile leaves nothing behind.
            leased.flight.look()
            assert case.live is not None
            leased.attachment = self.attach(case.action.upstream, case.live.run.id, held)
        except BaseException:
            self.done(leased, flight)
            raise
        case.leases = leased.attachment.leases
        return leased

    def done(self, leased: Leased, flight: Flight) -> None:
        """The call is over."""
        for held in leased.held:
            flights = self._flights.get(held.lease.id)
            if flights is not None:
                flights.discard(flight)
                if not flights:
                    del self._flights[held.lease.id]
            self._leases.done(held)
        leased.held.clear()

    # Inside

    def _not_revoked(self, credential: Credential) -> None:
        scope = (ScopeKind.CREDENTIAL, credential.name)
        revocation = self._interruption.covering((scope,))
        if revocation is not None:
            raise refusal(revocation)

    def must_fit(self, upstream: str, credentials: Sequence[Credential]) -> None:
        """`LeaseUnavailable` if one of them cannot be placed into calls of the upstream."""
        able = self._upstreams[upstream].placements
        for credential in credentials:
            unable = [r.placement for r in credential.injections if r.placement not in able]
            if unable:
                raise LeaseUnavailable(
                    f"Credential {credential.name} cannot be placed into calls of {upstream}: "
                    f"it takes no {unable[0].value}.",
                    hint=_HINTS.get(unable[0], "")
                    or f"It takes {', '.join(sorted(p.value for p in able)) or 'none'}.",
                )

    async def _lease(self, case: Case, credential: Credential) -> Held:
        assert case.live is not None
        assert case.workload is not None
        assert case.target is not None
        upstream = case.action.upstream
        try:
            given = await self._leases.lease_for(
                case.live,
                case.workload,
                credential.name,
                upstream=upstream,
                traits=case.target.traits,
            )
        except Interrupted:
            raise
        except MidflightError as error:
            raise self._not_leased(credential, upstream, error.message, error.hint) from None
        if isinstance(given, Deny):
            why = " ".join(reason.text or reason.policy for reason in given.reasons)
            raise self._not_leased(credential, upstream, why, given.help)
        lease = given.lease
        if lease.run != case.live.run.id or upstream not in given.credential.upstreams:
            # The broker's own rule; it is looked at where the secret would leave as well.
            self._leases.done(given)
            text = "it belongs to another run or another upstream."
            raise self._not_leased(credential, upstream, text, "")
        return given

    def _not_leased(
        self, credential: Credential, upstream: str, why: str, hint: str
    ) -> LeaseUnavailable:
        return LeaseUnavailable(
            f"Credential {credential.name} for {upstream} was not leased: {why}",
            hint=hint or f"midflight credential test {credential.name}",
        )

    def attach(self, upstream: str, run: str, held: Sequence[Held]) -> Attachment:
        """What goes with a call of a run, made of its leases.

        Raises:
            LeaseUnavailable: one of them has not what its placement needs.
        """
        refuse_overlaps(held)
        headers: list[tuple[str, str]] = []
        query: list[tuple[str, str]] = []
        signers: list[RequestSigner] = []
        env: list[tuple[str, str]] = []
        arguments: dict[str, str] = {}
        certificate: ClientCertificate | None = None
        secrets: set[str] = set()
        for one in held:
            hidden = hidden_of(one)
            for rule in one.credential.injections:
                match rule.placement:
                    case Placement.HEADER:
                        headers.append((rule.name, rendered(one, rule)))
                    case Placement.QUERY:
                        query.append((rule.name, rendered(one, rule)))
                    case Placement.ENV:
                        env.append((rule.name, rendered(one, rule)))
                    case Placement.ARGUMENT:
                        arguments[placeholders.placeholder(one.credential.name)] = rendered(
                            one, rule
                        )
                    case Placement.DPOP | Placement.SIGV4:
                        signers.append(self._signer(one, rule.placement))
                    case Placement.MTLS:
                        certificate = certificate_of(one)
            self._echoes.sent(upstream, run, one.lease.id, hidden)
            secrets |= hidden
        return Attachment(
            leases=tuple(one.lease.id for one in held),
            headers=tuple(headers),
            query=tuple(query),
            signers=tuple(signers),
            certificate=certificate,
            env=tuple(env),
            arguments=arguments,
            secrets=frozenset(secrets),
        )

    def _signer(self, held: Held, placement: Placement) -> RequestSigner:
        made = self._made.get(held.lease.id, {})
        signer = made.get(placement)
        if signer is None:
            if self._signers is None:
                raise LeaseUnavailable(
                    f"Nothing here makes signatures for {placement.value}.",
                    hint="Place the credential otherwise.",
                )
            # Kept while the lease lives: it remembers the nonces that the upstream gives it.
            signer = self._signers(held.credential, placement, held.secret)
            self._made.setdefault(held.lease.id, {})[placement] = signer
        return signer

    def gone(self, lease: Lease) -> None:
        """A lease may no longer be used: what carries it is cut, and what was made of it let go."""
        why = Interrupted(
            f"The lease of credential {lease.credential} is over.",
            revocation="",
            hint="Ask again: if the credential may still be leased, a new one is.",
        )
        for flight in list(self._flights.get(lease.id, ())):
            flight.cut(why)
        self._let_go(lease, drain=False)

    def _let_go(self, lease: Lease, *, drain: bool) -> None:
        for upstream in self._upstreams.values():
            upstream.release(lease.id, drain=drain)
        self._made.pop(lease.id, None)


def misplaced(case: Case, target: Target, credentials: Sequence[Credential]) -> Deny | None:
    """The refusal of placeholders that are where none may be, or None.

    One may be a whole argument of a tool call whose reviewed role is `credential`, if the
    credential is bound to this upstream and made for it.
    """
    action = case.action
    placed = placeholders.look(
        action.arguments, action.params, action.meta, action.name, case.beside
    )
    if placed is None or not (placed.misplaced or placed.names):
        return None
    why = _why_misplaced(case, target, placed, credentials)
    if not why:
        case.placeholders = frozenset(placed.names)
        return None
    return deny(
        DenyCode.LEASE,
        "placeholder-misplaced",
        f"A placeholder of a credential is misplaced: {why}.",
        "Write {{lease:NAME}}, nothing else, as an argument whose reviewed role is `credential`, "
        "with a credential that is bound to this upstream (midflight credential list).",
    )


def _why_misplaced(
    case: Case, target: Target, placed: Placed, credentials: Sequence[Credential]
) -> str:
    """Why placeholders are not where they may be; empty if they are."""
    traits = target.traits
    roles = {
        argument_path(each.path).place for each in traits.arguments if each.role is Role.CREDENTIAL
    }
    known = {
        credential.name
        for credential in credentials
        if any(rule.placement is Placement.ARGUMENT for rule in credential.injections)
    }
    why = ""
    if placed.misplaced:
        why = "something is, or looks like, a placeholder and is no whole argument"
    elif case.action.kind is not ActionKind.CALL_TOOL:
        why = f"{case.action.kind.value} takes none"
    elif target.pin_state is not PinState.PINNED or not traits.reviewed:
        why = "nobody has reviewed what the arguments of this tool are for"
    elif any(place not in roles for place in placed.places):
        why = "an argument that holds one is not reviewed as a credential"
    elif not known.issuperset(placed.names):
        why = f"a credential it names is not one for arguments of {case.action.upstream}"
    return why


def _wanted(case: Case, credentials: Sequence[Credential]) -> list[Credential]:
    """Those that go with the call: all but placeholders that it does not hold."""
    return [
        credential
        for credential in credentials
        if credential.name in case.placeholders
        or any(rule.placement is not Placement.ARGUMENT for rule in credential.injections)
    ]


_HINTS = {
    Placement.ENV: "Only a child of the run's own has an environment: "
    "remove `stateless` from the upstream, or place the credential otherwise.",
    Placement.MTLS: "A client certificate needs https.",
}

__all__ = ["Injecting", "Leased", "LeasedFlight", "Signers", "misplaced"]
