"""Wiring of the backends of credentials that ask others: a part of `compose_broker.py`.

PostgreSQL and sealed secrets are in `compose_broker.py` itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from midflight.adapters.credentials.aws import AwsBackend, read_aws
from midflight.adapters.credentials.client_keys import own_token
from midflight.adapters.credentials.dpop_proofs import DpopSigner
from midflight.adapters.credentials.github_app import GitHubAppBackend
from midflight.adapters.credentials.oauth import OAuthBackend, SubjectToken
from midflight.adapters.credentials.openbao import OpenBaoBackend
from midflight.adapters.credentials.sigv4 import SigV4Signer
from midflight.adapters.credentials.ssh import SshBackend
from midflight.domain.errors import Misconfigured
from midflight.domain.lease import Credential, Placement, Secret
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import CredentialBackend
from midflight.services.ports.injection import RequestSigner
from midflight.services.ports.keys import Signer
from midflight.services.ports.logins import Logins
from midflight.services.ports.secret_reader import BackendMaker, Setup


def backend_makers(
    *,
    client_signer: Signer | None = None,
    subject_token: SubjectToken | None = None,
    issuer: str = "",
    logins: Logins | None = None,
) -> Mapping[str, BackendMaker]:
    """What makes a backend, by the kind that operators write.

    Args:
        client_signer: Midflight's key as a client of authorization servers (purpose `client`),
            for credentials that name no key of their own.
        subject_token: says who a lease's workload is, to those that exchange tokens.
        issuer: under which that key is published, for those that know Midflight by it.
        logins: keeps what people's logins at authorization servers gave.
    """

    def openbao(setup: Setup) -> CredentialBackend:
        own = None
        if client_signer is not None and issuer:
            own = own_token(client_signer, issuer=issuer, clock=setup.clock)
        return OpenBaoBackend(
            setup.credential,
            references=setup.secrets,
            clock=setup.clock,
            installation=setup.installation,
            own_token=own,
        )

    def aws(setup: Setup) -> CredentialBackend:
        return AwsBackend(setup.credential, references=setup.secrets, clock=setup.clock)

    def oauth(setup: Setup) -> CredentialBackend:
        return OAuthBackend(
            setup.credential,
            references=setup.secrets,
            clock=setup.clock,
            signer=client_signer,
            subject_token=subject_token,
            logins=logins,
        )

    def github_app(setup: Setup) -> CredentialBackend:
        # The App's own key, never Midflight's: GitHub knows no other.
        return GitHubAppBackend(setup.credential, references=setup.secrets, clock=setup.clock)

    def ssh(setup: Setup) -> CredentialBackend:
        return SshBackend(setup.credential, references=setup.secrets, clock=setup.clock)

    return {"aws": aws, "github_app": github_app, "oauth": oauth, "openbao": openbao, "ssh": ssh}


class RequestSigners:
    """Makes what signs a lease's requests: `Signers` of `services/injection.py`."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    def __call__(
        self, credential: Credential, placement: Placement, secret: Secret
    ) -> RequestSigner:
        """The signer of one lease for one placement.

        Raises:
            Misconfigured: the placement signs nothing, or the credential is not made for it.
        """
        if placement is Placement.DPOP:
            return DpopSigner.of(secret, clock=self._clock)
        if placement is not Placement.SIGV4 or credential.backend != "aws":
            raise Misconfigured(
                f"Credential {credential.name} cannot be placed with {placement.value}.",
                hint="sigv4 is for credentials of the backend aws, dpop for those of oauth.",
            )
        settings = read_aws(credential)
        if not settings.service:
            raise Misconfigured(
                f"Credential {credential.name} does not say which service of AWS it is for.",
                hint="Set service, such as s3 or sqs.",
            )
        return SigV4Signer.of(secret, scope=f"{settings.region}/{settings.service}")


__all__ = ["RequestSigners", "backend_makers"]
