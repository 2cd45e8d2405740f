"""Signs requests as AWS wants it (Signature Version 4), in the gateway.

The workload never holds a key: what it sends is signed when it leaves. The signature is made by
`botocore` (extra `aws`), which is imported when the first signer is made. Implements
`RequestSigner` of `services/ports/injection.py`.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

from midflight.domain.errors import Misconfigured
from midflight.domain.lease import Secret

# What a caller may have put there itself is not what is signed with.
_OWN = ("x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "x-amz-signature")
_SIGNED = ("content-type", "content-md5", "x-amz-")


class SigV4Signer:
    """Signs with one set of keys, for one service in one region."""

    def __init__(
        self, *, access_key_id: str, secret_access_key: str, session_token: str, scope: str
    ) -> None:
        """`scope` is `REGION/SERVICE`, such as `eu-central-1/sqs`.

        Raises:
            Misconfigured: `botocore` is not installed.
        """
        auth, credentials, request = (
            _botocore(name) for name in ("auth", "credentials", "awsrequest")
        )
        # At the level of debugging it logs all that it signs, the session's token included.
        logging.getLogger("botocore.auth").setLevel(logging.WARNING)
        region, _, service = scope.partition("/")
        keys = credentials.Credentials(access_key_id, secret_access_key, session_token or None)
        # S3 alone signs paths as they are, and names the digest of the body in a header.
        kind = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
        self._auth, self._request, self._scope = kind(keys, service, region), request, scope

    @classmethod
    def of(cls, secret: Secret, *, scope: str) -> SigV4Signer:
        """With the keys of a lease from `aws.py`. `Misconfigured` if they are no such keys."""
        try:
            key, private = secret.fields["access_key_id"], secret.fields["secret_access_key"]
        except KeyError:
            raise Misconfigured(
                "A credential that is no AWS key cannot sign requests to AWS.",
                hint="Use the placement sigv4 with credentials of the backend aws.",
            ) from None
        token = secret.fields.get("session_token", "")
        return cls(access_key_id=key, secret_access_key=private, session_token=token, scope=scope)

    def sign(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Sequence[tuple[str, str]]:
        """`Authorization`, `X-Amz-Date` and what goes with them, over this method, URL and body.

        Of the request's own headers those are signed that AWS demands: the type of the content and
        what begins with `x-amz-`. Others may be changed on the way.
        """
        signed = {
            name: value
            for name, value in headers
            if name.lower().startswith(_SIGNED) and name.lower() not in _OWN
        }
        request: Any = self._request.AWSRequest(method=method, url=url, data=body, headers=signed)
        self._auth.add_auth(request)
        return [(name, value) for name, value in request.headers.items() if name not in signed]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(scope={self._scope!r})"


def _botocore(module: str) -> Any:
    try:
        return importlib.import_module(f"botocore.{module}")
    except ImportError:
        raise Misconfigured(
            "Requests to AWS cannot be signed, because botocore is not installed.",
            hint="Install midflight[aws].",
        ) from None


__all__ = ["SigV4Signer"]
