"""Polls the transmitters that hand out events by poll (RFC 8936), each in a loop of its own.

What was taken is acknowledged with the next poll, which follows at once; what could not be made
durable is not, and comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from midflight.domain.errors import MidflightError
from midflight.domain.security_event import SetRefused
from midflight.domain.value import Value
from midflight.services.ports.ssf_delivery import Polls
from midflight.services.ssf_receiving import Receiving

log = structlog.get_logger(__name__)

MAX_PAUSE = 32
"""How many times its interval a transmitter that fails is left alone at most."""
MAX_ROUNDS = 20
"""Polls in a row: a transmitter that always has more is asked for it after a pause."""


class PollState(Value):
    """How the polls of one transmitter go: `problem` is empty while they work."""

    problem: str = ""
    failures: int = 0


class Poller:
    """See the module."""

    def __init__(self, *, receiving: Receiving, sources: Mapping[str, tuple[Polls, float]]) -> None:
        """`sources`: what polls, and every how many seconds, by name of the transmitter."""
        self._receiving = receiving
        self._sources = sources
        self._tasks: list[asyncio.Task[None]] = []
        self.states: dict[str, PollState] = {name: PollState() for name in sources}

    def start(self) -> None:
        """Begin to poll."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._run(name, polls, interval), name=f"ssf poll {name}")
            for name, (polls, interval) in self._sources.items()
        ]

    async def close(self) -> None:
        """Stop. What was not acknowledged comes again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def once(self, name: str, polls: Polls) -> int:
        """Take what is there now, in at most `MAX_ROUNDS`; how many SETs were taken.

        The last poll acknowledges what was taken, and what it answers comes again.

        Raises:
            MidflightError: the transmitter does not answer, or something could not be made durable.
        """
        acks: list[str] = []
        errors: dict[str, SetRefused] = {}
        taken = 0
        for _ in range(MAX_ROUNDS):
            sets, more = await polls.poll(acks=acks, errors=errors)
            acks, errors = [], {}
            stopped: MidflightError | None = None
            for jti, text in sets.items():
                try:
                    await self._receiving.take(name, text, jti=jti)
                except SetRefused as refused:
                    log.warning("ssf_set_refused", receiver=name, why=refused.message)
                    errors[jti] = refused
                except MidflightError as error:
                    # Later ones must not overtake it.
                    stopped = error
                    break
                else:
                    acks.append(jti)
            taken += len(acks)
            if stopped is not None:
                if acks or errors:
                    await polls.poll(acks=acks, errors=errors)
                raise stopped
            if not acks and not errors and not (more and sets):
                return taken
        # What this answers is not looked at, and comes again.
        await polls.poll(acks=acks, errors=errors)
        return taken

    async def _run(self, name: str, polls: Polls, interval: float) -> None:
        while True:
            state = self.states[name]
            try:
                await self.once(name, polls)
            except MidflightError as error:
                state = PollState(problem=error.message, failures=state.failures + 1)
                log.warning("ssf_poll_failed", receiver=name, why=error.message)
            except Exception as error:  # noqa: BLE001 -- a bug must not end the polls for good
                state = PollState(problem=type(error).__name__, failures=state.failures + 1)
                log.warning("ssf_poll_failed", receiver=name, why=state.problem)
            else:
                state = PollState()
            self.states[name] = state
            await asyncio.sleep(interval * min(2 ** min(state.failures, 10), MAX_PAUSE))


__all__ = ["MAX_PAUSE", "MAX_ROUNDS", "PollState", "Poller"]
