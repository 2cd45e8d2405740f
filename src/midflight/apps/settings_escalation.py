"""`[channels]`, `[contacts]`, `[hooks]`, `[escalation]`, `[break_glass]`: telling people.

A destination stands here and nowhere else. Secrets are references; the address of a Slack webhook
is one, too, since whoever knows it can post.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from midflight.apps.settings_secrets import End, Secret, check_previous
from midflight.apps.settings_sections import ExistingFile, HttpUrl, Seconds, Section

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
_CONTACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._ -]{0,63}\Z")
# Addresses as mail servers take them without quoting (RFC 5321 §4.1.2 Dot-string).
_MAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\Z"
)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})\Z|[0-9a-f:]{2,45}\Z")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _name(value: str) -> str:
    if _NAME.match(value) is None:
        raise ValueError("is not 1 to 32 lower-case letters, digits and dashes")
    return value


def _contact(value: str) -> str:
    if _CONTACT.match(value) is None:
        raise ValueError("is not the name of a contact")
    return value


def _mail(value: str) -> str:
    if len(value) > 254 or _MAIL.match(value) is None:
        raise ValueError("is not an e-mail address")
    return value


def _host(value: str) -> str:
    if _HOST.match(value) is None:
        raise ValueError("is not the name of a host")
    return value


def _protected(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("is http and not loopback; use https")
    return value


Name = Annotated[str, AfterValidator(_name)]
ContactName = Annotated[str, AfterValidator(_contact)]
MailHost = Annotated[str, AfterValidator(_host)]
Mail = Annotated[str, AfterValidator(_mail)]
ProtectedUrl = Annotated[HttpUrl, AfterValidator(_protected)]


class WebhookSection(Section):
    """A signed webhook (Standard Webhooks)."""

    kind: Literal["webhook"]
    url: ProtectedUrl
    # whsec_… (HMAC-SHA256) or whsk_… (Ed25519).
    key: Secret
    # The one before: signed with as well, for as long as receivers may still verify by it.
    previous_key: Secret | None = None
    ca: ExistingFile | None = None
    # Whether messages show the judged arguments of an action that waits for approval.
    arguments: bool = False


class SlackSection(Section):
    """A Slack incoming webhook, or what takes the same form."""

    kind: Literal["slack"]
    url: Secret
    ca: ExistingFile | None = None
    arguments: bool = False


class EmailSection(Section):
    """Mail by SMTP."""

    kind: Literal["email"]
    host: MailHost
    port: int = Field(default=587, ge=1, le=65_535)
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    sender: Mail
    recipients: tuple[Mail, ...] = Field(min_length=1, max_length=20)
    username: str = Field(default="", max_length=256)
    password: Secret | None = None
    ca: ExistingFile | None = None
    arguments: bool = False

    @model_validator(mode="after")
    def _check_protection(self) -> Self:
        if bool(self.username) != (self.password is not None):
            raise ValueError("needs username and password, or neither")
        if self.tls == "none" and (self.host not in _LOOPBACK or self.password is not None):
            raise ValueError('tls = "none" is for a server on this machine, without a password')
        return self


class PagerDutySection(Section):
    """PagerDuty, Events API v2."""

    kind: Literal["pagerduty"]
    url: ProtectedUrl = "https://events.pagerduty.com/v2/enqueue"
    # The integration key.
    key: Secret
    ca: ExistingFile | None = None
    arguments: bool = False


class OpsgenieSection(Section):
    """Opsgenie, or Jira Service Management: the Alert API."""

    kind: Literal["opsgenie"]
    url: ProtectedUrl = "https://api.opsgenie.com/v2/alerts"
    key: Secret
    ca: ExistingFile | None = None
    arguments: bool = False


ChannelSection: TypeAlias = Annotated[
    WebhookSection | SlackSection | EmailSection | PagerDutySection | OpsgenieSection,
    Field(discriminator="kind"),
]


class ContactSection(Section):
    """`[contacts.<name>]`: where an owner, approver or escalation contact of this name is told."""

    # In order: the first that takes a message has told him.
    channels: tuple[Name, ...] = Field(default=(), max_length=8)
    # Tell on all of them.
    every: bool = False
    # Who is told when nobody acknowledged within `answer_within`.
    next: str = Field(default="", max_length=64)
    answer_within: Annotated[Seconds, Field(ge=30, le=604_800)] = 900


class HookSection(Section):
    """`[hooks.<channel>]`: what comes back from a channel, at /hooks/<channel> of the gateway."""

    kind: Literal["slack", "webhook", "pagerduty"]
    # Slack: the signing secret. PagerDuty: the subscription's. Webhook: whsec_… or whpk_….
    secret: Secret
    # Webhook: the one before, while its sender changes to the new one, and when it ends.
    previous_secret: Secret | None = None
    previous_until: End | None = None
    # Slack: the workspace that the app is in.
    team: str = Field(default="", pattern=r"^[A-Z0-9]{0,32}$")
    # Whether yes and no are taken. A chat account is a weaker proof than an operator's.
    may_answer: bool = False
    # Who somebody is, by the sender's own id of him. Nobody else is listened to.
    people: dict[str, ContactName] = {}

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.kind == "slack") != bool(self.team):
            raise ValueError("team belongs to kind slack, which needs it")
        if self.kind != "webhook" and self.previous_secret is not None:
            raise ValueError("previous_secret belongs to kind webhook")
        check_previous(self.previous_secret, self.previous_until)
        if self.kind == "pagerduty" and self.may_answer:
            raise ValueError("PagerDuty acknowledges; it does not answer approvals")
        if any(not 0 < len(each) <= 128 or not each.isprintable() for each in self.people):
            raise ValueError("people holds what is no id")
        return self


class EscalationSection(Section):
    """`[escalation]`: how people are told."""

    # Contact of what has no owner that can be reached.
    default: str = Field(default="", max_length=64)
    # Messages to one contact in a minute; what is more comes as a digest.
    per_minute: int = Field(default=6, ge=1, le=60)
    # Seconds between two messages about the same kind of question of one run.
    group: Annotated[Seconds, Field(ge=1, le=3_600)] = 60
    # When the last of all contacts is told again.
    repeat: Annotated[Seconds, Field(ge=300, le=604_800)] = 86_400
    # Where an approval can be looked at; its id is put behind it. Default: the approval page.
    link: ProtectedUrl | None = None


class BreakGlassSection(Section):
    """`[break_glass]`: letting pass, for a time, what people would be asked about."""

    max: Annotated[Seconds, Field(ge=60, le=86_400)] = 3_600
    # Nobody opens it for a workload that he answers for.
    four_eyes: bool = False
    # Openings of one workload that may wait for their review.
    unreviewed: int = Field(default=3, ge=1, le=100)
    # When one that nobody has reviewed is a problem of its own.
    review_within: Annotated[Seconds, Field(ge=3_600, le=7_776_000)] = 259_200


def problems_between(
    channels: dict[str, ChannelSection],
    contacts: dict[str, ContactSection],
    hooks: dict[str, HookSection],
    escalation: EscalationSection,
) -> list[str]:
    """What does not hold between these sections, each as `place: text`."""
    found = [
        f"contacts.{name}.channels: there is no channel {each}"
        for name, contact in contacts.items()
        for each in contact.channels
        if each not in channels
    ]
    found += [
        f"contacts.{name}.next: there is no contact {contact.next}"
        for name, contact in contacts.items()
        if contact.next and contact.next not in contacts
    ]
    for name, hook in hooks.items():
        channel = channels.get(name)
        if channel is None:
            found.append(f"hooks.{name}: there is no channel of this name")
        elif channel.kind != hook.kind:
            found.append(f"hooks.{name}.kind: the channel is of kind {channel.kind}")
    if escalation.default and escalation.default not in contacts:
        found.append(f"escalation.default: there is no contact {escalation.default}")
    return found


__all__ = [
    "BreakGlassSection",
    "ChannelSection",
    "ContactName",
    "ContactSection",
    "EmailSection",
    "EscalationSection",
    "HookSection",
    "Name",
    "OpsgenieSection",
    "PagerDutySection",
    "SlackSection",
    "WebhookSection",
    "problems_between",
]
