"""Wiring of whoever signs tokens that are believed here: where the keys come from."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from midflight.adapters.documents.https import HttpsDocuments
from midflight.apps.settings_issuers import KeyedIssuer
from midflight.services.key_sets import KeySets, KeySource
from midflight.services.ports.clock import Clock
from midflight.services.ports.documents import Documents


def key_sets(rows: Mapping[str, KeyedIssuer], *, documents: Documents, clock: Clock) -> KeySets:
    """The key sets of these issuers, by what their tokens say in `iss`.

    `documents` fetches those of issuers that name no authorities of their own.
    """
    own = {
        issuer: HttpsDocuments(tls=ssl.create_default_context(cafile=row.ca))
        for issuer, row in rows.items()
        if row.ca is not None
    }
    return KeySets(documents=documents, clock=clock, own=own)


def key_source(issuer: str, row: KeyedIssuer) -> KeySource:
    """Where the keys of one issuer are."""
    return KeySource(
        issuer=issuer,
        jwks_uri=row.jwks_uri,
        discovery=row.discovery,
        fixed=row.fixed(),
        allow_private=row.allow_private,
    )


__all__ = ["key_sets", "key_source"]
