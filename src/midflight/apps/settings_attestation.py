"""`[attestation]`: what is asked about callers besides the kernel."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from midflight.apps.settings_sections import ExistingFile, RelativePath, Seconds, Section

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")


class Docker(Section):
    """`[attestation.docker]`: the Docker or Podman daemon of this machine."""

    socket: RelativePath
    # Variables of containers that become selectors; others may hold secrets.
    env: tuple[str, ...] = ()

    @field_validator("env")
    @classmethod
    def _check_env(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if _VARIABLE_NAME.match(name) is None:
                raise ValueError(f"{name!r} is not the name of an environment variable")
        return value


class K8s(Section):
    """`[attestation.k8s]`: the kubelet of this node."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 10_250
    # PEM file of the authorities that sign the kubelet's certificate.
    ca: ExistingFile | None = None
    # File with the token of a service account that may read `nodes/proxy`.
    token_file: RelativePath | None = None

    @model_validator(mode="after")
    def _tls_or_loopback(self) -> Self:
        # Loopback without TLS is the kubelet's read-only port.
        if self.ca is None and self.host not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("has no ca; a kubelet of another address is asked over TLS only")
        if self.ca is None and self.token_file is not None:
            raise ValueError("has a token_file and no ca; a token is sent over TLS only")
        return self


class X509Pop(Section):
    """`[attestation.x509pop]`: certificates that let their holders in."""

    # PEM file of the authorities.
    ca: ExistingFile


class AttestationSettings(Section):
    """`[attestation]`."""

    # All sources together are waited for this long; what has not answered is left out.
    timeout: Annotated[Seconds, Field(ge=1, le=30)] = 5
    # Bytes above which a program is not hashed.
    hash_limit: Annotated[int, Field(ge=0, le=4_294_967_296)] = 134_217_728
    docker: Docker | None = None
    k8s: K8s | None = None
    x509pop: X509Pop | None = None


__all__ = ["AttestationSettings", "Docker", "K8s", "X509Pop"]
