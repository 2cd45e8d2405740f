"""Wiring of what `[oauth] experimental` turns on: transaction tokens and identity assertions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midflight.apps.compose_issuers import key_sets, key_source
from midflight.apps.compose_keys import mint
from midflight.services.authorization_clients import Clients
from midflight.services.authorization_subjects import OwnTokens
from midflight.services.authorization_tokens import AuthorizedTokens
from midflight.services.identity_assertions import AssertionIssuer, IdentityAssertions
from midflight.services.ports.documents import Documents
from midflight.services.ports.keys import Purpose
from midflight.services.transaction_tokens import TransactionTokens
from midflight.wire import tokens as token_proofs
from midflight.wire.oauth import proofs

if TYPE_CHECKING:
    from midflight.apps.compose import Plane
    from midflight.apps.settings_oauth import AssertionIssuerSection, Login


def transaction_tokens(
    plane: Plane, *, clients: Clients, tokens: AuthorizedTokens, own: OwnTokens
) -> TransactionTokens | None:
    """What issues them, with a ring of keys of its own; None where they are off."""
    settings = plane.settings
    if not (settings.oauth.enabled and settings.oauth.experimental):
        return None
    return TransactionTokens(
        clients=clients,
        tokens=tokens,
        own=own,
        store=plane.parts.store,
        signer=mint(plane.keys, Purpose.TRANSACTION_TOKEN),
        recorder=plane.ledger,
        clock=plane.parts.clock,
        proofs=token_proofs,
        issuer=settings.issuer,
        trust_domain=settings.identity.trust_domain,
    )


def identity_assertions(
    plane: Plane,
    *,
    clients: Clients,
    tokens: AuthorizedTokens,
    documents: Documents,
    resource: str,
) -> IdentityAssertions | None:
    """What takes them; None where no issuer is trusted for it."""
    settings = plane.settings
    if not (settings.oauth.experimental and settings.oauth.id_jag_issuer):
        return None
    return IdentityAssertions(
        issuers=[_issuer(row, settings.oauth.login) for row in settings.oauth.id_jag_issuer],
        key_sets=key_sets(
            {row.issuer: row for row in settings.oauth.id_jag_issuer},
            documents=documents,
            clock=plane.parts.clock,
        ),
        reader=token_proofs,
        proofs=proofs,
        clients=clients,
        tokens=tokens,
        runs=plane.runs,
        inventory=plane.inventory,
        store=plane.parts.store,
        clock=plane.parts.clock,
        issuer=settings.issuer,
        resource=resource,
    )


def _issuer(row: AssertionIssuerSection, login: Login | None) -> AssertionIssuer:
    same = login is not None and (login.issuer, login.claim) == (row.issuer, "sub")
    return AssertionIssuer(
        keys=key_source(row.issuer, row),
        algorithms=row.algorithms,
        tenant=row.tenant,
        log_in_here=same and row.tenant is None,
    )


__all__ = ["identity_assertions", "transaction_tokens"]
