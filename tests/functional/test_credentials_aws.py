"""The AWS backend and its signatures, against a stand-in that checks signatures and IAM policies.

The stand-in (moto) reads no `Condition`, so that a session policy ends with the lease, and that a
deny policy hits one session alone, is shown by what is sent and not by what follows from it.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any
from urllib.parse import parse_qs

import httpx2
import msgspec
import pytest
from counterpart_kit import in_child, moto
from credential_kit import MARKER, Secrets, credential, lease, server
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.aws import AwsBackend
from midflight.adapters.credentials.aws_answers import elements
from midflight.adapters.credentials.aws_policies import session_policy
from midflight.adapters.credentials.sigv4 import SigV4Signer
from midflight.domain.errors import Conflict, Forbidden, Malformed, Misconfigured, Unavailable
from midflight.domain.lease import Revocability, Secret

pytestmark = pytest.mark.anyio

ROLE = "arn:aws:iam::123456789012:role/agents/reports"
READ = "s3:GetObject@arn:aws:s3:::reports/*"
WRITE = "s3:PutObject@arn:aws:s3:::reports/*"

SETUP = """
import boto3, json, sys
url = sys.argv[1]
one = dict(endpoint_url=url, region_name="eu-central-1", aws_access_key_id="x",
           aws_secret_access_key="y")
iam, s3 = boto3.client("iam", **one), boto3.client("s3", **one)
allow = lambda *actions: json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": list(actions), "Resource": "*"}]})
iam.create_user(UserName="midflight")
iam.put_user_policy(UserName="midflight", PolicyName="leases", PolicyDocument=allow(
    "sts:AssumeRole", "iam:PutRolePolicy", "iam:ListRolePolicies", "iam:DeleteRolePolicy"))
key = iam.create_access_key(UserName="midflight")["AccessKey"]
trust = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]})
iam.create_role(RoleName="reports", Path="/agents/", AssumeRolePolicyDocument=trust)
iam.put_role_policy(RoleName="reports", PolicyName="read", PolicyDocument=allow("s3:GetObject"))
iam.put_role_policy(RoleName="reports", PolicyName="midflight-deny-1000-old",
                    PolicyDocument=allow("s3:ListAllMyBuckets"))
