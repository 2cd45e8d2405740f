"""Wiring of escalation, its channels, and break-glass: a part of `compose_watching.py`.

`Escalating` is made after what it listens to, started before the first action, and stopped after
the last. Nothing of it is on the path of an action but whether break-glass is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import structlog

from midflight.adapters.notify.email import EmailChannel
from midflight.adapters.notify.opsgenie import OpsgenieChannel
from midflight.adapters.notify.pagerduty import PagerDutyChannel
from midflight.adapters.notify.posting import Poster
from midflight.adapters.notify.slack import SlackChannel
from midflight.adapters.notify.slack_replies import SlackReplies
from midflight.adapters.notify.webhook import WebhookChannel
from midflight.apps.settings import Settings
from midflight.apps.settings_escalation import (
    ChannelSection,
    EmailSection,
    OpsgenieSection,
    PagerDutySection,
    SlackSection,
    WebhookSection,
)
from midflight.apps.settings_values import looks_secret
from midflight.domain.errors import MidflightError
from midflight.domain.notice import Contact, Notice, NoticeKind
from midflight.services.break_glass import BreakGlassDesk, GlassRules
from midflight.services.escalation import Escalation
from midflight.services.escalation_items import Answering, EscalationItems
from midflight.services.escalation_pacing import Pace
from midflight.services.escalation_sources import EscalationSources
from midflight.services.escalation_telling import EscalationTelling
from midflight.services.ports.notify import Channel
from midflight.services.pressing import Pressing

if TYPE_CHECKING:
    from midflight.apps.compose import Plane
    from midflight.services.ports.clock import Clock

TICK_S = 5.0
"""How often it is looked who is to be told, when nothing stirs."""
SETTLE_S = 0.2
"""What stirs within so many seconds is told together."""
LAST_RECORDS = 1_000
"""Records in which a start looks for findings that the last process did not tell of."""
_KEY = "midflight:escalation"
_BOOT = Path("/proc/sys/kernel/random/boot_id")

log = structlog.get_logger(__name__)


class Escalating:
    """Escalation and break-glass of one plane."""

    def __init__(self, plane: Plane) -> None:
        """Wire it; nothing is started."""
        settings, made = plane.settings, plane.parts
        contacts = contacts_of(settings)
        self.channels = channels_of(settings, clock=plane.clock)
        self.escalation = Escalation(
            store=made.store,
            recorder=plane.ledger,
            clock=plane.clock,
            telemetry=plane.telemetry,
            contacts=contacts,
            default=settings.escalation.default,
        )
        may = {name: answering(settings, name) for name in settings.channels}
        self.items = EscalationItems(
            shows=plane.approval_desk,
            clock=plane.clock,
            channels=may,
            is_secret=lambda name, text: looks_secret(text, named=name),
            link=_links(settings),
        )
        self.pressing = Pressing(
            desk=plane.approval_desk,
            escalation=self.escalation,
            used=made.store,
            clock=plane.clock,
            channels=may,
        )
        self.replies = SlackReplies(
            {
                name: (section.url.read, _poster(name, section))
                for name, section in settings.channels.items()
                if isinstance(section, SlackSection)
            }
        )
        self.telling = EscalationTelling(
            self.escalation,
            contacts=contacts,
            channels=self.channels,
            recorder=plane.ledger,
            clock=plane.clock,
            telemetry=plane.telemetry,
            item=self.items.item,
            pace=Pace(
                per_minute=settings.escalation.per_minute,
                group_s=settings.escalation.group,
                repeat_s=settings.escalation.repeat,
            ),
        )
        self.sources = EscalationSources(
            self.escalation,
            store=made.store,
            clock=plane.clock,
            interruption=plane.interruption,
            workload=plane.inventory.current,
            stuck=lambda: plane.broker.stuck,
        )
        default = settings.escalation.default
        self.glass = BreakGlassDesk(
            store=made.store,
            recorder=plane.ledger,
            clock=plane.clock,
            escalation=self.escalation,
            interruption=plane.interruption,
            workload=plane.inventory.current,
            groups=settings.approvals.groups,
            rules=GlassRules(
                max_s=settings.break_glass.max,
                four_eyes=settings.break_glass.four_eyes,
                unreviewed=settings.break_glass.unreviewed,
                review_within=settings.break_glass.review_within,
            ),
            boot=boot_id(),
            alarmed=(default,) if default else (),
        )
        self._sealer, self._ledger = plane.sealer, plane.ledger
        plane.approvals.on_filed(self.sources.approval_filed)
        plane.approvals.on_settled(self.sources.approval_settled)
        plane.approvals.break_with(self.glass)
        plane.watching.detection.respond_with(self.sources.found)
        plane.watching.responses.on_beyond(self.sources.beyond)
        self._interruption = plane.interruption
        self._ticking = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start it, after the interruption and before the first action; stop it after the last."""
        key = await self._sealer.derive(_KEY, purpose="tickets")
        self.items.key = self.pressing.key = key
        self._interruption.on_revoked(self.glass.revoked)
        self._interruption.on_revoked(self.sources.revoked)
        await self.glass.start()
        await self.sources.settle()
        last = await self._ledger.tail(LAST_RECORDS)
        await self.sources.start([each.record for each in last if each.record is not None])
        await self.telling.start()
        working = asyncio.ensure_future(self._work())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await self.telling.close()
            with contextlib.suppress(MidflightError):  # what was not written is found again
                await self.escalation.write()
                await self.glass.sweep()

    async def tick(self) -> None:
        """Look what there is, and tell what is due."""
        await self._look(self.telling.tick)

    async def _look(self, tell: Callable[[], Awaitable[None]]) -> None:
        async with self._ticking:
            self.escalation.stirred.clear()
            await self.sources.look()
            await tell()

    async def sweep(self) -> None:
        """Every few seconds: end what is over, forget what ended long ago."""
        await self.glass.sweep()
        await self.escalation.prune()

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self.escalation.stirred.wait()
            await asyncio.sleep(SETTLE_S)
            try:
                # Begun and not waited for: what is found meanwhile is told meanwhile.
                await self._look(self.telling.begin)
            except MidflightError as error:
                log.warning("escalation_held_up", why=error.message)
            except Exception as error:  # noqa: BLE001 -- a bug in one tick must not end telling for good
                log.warning("escalation_held_up", why=type(error).__name__)


