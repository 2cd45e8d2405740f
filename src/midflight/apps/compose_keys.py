"""Wiring of signing keys: which backends hold them, and where the rings are."""

from __future__ import annotations

import ssl
from pathlib import Path

from midflight.adapters.keys.file_signer import FileKeySource
from midflight.adapters.keys.jws_mint import JwsMint
from midflight.adapters.keys.pkcs11_keys import Pkcs11KeySource
from midflight.adapters.keys.ring_files import RingFiles
from midflight.adapters.keys.transit_keys import TransitKeySource
from midflight.apps.settings_keys import Backend, Keys
from midflight.services.key_rings import KeyRings
from midflight.services.ports.clock import Clock
from midflight.services.ports.key_rings import KeySource
from midflight.services.ports.keys import Purpose, TokenSigner


def key_rings(settings: Keys, directory: Path, clock: Clock) -> KeyRings:
    """The rings of a deployment; nothing is opened before `KeyRings.start`.

    Args:
        settings: which backends there are.
        directory: of the key files.
        clock: for overlaps.
    """
    sources: dict[str, KeySource] = {Backend.FILE.value: FileKeySource()}
    if settings.pkcs11 is not None:
        module = settings.pkcs11
        sources[Backend.PKCS11.value] = Pkcs11KeySource(
            module=module.module, token=module.token, pin=module.pin.read
        )
    if settings.transit is not None:
        service = settings.transit
        sources[Backend.TRANSIT.value] = TransitKeySource(
            url=service.url,
            token=service.token.read,
            mount=service.mount,
            prefix=service.prefix,
            namespace=service.namespace,
            tls=None if service.ca is None else ssl.create_default_context(cafile=str(service.ca)),
        )
    return KeyRings(
        store=RingFiles(directory),
        sources=sources,
        backends={purpose: settings.of(purpose).value for purpose in Purpose},
        clock=clock,
    )


def mint(rings: KeyRings, purpose: Purpose) -> TokenSigner:
    """A mint for one purpose, whose ring will be made. To be called before `KeyRings.start`."""
    rings.want(purpose)
    return JwsMint(rings, purpose)


__all__ = ["key_rings", "mint"]
