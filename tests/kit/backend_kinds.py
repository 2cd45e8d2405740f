"""Kinds of backends that ask others: rows of the contract suite beside `backend_kit.KINDS`.

Each has its counterpart. GitHub is not here: of it there is a fake, in its functional test.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from backend_kit import CLOCK, Kind, Subject, credential, setup
from counterpart_kit import in_child, moto, openbao
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_public_identity,
)
from oidc_provider_kit import oidc_provider

from midflight.adapters.credentials.client_keys import PemSigner
from midflight.adapters.credentials.sigv4 import SigV4Signer
from midflight.apps.compose_backends import backend_makers
from midflight.domain.lease import Secret

MAKERS = backend_makers()


@asynccontextmanager
async def openbao_tokens(folder: Path) -> AsyncGenerator[Subject]:
    with openbao(folder) as server:
        for name in ("reader", "writer"):
            paths = [name] if name == "reader" else ["reader", "writer"]
            rules = [f'path "kv/data/{path}" {{ capabilities = ["read"] }}' for path in paths]
            server.call("POST", f"sys/policies/acl/{name}", {"policy": "\n".join(rules)})
        server.call("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        for name in ("reader", "writer"):
            server.call("POST", f"kv/data/{name}", {"data": {"a": "b"}})

        async def asks(secret: Secret, path: str) -> bool:
            token = secret.fields["token"]
            answer = await asyncio.to_thread(server.ask, "GET", path, token=token)
            return answer.status_code == 200

        async def works(secret: Secret) -> bool:
            return await asks(secret, "kv/data/reader")

        async def can(secret: Secret, scope: str) -> bool:
            return await asks(secret, f"kv/data/{scope}")

        async def end(name: str) -> None:
            for accessor in server.call("GET", "auth/token/accessors?list=true")["data"]["keys"]:
                path = "auth/token/lookup-accessor"
                found = server.call("POST", path, {"accessor": accessor})["data"]
                if (found["meta"] or {}).get("midflight_lease") == name:
                    server.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})

        auth = {"method": "token", "token": "sealed:root"}
        settings = {"url": server.url, "kind": "token", "auth": auth}
        yield Subject(
            maker=MAKERS["openbao"],
            setup=setup(credential("openbao", settings=settings), sealed={"root": server.token}),
            works=works,
            can=can,
            end_by_itself=end,
            narrow="reader",
            wide="writer",
        )


PREPARE_AWS = """
import boto3, json, sys
iam = boto3.client("iam", endpoint_url=sys.argv[1], region_name="eu-central-1",
                   aws_access_key_id="x", aws_secret_access_key="y")