def contacts_of(settings: Settings) -> dict[str, Contact]:
    """The contacts of the settings by name."""
    return {
        name: Contact(
            name=name,
            channels=section.channels,
            every=section.every,
            next=section.next,
            answer_within=section.answer_within,
        )
        for name, section in settings.contacts.items()
    }


def answering(settings: Settings, channel: str) -> Answering:
    """What the settings let a channel do."""
    hook = settings.hooks.get(channel)
    can_press = hook is not None and hook.kind in ("slack", "webhook")
    return Answering(
        may_answer=can_press and hook is not None and hook.may_answer,
        may_acknowledge=can_press,
        arguments=settings.channels[channel].arguments,
    )


def channels_of(settings: Settings, *, clock: Clock) -> Mapping[str, Channel]:
    """The channels of the settings by name. Nothing is reached, and no secret is read."""
    source = f"midflight {settings.identity.trust_domain}"
    return {
        name: _channel(name, section, clock=clock, source=source)
        for name, section in settings.channels.items()
    }


def boot_id() -> str:
    """Which start of the machine this is; empty where the kernel does not say."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _tls(section: ChannelSection) -> ssl.SSLContext | None:
    return None if section.ca is None else ssl.create_default_context(cafile=str(section.ca))


def _poster(name: str, section: ChannelSection) -> Poster:
    return Poster(name, tls=_tls(section))


def _channel(name: str, section: ChannelSection, *, clock: Clock, source: str) -> Channel:
    poster = _poster(name, section)
    match section:
        case WebhookSection(url=url, key=key, previous_key=previous):
            keys = {f"channels.{name}.key ({key})": key.read}
            if previous is not None:
                keys[f"channels.{name}.previous_key ({previous})"] = previous.read
            return WebhookChannel(name, url=lambda: url, keys=keys, poster=poster, clock=clock)
        case SlackSection(url=url):
            return SlackChannel(name, url=url.read, poster=poster)
        case PagerDutySection(url=url, key=key):
            return PagerDutyChannel(name, url=url, key=key.read, poster=poster, source=source)
        case OpsgenieSection(url=url, key=key):
            return OpsgenieChannel(name, url=url, key=key.read, poster=poster, source=source)
        case EmailSection():
            return EmailChannel(
                name,
                host=section.host,
                port=section.port,
                encryption=section.tls,
                sender=section.sender,
                recipients=section.recipients,
                username=section.username,
                password=None if section.password is None else section.password.read,
                tls=_tls(section),
            )
        case _:
            assert_never(section)


def _links(settings: Settings) -> Callable[[Notice], str]:
    base = settings.escalation.link
    if base is None and settings.approvals.page:
        base = f"{settings.public_url}/approve"

    def link(notice: Notice) -> str:
        if base is None or notice.kind is not NoticeKind.APPROVAL:
            return ""
        return f"{base.rstrip('/')}/{notice.subject}"

    return link


__all__ = [
    "LAST_RECORDS",
    "SETTLE_S",
    "TICK_S",
    "Escalating",
    "answering",
    "boot_id",
    "channels_of",
    "contacts_of",
]
