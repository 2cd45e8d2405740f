"""Whom an event of another transmitter reaches: the narrowest that its row lists, or nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.shared_receiver import Reachable, scopes_of, session_of
from midflight.domain.subject_identifiers import (
    Complex,
    Email,
    IssSub,
    JwtId,
    Opaque,
    Subject,
    covers,
)

IDP, OURS = "https://idp.example", "https://ours.example"
BOT = "spiffe://example.org/bots/one"
ANN = Scope(kind=ScopeKind.OWNER, id="ann")
CRM = Scope(kind=ScopeKind.CREDENTIAL, id="crm")
BOT_SCOPE = Scope(kind=ScopeKind.WORKLOAD, id=BOT)
ROW = Reachable(
    issuer=IDP,
    own_issuer=OURS,
    workloads=("spiffe://example.org/bots/*", "spiffe://example.org/agents/a"),
    names={"email ann@example.org": ANN, "opaque dev": CRM, "sub dev": CRM},
    tokens=True,
)


@pytest.mark.parametrize(
    ("subject", "scopes"),
    [
        (IssSub(iss=IDP, sub=BOT), [BOT_SCOPE]),
        (IssSub(iss=OURS, sub=BOT), [BOT_SCOPE]),
        (IssSub(iss="https://other.example", sub=BOT), []),
        (IssSub(iss=OURS, sub="dev"), []),
        (IssSub(iss=IDP, sub="dev"), [CRM]),
        (IssSub(iss=IDP, sub="spiffe://example.org/bots"), []),
        (IssSub(iss=IDP, sub="spiffe://example.org/agents/ab"), []),
        (Email(email="ann@example.org"), [ANN]),
        (Opaque(id="dev"), [CRM]),
        (JwtId(iss=OURS, jti="t"), [Scope(kind=ScopeKind.TOKEN, id="t")]),
        (JwtId(iss=IDP, jti="t"), []),
        (Complex(members={"tenant": Email(email="ann@example.org")}), []),
        (
            Complex(members={"session": Opaque(id="dev"), "user": IssSub(iss=IDP, sub=BOT)}),
            [CRM],
        ),
        (
            Complex(members={"user": IssSub(iss=IDP, sub=BOT), "device": Opaque(id="dev")}),
            [BOT_SCOPE, CRM],
        ),
    ],
    ids=str,
)
def test_a_subject_stands_for_what_the_row_lists(subject: Subject, scopes: list[Scope]) -> None:
    assert list(scopes_of(subject, ROW)) == scopes


NAMES = st.sampled_from([BOT, "dev", "ann@example.org", "everything", "", "example.org", "*"])
SIMPLE = st.one_of(
    st.builds(IssSub, iss=st.sampled_from([IDP, OURS, ""]), sub=NAMES),
    st.builds(Opaque, id=NAMES),
    st.builds(Email, email=NAMES),
    st.builds(JwtId, iss=st.sampled_from([IDP, OURS]), jti=NAMES),
)
SUBJECTS = SIMPLE | st.builds(
    Complex,
    members=st.dictionaries(
        st.sampled_from(["user", "session", "tenant", "device", "application", "x"]), SIMPLE
    ),
)


@given(subject=SUBJECTS)
def test_no_subject_reaches_more_than_the_row_lists(subject: Subject) -> None:
    for scope in scopes_of(subject, ROW):
        assert scope.kind is ScopeKind.TOKEN or scope in (ANN, CRM, BOT_SCOPE)


def test_a_row_without_anything_reaches_nobody() -> None:
    empty = Reachable(issuer=IDP, own_issuer=OURS)
    assert scopes_of(IssSub(iss=IDP, sub=BOT), empty) == []
    assert scopes_of(JwtId(iss=OURS, jti="t"), empty) == []


def test_a_session_is_known_by_its_opaque_id() -> None:
    assert session_of(Complex(members={"session": Opaque(id="run_1")})) == "run_1"
    assert session_of(Complex(members={"session": Email(email="a@b")})) is None
    assert session_of(Opaque(id="run_1")) is None


def test_who_leaves_out_one_user_hears_of_the_tenant() -> None:
    user, tenant = IssSub(iss=IDP, sub="u"), Opaque(id="t")
    left_out = Complex(members={"user": user})
    assert covers(left_out, Complex(members={"user": user, "tenant": tenant}))
    assert not covers(left_out, Complex(members={"tenant": tenant}))
    assert not covers(
        Complex(members={"user": user, "tenant": tenant}),
        Complex(members={"user": user, "tenant": Opaque(id="other")}),
    )
    assert not covers(left_out, user)
    assert covers(user, user)
