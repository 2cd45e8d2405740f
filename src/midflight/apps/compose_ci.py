"""Wiring of federation: the table of issuers from the settings, and what fetches their keys."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.documents.https import HttpsDocuments
from midflight.adapters.documents.token_review import KubernetesTokenReview
from midflight.apps.compose_issuers import key_sets, key_source
from midflight.apps.settings_ci import IssuerSection
from midflight.services.job_federation import Issuer, JobFederation
from midflight.services.ports.clock import Clock
from midflight.services.ports.documents import Documents
from midflight.services.ports.store import Store
from midflight.services.ports.token_review import TokenReview
from midflight.wire import tokens


def job_federation(
    sections: Sequence[IssuerSection],
    *,
    audience: str,
    store: Store,
    clock: Clock,
    documents: Documents | None = None,
) -> JobFederation:
    """The federation that `[[ci.issuer]]` asks for.

    Args:
        sections: the rows.
        audience: of rows that name none: the issuer of Midflight's own tokens.
        store: notes which tokens were exchanged.
        clock: time.
        documents: fetches keys; default: over the network. Not those of issuers that name
            authorities of their own.
    """
    fetching = HttpsDocuments() if documents is None else documents
    return JobFederation(
        issuers=[_issuer(section, audience) for section in sections],
        tokens=tokens,
        key_sets=key_sets(
            {section.url: section for section in sections}, documents=fetching, clock=clock
        ),
        store=store,
        clock=clock,
    )


def _issuer(section: IssuerSection, audience: str) -> Issuer:
    return Issuer(
        name=section.name,
        kind=section.kind,
        audience=section.audience or audience,
        algorithms=section.algorithms,
        rules=tuple(rule.rule() for rule in section.rules),
        review=_review(section),
        keys=key_source(section.url, section),
    )


def _review(section: IssuerSection) -> TokenReview | None:
    asked = section.token_review
    if asked is None:
        return None
    return KubernetesTokenReview(server=asked.server, ca=asked.ca, token_file=asked.token_file)


__all__ = ["job_federation"]
