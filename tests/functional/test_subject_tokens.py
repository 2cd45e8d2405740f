"""Whom a plane names to another authorization server: a lease's workload, or itself for lists."""

from __future__ import annotations

from pathlib import Path

import jwt as pyjwt
import msgspec
from control_kit import WORKLOAD, running_plane
from credential_kit import lease

LOGIN = "https://login.example.org"


def test_a_lease_without_a_workload_is_asked_for_as_midflight_itself(tmp_path: Path) -> None:
    with running_plane(tmp_path) as running:
        running.register()
        running.client.post(
            "/v1/credentials",
            name="crm",
            backend="oauth",
            upstreams=["desk"],
            scopes=["read"],
            settings={
                "issuer": LOGIN,
                "client_id": "midflight",
                "grant": "token_exchange",
                "resource": "https://crm.example.org",
            },
            injections=[{"placement": "env", "name": "TOKEN", "template": "{token}"}],
        )
        plane = running.plane
        ours = msgspec.structs.replace(lease(scopes=("read",)), credential="crm", run="")
        keys = {key["kid"]: key for key in plane.keys.published()["keys"]}

        async def token(workload: str) -> str:
            asked = msgspec.structs.replace(ours, workload=workload)
            return await plane._subject_token(asked)

        listed = running.do(lambda: token(""))
        key = pyjwt.PyJWK(keys[pyjwt.get_unverified_header(listed)["kid"]])
        claims = pyjwt.decode(listed, key, algorithms=["ES256"], audience=LOGIN)
        assert claims["sub"] == claims["iss"] == plane.settings.issuer

        said = pyjwt.decode(
            running.do(lambda: token(WORKLOAD)), options={"verify_signature": False}
        )
        assert (said["sub"], said["aud"]) == (WORKLOAD, LOGIN)
