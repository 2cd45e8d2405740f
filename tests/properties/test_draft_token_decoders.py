"""Transaction tokens, their contexts, identity assertions: anything is read whole or refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_kit import DOMAIN, ISSUER, NOW, WORKLOAD, Key, sealed

from midflight.domain import narrowing, scopes
from midflight.domain.authorization import is_person_name
from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.narrowing import Narrowing
from midflight.domain.traits import Effect
from midflight.wire.oauth.identity_assertions import verify_identity_assertion
from midflight.wire.tokens import (
    transaction_claims,
    transaction_context,
    verify_transaction_token,
)

KEY = Key()
JWKS = {"keys": [{**KEY.public_jwk, "kid": "k1", "alg": "ES256", "use": "sig"}]}
PROVIDER = "https://login.example.test"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
any_text = st.text(max_size=300) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1"))


def transaction(text: str) -> Any:
    return verify_transaction_token(
        text, jwks=JWKS, issuer=ISSUER, trust_domain_name=DOMAIN, now=NOW
    )


def identity(text: str) -> Any:
    return verify_identity_assertion(
        text,
        issuer=PROVIDER,
        audience=ISSUER,
        algorithms=("ES256",),
        tenant=None,
        jwks=JWKS,
        now=NOW,
    )


def signed(kind: str, claims: Any) -> str:
    head = json.dumps({"alg": "ES256", "kid": "k1", "typ": kind}).encode()
    return sealed(head, json.dumps(claims).encode(), KEY.sign)


def made(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "trust_domain_name": DOMAIN,
        "workload": WORKLOAD,
        "token": "tok_1",
        "run": "run_1",
        "issued_at": NOW,
        "lifetime_s": 300,
        "scope": ("mcp",),
        "actors": (WORKLOAD,),
        "details": {"a": 1},
        "context": {},
    }
    return transaction_claims(**{**values, **changes})[1]


def asserted(**changes: Any) -> dict[str, Any]:
    return {
        "iss": PROVIDER,
        "sub": "somebody",
        "aud": ISSUER,
        "client_id": "client",
        "jti": "one",
        "iat": NOW,
        "exp": NOW + 300,
        **changes,
    }


def test_what_is_bent_below_passes_when_it_is_not() -> None:
    assert transaction(signed("txntoken+jwt", made())).details == {"a": 1}
    assert identity(signed("oauth-id-jag+jwt", asserted())).person == "somebody"


@given(any_text)
def test_any_text_as_a_token(text: str) -> None:
    for door in (transaction, identity):
        with pytest.raises(Unauthenticated):
            door(text)


@given(st.sampled_from(sorted(made())) | st.text(max_size=8), json_values)
def test_any_claim_of_a_transaction_that_is_signed(name: str, value: Any) -> None:
    claims = {**made(), name: value}
    try:
        found = transaction(signed("txntoken+jwt", claims))
    except Unauthenticated:
        return
    assert claims.keys() == made().keys() | {name}
    assert name in {*made(), "rctx"}
    assert (found.workload, found.actors) == (claims["sub"], (claims["act"]["sub"],))


@given(
    st.sampled_from(
        (
            *asserted(),
            *("resource", "scope", "cnf", "act", "tenant", "aud_tenant", "authorization_details"),
        )
    ),
    json_values,
)
def test_any_claim_of_an_assertion_that_is_signed(name: str, value: Any) -> None:
    try:
        found = identity(signed("oauth-id-jag+jwt", asserted(**{name: value})))
    except Unauthenticated:
        return
    assert name not in {"act", "tenant", "aud_tenant", "authorization_details"}
    assert is_person_name(found.person)
    assert found.resources is None or all(isinstance(one, str) for one in found.resources)
    assert name != "cnf"  # nothing random is a thumbprint


@given(any_text | json_values.map(json.dumps))
def test_any_text_as_a_context(text: str) -> None:
    try:
        found = transaction_context(text)
    except Malformed:
        return
    assert type(found) is dict
    assert json.loads(text) == found
    # What is taken can be signed and is read as it was.
    token = signed("txntoken+jwt", made(details=found))
    assert transaction(token).details == found


@given(
    st.none() | st.frozensets(st.sampled_from(("git", "git/log", "git/push", "mail", "mail/send"))),
    st.none() | st.frozensets(st.sampled_from(list(Effect))),
    st.lists(
        st.sampled_from(("mcp", "mcp:git", "mcp:git/log", "mcp:mail", "effect:read")),
        min_size=1,
    ),
)
def test_what_a_narrowed_run_has_is_never_more_than_its_narrowing(
    only: frozenset[str] | None, effects: frozenset[Effect] | None, asked: list[str]
) -> None:
    left = Narrowing(only=only, effects=effects)
    held = scopes.scopes_within(left)
    if held is None:
        assert left.leaves_all
        return
    if held:
        assert scopes.narrowing(held) == left
    else:
        assert frozenset() in {only, effects}
    with contextlib.suppress(ValueError):
        wanted = scopes.scopes_of(" ".join(asked))
        if not scopes.beyond(held, wanted):
            within = scopes.narrowing(wanted)
            assert not narrowing.beyond(left, within)
            assert left.only is None or within.only is not None
            assert left.effects is None or within.effects is not None
