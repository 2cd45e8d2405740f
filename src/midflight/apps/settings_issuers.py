"""Whoever signs tokens that are believed here: where its keys are, and how they may sign.

What its tokens are good for is for those who add that: `settings_ci.py`, `settings_oauth.py`.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from midflight.apps.settings_sections import ExistingFile, Section
from midflight.domain.errors import Malformed
from midflight.domain.value import JSONObject
from midflight.wire import json

_MAX_FILE = 1_048_576

Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]


class KeyedIssuer(Section):
    """An issuer and its keys. Who inherits has an `issuer`, which is checked as the URLs are."""

    # Where its keys are. Default: as its metadata (.well-known/openid-configuration) says.
    jwks_uri: str | None = None
    discovery: str | None = None
    # Its key set as a file, for one that cannot be asked.
    jwks_file: ExistingFile | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256",)
    # Whether it may be on this machine or in a private network.
    allow_private: bool = False
    # PEM file of the authorities of its certificate; default: the system's.
    ca: ExistingFile | None = None

    @field_validator("issuer", "jwks_uri", "discovery", check_fields=False)
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise ValueError("is not an https URL without credentials and fragment")
        return value

    @field_validator("jwks_file")
    @classmethod
    def _check_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_key_set(value)
        return value

    @field_validator("ca")
    @classmethod
    def _check_authorities(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except (OSError, ssl.SSLError):
                raise ValueError("holds no certificates of authorities") from None
        return value

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if sum(one is not None for one in (self.jwks_uri, self.discovery, self.jwks_file)) > 1:
            raise ValueError("give one of jwks_uri, discovery and jwks_file")
        if self.ca is not None and self.jwks_file is not None:
            raise ValueError("has a ca, and nothing is fetched where there is a jwks_file")
        return self

    def fixed(self) -> JSONObject | None:
        """The key set of `jwks_file`, or None."""
        return None if self.jwks_file is None else read_key_set(self.jwks_file)


def read_key_set(place: Path) -> JSONObject:
    """A key set from a file.

    Raises:
        ValueError: unreadable, too large, or no key set.
    """
    try:
        with place.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
        value = json.as_object(json.decode(raw)) if len(raw) <= _MAX_FILE else None
    except (OSError, Malformed):
        value = None
    if value is None or not isinstance(value.get("keys"), list):
        raise ValueError('holds no key set such as {"keys": [...]}')
    return value


__all__ = ["Algorithm", "KeyedIssuer", "read_key_set"]