s3.create_bucket(Bucket="reports", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
s3.put_object(Bucket="reports", Key="q3.txt", Body=b"numbers")
print(json.dumps([key["AccessKeyId"], key["SecretAccessKey"]]))
"""


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, Secrets]]:
    with moto(tmp_path_factory.mktemp("moto")) as url:
        made = in_child(SETUP, url)
        assert made.returncode == 0, made.stderr
        key, secret = json.loads(made.stdout)
        # From here on every call needs a signature that holds and a policy that allows it.
        httpx2.post(f"{url}/moto-api/reset-auth", content=b"0", trust_env=False)
        yield url, Secrets({"env:AWS_KEY": key, "env:AWS_SECRET": secret})


def settings(url: str, **more: Any) -> dict[str, Any]:
    return {
        "role_arn": ROLE,
        "region": "eu-central-1",
        "service": "s3",
        "access_key_id": "env:AWS_KEY",
        "secret_access_key": "env:AWS_SECRET",
        "sts": url,
        "iam": url,
        **more,
    }


def backend(url: str, secrets: Secrets, **more: Any) -> AwsBackend:
    source = credential("aws", settings(url, **more), scopes=(READ, WRITE))
    return AwsBackend(source, references=secrets, clock=SystemClock())


@pytest.fixture
async def role(aws: tuple[str, Secrets]) -> AsyncGenerator[AwsBackend]:
    one = backend(*aws, revoke="deny-policy")
    yield one
    await one.close()


def send(signer: SigV4Signer, method: str, url: str, body: bytes = b"") -> httpx2.Response:
    headers: Sequence[tuple[str, str]] = [("Content-Type", "text/plain"), ("X-Trace", "1")]
    signed = signer.sign(method, url, headers, body)
    return httpx2.request(
        method, url, headers=[*headers, *signed], content=body, trust_env=False, timeout=10
    )


@pytest.mark.moto
async def test_the_gateway_signs_and_the_workload_holds_no_key(
    aws: tuple[str, Secrets], role: AwsBackend
) -> None:
    url, _ = aws
    assert "end by deny policy" in await role.check()
    issued = await role.issue(lease(scopes=(READ,)))
    assert issued.secret.expires_at is not None
    signer = SigV4Signer.of(issued.secret, scope="eu-central-1/s3")
    got = send(signer, "GET", f"{url}/reports/q3.txt")
    assert (got.status_code, got.content) == (200, b"numbers")
    # The role does not grant it.
    refused = send(signer, "PUT", f"{url}/reports/q4.txt", b"more")
    assert (refused.status_code, "AccessDenied" in refused.text) == (403, True)
    # A signature is over this request: its body and its path.
    wrong = {**issued.secret.fields, "secret_access_key": "w" * 40}
    forged = SigV4Signer.of(Secret(fields=wrong), scope="eu-central-1/s3")
    refused = send(forged, "GET", f"{url}/reports/q3.txt")
    assert (refused.status_code, "SignatureDoesNotMatch" in refused.text) == (403, True)
    for text in (repr(issued), repr(issued.secret), repr(signer)):
        assert issued.secret.fields["secret_access_key"] not in text
        assert issued.secret.fields["session_token"] not in text


@pytest.mark.moto
async def test_a_signature_fits_no_other_request(
    aws: tuple[str, Secrets], role: AwsBackend
) -> None:
    url, _ = aws
    issued = await role.issue(lease(scopes=(READ,)))
    signer = SigV4Signer.of(issued.secret, scope="eu-central-1/s3")
    signed = signer.sign("GET", f"{url}/reports/q3.txt", [], b"")
    other = httpx2.get(f"{url}/reports/other.txt", headers=list(signed), trust_env=False)
    assert (other.status_code, "SignatureDoesNotMatch" in other.text) == (403, True)


@pytest.mark.moto
async def test_wrong_keys_of_midflight_are_said_and_not_shown(aws: tuple[str, Secrets]) -> None:
    url, secrets = aws
    broken = Secrets({**secrets.table, "env:AWS_SECRET": MARKER})
    one = backend(url, broken)
    with pytest.raises(Misconfigured, match="SignatureDoesNotMatch") as refused:
        await one.issue(lease(scopes=(READ,)))
    assert MARKER not in str(refused.value) + repr(vars(one))
    await one.close()


@pytest.mark.moto
async def test_revoking_puts_one_deny_policy_and_clears_old_ones(
    aws: tuple[str, Secrets], role: AwsBackend
) -> None:
    asked = lease(scopes=(READ,))
    issued = await role.issue(asked)
    await role.revoke(asked)
    await role.revoke(asked)  # the broker calls until it succeeds
    present = (await role._iam({"Action": "ListRolePolicies", "RoleName": "reports"}))["member"]
    ours = [name for name in present if asked.external.removeprefix("midflight-") in name]
    assert len(ours) == 1
    assert "read" in present
    assert "midflight-deny-1000-old" not in present
    # The stand-in ignores conditions, so it denies every session of the role: enough to see that
    # the policy is one, and of the right role.
    signer = SigV4Signer.of(issued.secret, scope="eu-central-1/s3")
    assert send(signer, "GET", f"{aws[0]}/reports/q3.txt").status_code == 403
    await role._iam({"Action": "DeleteRolePolicy", "RoleName": "reports", "PolicyName": ours[0]})
    assert send(signer, "GET", f"{aws[0]}/reports/q3.txt").status_code == 200


@pytest.mark.moto
async def test_a_session_lives_longer_than_a_short_lease_and_that_is_said(
    aws: tuple[str, Secrets], role: AwsBackend
) -> None:
    asked = lease(scopes=(READ,), ttl_s=60)
    began = int(time.time())
    issued = await role.issue(asked)
    assert issued.secret.expires_at == asked.expires_at
    active = msgspec.structs.replace(asked, handle=issued.handle)
    by_expiry = backend(*aws)
    until = await by_expiry.revoke(active)
    assert until is not None
    # STS gives no session of less than 15 minutes; the row waits for that and not for the lease.
    assert began + 900 <= until <= began + 905
    assert (await by_expiry.revoke(asked) or 0) >= until  # nobody knows whether it was made
    signer = SigV4Signer.of(issued.secret, scope="eu-central-1/s3")
    assert send(signer, "GET", f"{aws[0]}/reports/q3.txt").status_code == 200
    await by_expiry.close()


@pytest.mark.moto
async def test_a_session_that_sts_refused_is_not_waited_for(aws: tuple[str, Secrets]) -> None:
    wrong = backend(aws[0], Secrets({"env:AWS_KEY": "AKIDNOBODY", "env:AWS_SECRET": MARKER}))
    asked = lease(scopes=(READ,))
    with pytest.raises(Misconfigured):
        await wrong.issue(asked)
    assert await wrong.revoke(asked) is None
    await wrong.close()


SESSION = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""


async def test_what_is_asked_of_sts_is_the_lease_and_no_more() -> None:
    secrets = Secrets({"env:AWS_KEY": "AKID", "env:AWS_SECRET": MARKER})
    with server(lambda _: (200, SESSION)) as (url, asked):
        one = backend(url, secrets, external_id="tenant-7")
        wanted = lease(scopes=(READ,), ttl_s=300)
        issued = await one.issue(wanted)
        assert issued.secret.expires_at == wanted.expires_at
        sent = {name: values[0] for name, values in parse_qs(asked[0].body.decode()).items()}
        assert sent["RoleSessionName"] == wanted.external
        assert sent["DurationSeconds"] == "900"
        assert sent["ExternalId"] == "tenant-7"
        (statement,) = json.loads(sent["Policy"])["Statement"]
        assert statement["Action"] == ["s3:GetObject"]
        assert statement["Resource"] == "arn:aws:s3:::reports/*"
        assert statement["Condition"]["DateLessThan"]["aws:CurrentTime"].endswith("Z")
        assert MARKER.encode() not in asked[0].body
        asked.clear()
        for scopes in (("s3:*@*",), (READ, "iam:PassRole@*"), ()):
            with pytest.raises(Forbidden):
                await one.issue(lease(scopes=scopes))
        await one.revoke(wanted)  # by expiry alone: nobody is asked
        assert asked == []
        with pytest.raises(Conflict):
            await one.renew(wanted, expires_at=wanted.expires_at + 60)
        assert one.revocability is Revocability.AT_EXPIRY
        assert list(await one.names()) == []
        await one.close()


@pytest.mark.parametrize("status", [200, 400, 403, 500])
async def test_nothing_that_a_server_echoes_is_repeated(status: int) -> None:
    secrets = Secrets({"env:AWS_KEY": "AKID", "env:AWS_SECRET": MARKER})
    body = f"<E><Code>{MARKER}</Code><Message>{MARKER}</Message></E>".encode()
    with server(lambda _: (status, body)) as (url, _):
        one = backend(url, secrets, revoke="deny-policy")
        for doing in (one.check(), one.issue(lease(scopes=(READ,)))):
            with pytest.raises((Unavailable, Misconfigured)) as refused:
                await doing
            assert MARKER not in f"{refused.value!r} {refused.value} {refused.value.__context__}"
        await one.close()


async def test_a_caller_cannot_have_its_own_amazon_headers_signed_as_ours() -> None:
    signer = SigV4Signer(
        access_key_id="AKID", secret_access_key="s", session_token="t", scope="eu-west-1/sqs"
    )
    theirs = [
        ("X-Amz-Security-Token", "theirs"),
        ("Authorization", "theirs"),
        ("X-Amz-Target", "A"),
    ]
    signed = dict(signer.sign("POST", "https://sqs.example/", theirs, b"{}"))
    assert signed["X-Amz-Security-Token"] == "t"
    assert "theirs" not in str(signed)
    assert "x-amz-target" in signed["Authorization"]


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda t: f"<a>{t}</a>".encode()))
def test_any_bytes_are_elements_or_a_clean_error(raw: bytes) -> None:
    try:
        found = elements(raw)
    except Malformed:
        return
    assert all(isinstance(text, str) for texts in found.values() for text in texts)


def test_a_document_type_is_not_read() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    with pytest.raises(Malformed):
        elements(bomb)


@given(st.lists(st.sampled_from([READ, WRITE, "sqs:*@*", "sqs:Send@arn:aws:sqs:::q"]), unique=True))
def test_a_session_policy_allows_what_the_scopes_say_and_nothing_else(scopes: list[str]) -> None:
    policy = json.loads(session_policy(scopes, until=2_000_000_000))
    allowed = {
        f"{action}@{statement['Resource']}"
        for statement in policy["Statement"]
        for action in statement["Action"]
        if statement["Effect"] == "Allow" and statement["Condition"]
    }
    assert allowed == set(scopes)


def test_settings_are_refused_with_all_their_problems() -> None:
    source = credential(
        "aws",
        {**settings("http://sts.example"), "secret_access_key": MARKER, "region": "x", "more": 1},
        scopes=("everything",),
    )
    with pytest.raises(Misconfigured) as refused:
        AwsBackend(source, references=Secrets({}), clock=SystemClock())
    text = str(refused.value)
    for words in ("region", "secret_access_key", "sts", "iam", "more", "everything"):
        assert words in text
    assert MARKER not in text
