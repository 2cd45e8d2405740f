"""What of a leased secret goes where: templates filled, certificates taken, secrets to look for.

A backend says what it likes, so what it gave is looked at before it is placed anywhere; what cannot
be placed is a refusal that names the field and shows nothing. Above: `injection.py`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from midflight.domain import placing
from midflight.domain.errors import LeaseUnavailable
from midflight.domain.lease import Injection, Placement
from midflight.services.ports.injection import ClientCertificate
from midflight.services.ports.leases import Held

PUBLIC_FIELDS = frozenset(
    {
        "access_key_id",
        "ca_chain",
        "certificate",
        "database",
        "host",
        "issuing_ca",
        "port",
        "username",
    }
)
"""Fields of a secret that are none: they may come back in what an upstream says."""
_RENDERED = frozenset({Placement.HEADER, Placement.QUERY, Placement.ENV, Placement.ARGUMENT})


def rendered(held: Held, rule: Injection) -> str:
    """The template with the fields of the secret, and `{basic}` of its user and password."""
    fields = held.secret.fields

    def field(name: str) -> str:
        if name == placing.BASIC and name not in fields and {"username", "password"} <= set(fields):
            pair = f"{fields['username']}:{fields['password']}"
            return base64.b64encode(pair.encode("utf-8", "surrogatepass")).decode("ascii")
        if name not in fields:
            raise LeaseUnavailable(
                f"Credential {held.credential.name} has no field {name!r}, which its "
                f"{rule.placement.value} {rule.name} needs.",
                hint=f"Its fields are {', '.join(sorted(fields))}.",
            )
        return fields[name]

    return _placeable(placing.filled(rule.template, field), held)


def hidden_of(held: Held) -> frozenset[str]:
    """Every text that must not come back: what is secret, and headers that are made of it."""
    fields = held.secret.fields
    hidden = {text for name, text in fields.items() if name not in PUBLIC_FIELDS}
    hidden |= {
        rendered(held, rule)
        for rule in held.credential.injections
        if rule.placement in _RENDERED
        and not PUBLIC_FIELDS.issuperset(placing.fields_of(rule.template))
    }
    return frozenset(text for text in hidden if text)


def certificate_of(held: Held) -> ClientCertificate:
    """A client certificate for TLS. `LeaseUnavailable` if the secret holds none."""
    fields = held.secret.fields
    chain, key = fields.get("certificate", ""), fields.get("private_key", "")
    if not chain or not key:
        raise LeaseUnavailable(
            f"Credential {held.credential.name} has no certificate and private_key for mtls.",
            hint="Use a backend that issues certificates.",
        )
    whole = "\n".join(part.strip() for part in (chain, fields.get("ca_chain", "")) if part)
    for text in (whole, key):
        _placeable(text, held)
    digest = hashlib.sha256(whole.encode()).hexdigest()
    return ClientCertificate(serial=digest[:32], chain=whole.encode(), key=key.encode())


def _placeable(text: str, held: Held) -> str:
    # Encoding it would fail with an error that holds all of it.
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise LeaseUnavailable(
            f"Credential {held.credential.name} holds characters that cannot be placed.",
            hint="Its backend gave something that is no text.",
        )
    return text


def refuse_overlaps(held: Sequence[Held]) -> None:
    """`LeaseUnavailable` if two would be put into one place: only one of them would get there."""
    taken: dict[tuple[str, str], str] = {}
    for one in held:
        for place in placing.places(one.credential.injections):
            before = taken.setdefault(place, one.credential.name)
            if before != one.credential.name:
                raise LeaseUnavailable(
                    f"Credentials {before} and {one.credential.name} are both placed into "
                    f"{placing.named(place)}.",
                    hint="Bind one of them to another upstream, or place it elsewhere.",
                )


__all__ = ["PUBLIC_FIELDS", "certificate_of", "hidden_of", "refuse_overlaps", "rendered"]