allow = lambda action: json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": action, "Resource": "*"}]})
trust = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]})
iam.create_user(UserName="midflight")
iam.put_user_policy(UserName="midflight", PolicyName="p", PolicyDocument=allow("sts:AssumeRole"))
iam.create_role(RoleName="reports", AssumeRolePolicyDocument=trust)
key = iam.create_access_key(UserName="midflight")["AccessKey"]
print(json.dumps([key["AccessKeyId"], key["SecretAccessKey"]]))
"""


@asynccontextmanager
async def aws(folder: Path) -> AsyncGenerator[Subject]:
    with moto(folder) as url:
        made = in_child(PREPARE_AWS, url)
        assert made.returncode == 0, made.stderr
        key, private = json.loads(made.stdout)
        httpx2.post(f"{url}/moto-api/reset-auth", content=b"0", trust_env=False)

        async def works(secret: Secret) -> bool:
            signer = SigV4Signer.of(secret, scope="eu-central-1/sts")
            body = b"Action=GetCallerIdentity&Version=2011-06-15"
            kind = [("Content-Type", "application/x-www-form-urlencoded")]
            signed = signer.sign("POST", f"{url}/", kind, body)
            async with httpx2.AsyncClient(trust_env=False) as client:
                answer = await client.post(f"{url}/", content=body, headers=[*kind, *signed])
            return answer.status_code == 200

        settings = {
            "role_arn": "arn:aws:iam::123456789012:role/reports",
            "region": "eu-central-1",
            "access_key_id": "sealed:id",
            "secret_access_key": "sealed:key",
            "sts": url,
            "iam": url,
        }
        scopes = ("s3:GetObject@*", "s3:PutObject@*")
        yield Subject(
            maker=MAKERS["aws"],
            setup=setup(
                credential("aws", settings=settings, scopes=scopes),
                sealed={"id": key, "key": private},
            ),
            works=works,
            wide=scopes[0],
            lists=False,
            renews=False,
            revokes=False,
            replaces=False,
        )


@asynccontextmanager
async def oauth(folder: Path) -> AsyncGenerator[Subject]:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    client = {
        "client_id": "midflight",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [PemSigner(pem, named="client").public_jwk]},
    }
    other = {
        "client_id": "other",
        "client_secret": "other-secret",
        "token_endpoint_auth_method": "client_secret_basic",
    }
    nobody = {"issuer": "https://nobody.example", "jwks": {"keys": []}}
    with oidc_provider(folder, clients=[client, other], subjects=nobody) as issuer:

        async def introspected(secret: Secret) -> dict[str, Any]:
            async with httpx2.AsyncClient(trust_env=False) as asking:
                answer = await asking.post(
                    f"{issuer}/token/introspection",
                    data={"token": secret.fields["token"]},
                    auth=("other", "other-secret"),
                )
            return answer.json()

        async def works(secret: Secret) -> bool:
            return (await introspected(secret))["active"] is True

        async def can(secret: Secret, scope: str) -> bool:
            return scope in (await introspected(secret))["scope"].split()

        settings = {
            "issuer": issuer,
            "client_id": "midflight",
            "private_key": "sealed:client",
            "resource": "urn:test:opaque",
            "dpop": True,
        }
        scopes = ("reports:read", "reports:write")
        yield Subject(
            maker=MAKERS["oauth"],
            setup=setup(
                credential("oauth", settings=settings, scopes=scopes), sealed={"client": pem}
            ),
            works=works,
            can=can,
            narrow=scopes[0],
            wide=scopes[1],
            lists=False,
            renews=False,
            found_again=False,
        )


@asynccontextmanager
async def ssh(folder: Path) -> AsyncGenerator[Subject]:
    assert shutil.which("ssh-keygen"), "ssh-keygen is missing: install the OpenSSH client."
    authority = ed25519.Ed25519PrivateKey.generate()
    pem = authority.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()

    async def said(secret: Secret) -> list[str]:
        """What OpenSSH says of a certificate."""
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix="-cert.pub") as file:
            file.write(secret.fields["certificate"])
            file.flush()
            keygen = await asyncio.create_subprocess_exec(
                "ssh-keygen", "-L", "-f", file.name, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await keygen.communicate()
        return [line.strip() for line in output.decode().splitlines()]

    async def works(secret: Secret) -> bool:
        identity: Any = load_ssh_public_identity(secret.fields["certificate"].encode())
        identity.verify_cert_signature()
        now = CLOCK.now()
        ours = identity.signature_key().public_bytes_raw() == (
            authority.public_key().public_bytes_raw()
        )
        return ours and identity.valid_after <= now < identity.valid_before

    async def can(secret: Secret, scope: str) -> bool:
        lines = await said(secret)
        return scope in lines[lines.index("Principals:") : lines.index("Critical Options: (none)")]

    yield Subject(
        maker=MAKERS["ssh"],
        setup=setup(credential("ssh", settings={"ca_key": "sealed:ca"}), sealed={"ca": pem}),
        works=works,
        can=can,
        narrow="reader",
        wide="writer",
        lists=False,
        renews=False,
        revokes=False,
        replaces=False,
    )


ASKING: list[Kind] = [
    Kind("openbao", openbao_tokens, (pytest.mark.openbao,)),
    Kind("aws", aws, (pytest.mark.moto,)),
    Kind("oauth", oauth, (pytest.mark.oidc_provider,)),
    Kind("ssh", ssh),
]
