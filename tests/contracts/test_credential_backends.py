"""What every credential backend promises; `services/ports/credential_backend.py` says it in words.

One server a kind, started once for all tests. A kind that cannot do something is held to saying so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from backend_kinds import ASKING
from backend_kit import KINDS, Kind, Subject

from midflight.domain.errors import Conflict, MidflightError, Misconfigured
from midflight.domain.lease import Injection, Placement, Revocability
from midflight.domain.placing import problems
from midflight.services.ports.credential_backend import CredentialBackend

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, id=kind.name, marks=kind.marks) for kind in (*KINDS, *ASKING)],
)
async def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Subject]:
    kind: Kind = request.param
    async with kind.open(tmp_path_factory.mktemp(kind.name)) as opened:
        yield opened


@pytest.fixture
async def backend(subject: Subject) -> AsyncIterator[CredentialBackend]:
    made = subject.backend()
    yield made
    await made.close()


async def test_a_check_says_what_it_can_and_leaves_no_trace(
    subject: Subject, backend: CredentialBackend
) -> None:
    before = await backend.names()
    assert len(await backend.check()) > 10
    assert await backend.names() == before


async def test_what_is_issued_lets_in(subject: Subject, backend: CredentialBackend) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    assert await subject.works(issued.secret)
    await backend.revoke(lease)


async def test_what_is_issued_ends_with_the_lease_or_says_that_it_never_does(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease(ttl_s=300)
    issued = await backend.issue(lease)
    if backend.revocability is Revocability.NEVER:
        assert issued.secret.expires_at is None
    else:
        assert issued.secret.expires_at is not None
        assert issued.secret.expires_at <= lease.expires_at + 60
    await backend.revoke(lease)


async def test_its_fields_are_known_before_any_is_issued(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    await backend.revoke(lease)
    assert backend.fields == issued.secret.fields.keys()
    unknown = Injection(placement=Placement.ENV, name="X", template="{no_such_field}")
    assert problems([unknown], backend.fields)


async def test_nothing_of_a_secret_is_in_its_repr_or_handle(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    for name, value in issued.secret.fields.items():
        if name in ("password", "token", "private_key", "url", "secret_access_key"):
            assert value not in repr(issued)
            assert value not in issued.handle
    await backend.revoke(lease)


async def test_a_narrow_lease_cannot_do_what_a_wide_one_can(
    subject: Subject, backend: CredentialBackend
) -> None:
    if subject.can is None:
        assert not subject.setup.credential.scopes or not subject.narrow
        return
    narrow, wide = subject.lease(subject.narrow), subject.lease(subject.wide)
    a, b = await backend.issue(narrow), await backend.issue(wide)
    assert await subject.can(b.secret, subject.wide)
    assert not await subject.can(a.secret, subject.wide)
    assert await subject.can(a.secret, subject.narrow)
    await backend.revoke(narrow)
    await backend.revoke(wide)


async def test_scopes_that_the_credential_has_not_are_refused(
    subject: Subject, backend: CredentialBackend
) -> None:
    with pytest.raises(MidflightError):
        await backend.issue(subject.lease("no-such-scope"))


async def test_what_is_revoked_lets_nobody_in(subject: Subject, backend: CredentialBackend) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    await backend.revoke(lease)
    assert await subject.works(issued.secret) is not subject.revokes


async def test_what_was_opened_dies_with_the_lease(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    if subject.opened is None:
        await backend.revoke(lease)
        return
    session = await subject.opened(issued.secret)
    assert await session.alive()
    await backend.revoke(lease)
    assert not await session.alive()
    await session.close()


async def test_revoking_twice_or_what_never_was_is_success(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    await backend.revoke(lease)
    await backend.issue(lease)
    await backend.revoke(lease)
    await backend.revoke(lease)


async def test_a_fresh_backend_revokes_what_another_issued(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    after = subject.backend()
    # As after a crash before the handle was stored, and after one behind that.
    await after.revoke(lease)
    await after.revoke(msgspec.structs.replace(lease, handle=issued.handle))
    assert await subject.works(issued.secret) is not (subject.revokes and subject.found_again)
    await after.close()


async def test_issuing_again_under_one_name_replaces(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    first = await backend.issue(lease)
    second = await backend.issue(lease)
    assert await subject.works(second.secret)
    if subject.replaces:
        assert not await subject.works(first.secret)
    await backend.revoke(lease)
    if subject.revokes:
        assert not await subject.works(second.secret)


async def test_what_has_expired_lets_nobody_in(
    subject: Subject, backend: CredentialBackend
) -> None:
    if subject.end_by_itself is None:
        return
    lease = subject.lease()
    issued = await backend.issue(lease)
    await subject.end_by_itself(lease.external)
    assert not await subject.works(issued.secret)
    await backend.revoke(lease)


async def test_a_renewed_lease_lasts_and_a_gone_one_is_not_renewed(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    lease = msgspec.structs.replace(lease, handle=issued.handle)
    later = lease.expires_at + 300
    if subject.renews:
        assert await backend.renew(lease, expires_at=later) <= later
        assert await subject.works(issued.secret)
        await backend.revoke(lease)
    with pytest.raises(Conflict):
        await backend.renew(lease, expires_at=later)


async def test_names_are_what_exists_and_can_be_discarded(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    assert (lease.external in await backend.names()) is subject.lists
    await backend.discard(lease.external)
    await backend.discard(lease.external)
    assert lease.external not in await backend.names()
    assert await subject.works(issued.secret) is not (subject.revokes and subject.found_again)


async def test_settings_that_nobody_knows_are_refused_by_name(subject: Subject) -> None:
    changed: dict[str, Any] = {**subject.setup.credential.settings, "no_such_setting": 1}
    wrong = msgspec.structs.replace(subject.setup.credential, settings=changed)
    if subject.setup.credential.backend == "memory":
        return
    with pytest.raises(Misconfigured, match="no_such_setting"):
        subject.backend(credential=wrong)


async def test_what_a_scope_can_do_is_declared_for_the_broker_and_disturbs_no_backend(
    subject: Subject,
) -> None:
    source = subject.setup.credential
    declared = {**source.settings, "scope_effects": dict.fromkeys(source.scopes, "read")}
    if source.scopes:
        one = subject.backend(credential=msgspec.structs.replace(source, settings=declared))
        await one.close()


async def test_revoking_says_until_when_lives_what_it_does_not_end(
    subject: Subject, backend: CredentialBackend
) -> None:
    lease = subject.lease()
    issued = await backend.issue(lease)
    active = msgspec.structs.replace(lease, handle=issued.handle)
    until = await backend.revoke(active)
    works = await subject.works(issued.secret)
    if until is None:
        assert not works or backend.revocability is Revocability.NEVER
    else:
        assert backend.revocability is Revocability.AT_EXPIRY
        assert issued.secret.expires_at is not None
        assert until >= issued.secret.expires_at
        # Another process, which has the row alone, says no less.
        after = subject.backend()
        assert (await after.revoke(active) or 0) >= until
        assert (await after.revoke(lease) or 0) >= issued.secret.expires_at
        await after.close()
