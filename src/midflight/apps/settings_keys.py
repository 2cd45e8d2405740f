"""`[keys]`: what holds the keys that sign, for each purpose. Secrets stand here by reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from midflight.apps.settings_sections import BASE, ExistingFile, HttpUrl, RelativePath, Section
from midflight.apps.settings_values import Reference, reference
from midflight.services.ports.keys import Purpose

_PREFIX = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_MOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}(?:/[A-Za-z0-9_-]{1,64})*\Z")
_NAMESPACE = re.compile(r"[A-Za-z0-9_/-]{0,128}\Z")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Backend(StrEnum):
    """What makes and holds private keys."""

    FILE = "file"
    PKCS11 = "pkcs11"
    TRANSIT = "transit"


def _by_reference(value: Any) -> Reference:
    if isinstance(value, Reference):
        return value
    if isinstance(value, str):
        found = reference(value, named="token", base=BASE.get()) if ":" in value else None
        if found is not None and found.secret and not found.scheme:
            return found
    raise ValueError("is not env:NAME or file:PATH; secrets are not written into settings")


SecretReference = Annotated[Reference, BeforeValidator(_by_reference)]


class Pkcs11(Section):
    """`[keys.pkcs11]`: one token of a hardware module."""

    module: RelativePath
    token: str = Field(min_length=1, max_length=32)
    pin: SecretReference


class Transit(Section):
    """`[keys.transit]`: the transit engine of OpenBao or Vault."""

    url: HttpUrl
    token: SecretReference
    mount: str = "transit"
    prefix: str = "midflight"
    namespace: str = ""
    # PEM file of the authorities that sign its certificate; default: the system's.
    ca: ExistingFile | None = None

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("is http and not loopback; its token would travel in the clear")
        return value

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for name, value, form in (
            ("mount", self.mount, _MOUNT),
            ("prefix", self.prefix, _PREFIX),
            ("namespace", self.namespace, _NAMESPACE),
        ):
            if form.match(value) is None:
                raise ValueError(f"has a {name} that is not a plain path")
        return self


class Keys(Section):
    """`[keys]`: which backend makes new keys; keys made elsewhere sign until they are replaced."""

    backend: Backend = Backend.FILE
    # Otherwise than `backend`, by purpose: access-token, jwt-svid, wit-svid, set, client.
    backends: dict[Purpose, Backend] = {}
    pkcs11: Pkcs11 | None = None
    transit: Transit | None = None

    def of(self, purpose: Purpose) -> Backend:
        """Which backend makes keys for the purpose."""
        return self.backends.get(purpose, self.backend)

    def secrets(self) -> Iterator[tuple[str, Reference]]:
        """Name and place of every secret that is read."""
        if self.pkcs11 is not None:
            yield "keys.pkcs11.pin", self.pkcs11.pin
        if self.transit is not None:
            yield "keys.transit.token", self.transit.token

    @model_validator(mode="after")
    def _check_backends(self) -> Self:
        wanted = {self.backend, *self.backends.values()}
        for backend, section in ((Backend.PKCS11, self.pkcs11), (Backend.TRANSIT, self.transit)):
            if backend in wanted and section is None:
                raise ValueError(
                    f"wants keys in {backend.value}, and [keys.{backend.value}] is not set"
                )
        return self


__all__ = ["Backend", "Keys", "Pkcs11", "SecretReference", "Transit"]
