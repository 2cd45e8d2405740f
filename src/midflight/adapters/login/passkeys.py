"""Passkeys by the library `webauthn`: what it is asked to check, and nothing of its own words out.

Attestation is neither asked for nor believed: which make an authenticator is matters to nobody
here, that a person was verified by it does. What the library says of a bad response is not told.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import Any

from webauthn import (
    base64url_to_bytes,
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import bytes_to_base64url, parse_authentication_credential_json
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.value import JSONObject
from midflight.services.ports.passkeys import NewPasskey
from midflight.wire import json

MAX_RESPONSE = 16_384
TIMEOUT_MS = 120_000
_ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
# What its parsers let through besides their own errors, on bytes that are made to trip them.
_BAD = (WebAuthnException, ValueError, KeyError, TypeError, binascii.Error, AttributeError)


class WebauthnPasskeys:
    """`Passkeys` for one relying party."""

    def __init__(self, *, host: str, origin: str) -> None:
        """`host` is the relying party id, `origin` the only one that responses may come from."""
        self._host = host
        self._origin = origin

    def creation(
        self, *, account: str, handle: bytes, challenge: bytes, known: Sequence[str]
    ) -> JSONObject:
        """See `Passkeys.creation`."""
        options = generate_registration_options(
            rp_id=self._host,
            rp_name="Midflight",
            user_id=handle,
            user_name=account,
            user_display_name=account,
            challenge=challenge,
            timeout=TIMEOUT_MS,
            supported_pub_key_algs=_ALGORITHMS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(known),
        )
        return _plain(options)

    def created(self, response: str, *, challenge: bytes) -> NewPasskey:
        """See `Passkeys.created`."""
        try:
            made = verify_registration_response(
                credential=_decoded(response),
                expected_challenge=challenge,
                expected_rp_id=self._host,
                expected_origin=self._origin,
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
        except _BAD:
            raise Unauthenticated("This passkey cannot be taken.", hint="Try again.") from None
        return NewPasskey(
            id=bytes_to_base64url(made.credential_id),
            key=made.credential_public_key,
            count=made.sign_count,
        )

    def request(self, *, challenge: bytes, allowed: Sequence[str]) -> JSONObject:
        """See `Passkeys.request`."""
        options = generate_authentication_options(
            rp_id=self._host,
            challenge=challenge,
            timeout=TIMEOUT_MS,
            allow_credentials=_descriptors(allowed),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return _plain(options)

    def named(self, response: str) -> tuple[str, bytes | None]:
        """See `Passkeys.named`."""
        try:
            found = parse_authentication_credential_json(_decoded(response))
            return bytes_to_base64url(found.raw_id), found.response.user_handle
        except _BAD:
            raise _refused() from None

    def asserted(self, response: str, *, challenge: bytes, key: bytes, count: int) -> int:
        """See `Passkeys.asserted`."""
        try:
            found = verify_authentication_response(
                credential=_decoded(response),
                expected_challenge=challenge,
                expected_rp_id=self._host,
                expected_origin=self._origin,
                credential_public_key=key,
                credential_current_sign_count=count,
                require_user_verification=True,
            )
        except _BAD:
            raise _refused() from None
        return found.new_sign_count


def _refused() -> Unauthenticated:
    return Unauthenticated("The passkey did not prove it.", hint="Try again.")


def _decoded(response: str) -> dict[str, Any]:
    if len(response) > MAX_RESPONSE:
        raise ValueError("too long")
    try:
        found = json.decode(response.encode())
    except (Malformed, UnicodeEncodeError):
        raise ValueError("no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 -- one kind of error for whatever is no response
    return found


def _descriptors(ids: Sequence[str]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(each)) for each in ids]


def _plain(options: Any) -> JSONObject:
    found = json.decode(options_to_json(options).encode())
    assert isinstance(found, dict)
    return found


__all__ = ["WebauthnPasskeys"]
