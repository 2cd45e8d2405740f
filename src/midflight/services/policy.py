"""Policies as operators handle them: load, check, activate, reload, explain.

A set is a directory of Cedar files. It becomes active as a whole or not at all: it is parsed,
validated against every registered tool and held against its own DENY files first; any error leaves
the active set as it is. When tools come or change later, the set is validated again: a tool that a
policy does not fit is held (every call of it is denied) while the plane runs on; a policy that
names a tool that went away rests, and can match nothing else meanwhile.
Parsing and validating happen in a thread. Below: `policy_files.py`, `policy_cases.py`, the ports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from midflight.domain.action import ActionKind
from midflight.domain.decision import Decision
from midflight.domain.errors import LedgerUnavailable, Misconfigured, NotFound
from midflight.domain.identity import Author
from midflight.domain.monitor import Monitor
from midflight.domain.provenance import NO_FLOW
from midflight.domain.question import Question, Target
from midflight.domain.records import Changed, Facts, Observed
from midflight.domain.response_rules import STANDARD, ResponseRules
from midflight.domain.value import JSONObject, Value
from midflight.services.monitor_files import is_declaring
from midflight.services.policy_cases import Broken, read_cases, run_cases
from midflight.services.policy_files import (
    OBSERVE,
    History,
    cedar_files,
    files_of,
    read_sources,
    set_files,
    stamp,
)
from midflight.services.ports.clock import Clock
from midflight.services.ports.policy_sets import (
    PolicyCompiler,
    PolicyProblem,
    PolicySet,
    PolicySwitch,
    Severity,
)
from midflight.services.ports.recorder import Recorder
from midflight.services.response_files import FILE as RESPONSES
from midflight.services.response_files import is_responding

NO_VERSION = "none"


class Report(Value):
    """What `check` found. `version` and `policies` describe the set that was checked."""

    version: str
    policies: int
    cases: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are for people."""
        return not self.errors


class Explanation(Value):
    """A decision derived again from its recorded facts.

    Attributes:
        version: under which it was decided, and under which `then` was derived.
        active: the version that is active now.
        then: what the recorded version says, or None if it cannot be derived again.
        now: what the active set says to the same facts, or None if it cannot be derived.
        note: what stands in the way, or is worth knowing.
    """

    version: str
    active: str
    then: Decision | None
    now: Decision | None
    note: str = ""


class _Candidate(Value):
    """A set that was read and looked at, not yet active."""

    policies: PolicySet
    problems: tuple[PolicyProblem, ...]
    cases: int
    broken: tuple[Broken, ...]

    def errors(self) -> list[str]:
        """What keeps it from being activated: validation, and promises to deny."""
        found = [str(p) for p in self.problems if p.severity is Severity.ERROR]
        return found + [str(b) for b in self.broken if not b.case.allows]

    def warnings(self) -> list[str]:
        """What people should know: dead policies, and promises to allow that are not kept."""
        found = [str(p) for p in self.problems if p.severity is Severity.WARNING]
        return found + [str(b) for b in self.broken if b.case.allows]


class Policies:
    """The active set of one plane and everything that may happen to it."""

    def __init__(
        self,
        *,
        switch: PolicySwitch,
        compiler: PolicyCompiler,
        directory: Path,
        history: Path,
        recorder: Recorder,
        clock: Clock,
        declare: Callable[[Sequence[Monitor]], None] | None = None,
        name: str = "standard",
    ) -> None:
        """`directory` holds the files, `history` the sets that were active.

        `declare` is told the monitors of a set in the very turn in which it becomes active; `name`
        tells records of several sets apart.
        """
        self._declare = declare
        self.name = name
        self._switch = switch
        self._compiler = compiler
        self._directory = directory
        self._history = History(history)
        self._recorder = recorder
        self._clock = clock
        self._respond: list[Callable[[ResponseRules], None]] = []
        self._active: PolicySet | None = None
        self._stamp = ""
        self._inspected = -1
        self._changing = asyncio.Lock()
        self.problems: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Version of the active set; `none` when there is none."""
        return self._switch.version

    def respond_by(self, use: Callable[[ResponseRules], None]) -> None:
        """Tell this the responses of a set, or the usual ones, when it becomes active."""
        self._respond.append(use)

    async def load(self) -> str:
        """Activate what the directory holds when the plane starts, and return its version.

        Records nothing: the ledger starts after this, with the version. A directory without
        policies is no error; everything is denied until there are some.

        Raises:
            Misconfigured: with every problem of the set.
        """
        async with self._changing:
            # The stamp is taken first: what changes while reading is found by the next look.
            seen = await asyncio.to_thread(self._look)
            candidate = await asyncio.to_thread(self._read)
            if candidate is not None:
                _demand_usable(candidate)
                await self._switch_to(candidate)
            self._stamp = seen
            return self.version

    async def activate(self, author: Author, *, if_any: bool = False) -> str:
        """Read the directory and activate the set, on an operator's word; its version.

        With `if_any` a directory that holds none leaves everything as it is.

        Raises:
            Misconfigured: with every problem; the old set stays active.
        """
        async with self._changing:
            seen = await asyncio.to_thread(self._look)
            candidate = await asyncio.to_thread(self._read)
            if candidate is None:
                if if_any:
                    return self.version
                raise _nothing(self._directory)
            _demand_usable(candidate)
            before = self.version
            await self._switch_to(candidate)
            self._stamp = seen
            self._tell(author, before, candidate)
            return self.version

    async def reload_if_changed(self) -> bool:
        """Look whether files or tools have changed, and follow; whether another set is active.

        Never raises for a bad set: the old one stays, `problems` and a record say why.
        """
        async with self._changing:
            seen = await asyncio.to_thread(self._look)
            if seen != self._stamp:
                self._stamp = seen
                before = self.version
                try:
                    candidate = await asyncio.to_thread(self._read)
                    if candidate is None:
                        raise _nothing(self._directory)
                    _demand_usable(candidate)
                except Misconfigured as error:
                    self.problems = error.problems or (error.message,)
                    self._observe("policy.refused", {"problems": list(self.problems[:50])})
                    return False
                await self._switch_to(candidate)
                if self.version != before:
                    author = Author(name="midflight", proof="policy-directory")
                    self._tell(author, before, candidate)
                return self.version != before
            await self._revalidate()
            return False

    async def check(
        self, directory: Path | None = None, targets: Sequence[Target] | None = None
    ) -> Report:
        """Validate a directory and hold it against its ALLOW and DENY files; changes nothing.

        Defaults: the directory of this plane, and the tools that are registered.
        """
        where = self._directory if directory is None else directory
        against = self._switch.targets if targets is None else targets
        return await asyncio.to_thread(check_directory, self._compiler, where, against)

    async def explain(
        self,
        facts: Facts,
        arguments: JSONObject | None,
        *,
        version: str,
        at: float,
        approved: bool = False,
    ) -> Explanation:
        """Derive a decision again from its recorded facts, and say what would be decided now.

        Args:
            facts: as recorded.
            arguments: as unsealed, or None if their key is erased.
            version: the policy version of the record.
            at: Unix seconds of the record.
            approved: whether an approval was used.
        """
        return await asyncio.to_thread(
            self._explain, facts, arguments, version=version, at=at, approved=approved
        )

    # Inside

    def _look(self) -> str:
        # DENY files count, too: a set is activated only together with its promises.
        cases = files_of(self._directory, ".json")
        return stamp([*set_files(self._directory), *cases])

    def _read(self) -> _Candidate | None:
        """Read and look at what the directory holds; None if it holds no policy at all."""
        return _look_at(self._compiler, self._directory, self._switch.targets)

    async def _switch_to(self, candidate: _Candidate) -> None:
        policies = candidate.policies
        # Kept before it decides anything: a record must never name a version nobody has.
        await asyncio.to_thread(self._history.keep, policies.version, policies.sources)
        self._switch.activate(policies)
        if self._declare is not None:
            self._declare(policies.monitors)
        for use in self._respond:
            use(STANDARD if policies.responses is None else policies.responses)
        self._active = policies
        self.problems = ()
        self._inspected = -1
        await self._revalidate()

    async def _revalidate(self) -> None:
        """Hold the tools that a policy does not fit."""
        active = self._active
        while active is not None and self._inspected != self._switch.generation:
            generation, targets = self._switch.generation, self._switch.targets
            problems = await asyncio.to_thread(self._inspect, active, targets)
            if generation != self._switch.generation:
                continue
            self._inspected = generation
            held = {p.tool: str(p) for p in problems if p.tool and p.severity is Severity.ERROR}
            self._switch.hold(held)
            for (upstream, name), why in held.items():
                self._observe("policy.tool_held", {"why": why}, subject=f"{upstream}/{name}")

    def _inspect(self, active: PolicySet, targets: Sequence[Target]) -> Sequence[PolicyProblem]:
        self._history.keep_schemas(targets)
        return self._compiler.inspect(active, targets)

    def _explain(
        self,
        facts: Facts,
        arguments: JSONObject | None,
        *,
        version: str,
        at: float,
        approved: bool,
    ) -> Explanation:
        active = self._active
        unknown = Explanation(version=version, active=self.version, then=None, now=None)
        if facts.workload is None or facts.run is None:
            return _noted(unknown, "It was refused before policy was asked.")
        known, schema = self._schema_of(facts)
        target = Target(
            upstream=facts.upstream,
            name=facts.name,
            pin=facts.pin,
            pin_state=facts.pin_state,
            traits=facts.traits,
            schema=schema,
        )
        question = Question(
            kind=ActionKind(facts.kind),
            workload=facts.workload,
            run=facts.run,
            target=target,
            arguments=arguments or {},
            source=facts.source,
            at=int(at),
            approved=approved,
            flow=facts.flow or NO_FLOW,
        )
        if arguments is None:
            return _noted(unknown, "Its arguments are erased, so it cannot be derived again.")
        if not known:
            # Without the types of its arguments policy would see none of them.
            return _noted(unknown, "The tool's definition of then is not kept any more.")
        note = ""
        then: Decision | None = None
        today, unknown_monitors = _with_monitors(question, active)
        if unknown_monitors:
            note = f"Not declared then, so taken as 0 now: {', '.join(unknown_monitors)}."
        try:
            past = self._compiler.parse(self._history.sources(version))
            if past.version == version:
                then = self._compiler.engine(past, [target]).decide(question)
            else:
                note = "The kept text of that version has been altered."
        except (NotFound, Misconfigured) as error:
            note = error.message
        now = None if active is None else self._compiler.engine(active, [target]).decide(today)
        return Explanation(version=version, active=self.version, then=then, now=now, note=note)

    def _schema_of(self, facts: Facts) -> tuple[bool, JSONObject | None]:
        """Whether the input schema that was judged by is known, and it."""
        if facts.kind != ActionKind.CALL_TOOL.value or facts.pin is None:
            return True, None
        # A tool that was pinned a moment ago is registered, and kept by the next look.
        for target in self._switch.targets:
            if target.pin == facts.pin:
                return True, target.schema
        kept = self._history.schema(facts.pin)
        return kept is not None, kept

    def _tell(self, author: Author, before: str, candidate: _Candidate) -> None:
        self._recorder.append(
            Changed(
                at=self._clock.now(),
                what="policy.activate",
                author=author.name,
                proof=author.proof,
                details={
                    "set": self.name,
                    "version": candidate.policies.version,
                    "before": before,
                    "policies": len(candidate.policies),
                    "warnings": candidate.warnings()[:50],
                },
            )
        )

    def _observe(self, what: str, details: JSONObject, *, subject: str = "") -> None:
        record = Observed(
            at=self._clock.now(),
            what=what,
            subject=subject or str(self._directory.name),
            details=details,
        )
        try:
            self._recorder.append(record)
        except LedgerUnavailable:
            return  # nothing is permitted that has to be recorded, so this may be lost


def check_directory(compiler: PolicyCompiler, directory: Path, targets: Sequence[Target]) -> Report:
    """Read, parse, validate and test a directory of policies. Blocks; never raises for its content.

    In a check a promise to allow counts like one to deny. The set for workloads in mode observe, in
    a folder of its own, is checked along; the version is that of the directory's own set.
    """
    report = _check(compiler, directory, targets)
    apart = directory / OBSERVE
    if not cedar_files(apart):
        return report
    other = _check(compiler, apart, targets)
    return Report(
        version=report.version,
        policies=report.policies + other.policies,
        cases=report.cases + other.cases,
        errors=(*report.errors, *(f"{OBSERVE}/{text}" for text in other.errors)),
        warnings=(*report.warnings, *(f"{OBSERVE}/{text}" for text in other.warnings)),
    )


def _check(compiler: PolicyCompiler, directory: Path, targets: Sequence[Target]) -> Report:
    try:
        candidate = _look_at(compiler, directory, targets)
        if candidate is None:
            raise _nothing(directory)
    except Misconfigured as error:
        errors = error.problems or (error.message,)
        return Report(version=NO_VERSION, policies=0, cases=0, errors=errors, warnings=())
    allows = [str(b) for b in candidate.broken if b.case.allows]
    return Report(
        version=candidate.policies.version,
        policies=len(candidate.policies),
        cases=candidate.cases,
        errors=(*candidate.errors(), *allows),
        warnings=tuple(w for w in candidate.warnings() if w not in allows),
    )


def _look_at(
    compiler: PolicyCompiler, directory: Path, targets: Sequence[Target]
) -> _Candidate | None:
    sources = read_sources(directory)
    if all(is_declaring(source) or is_responding(source) for source in sources):
        return None
    policies = compiler.parse(sources)
    cases = read_cases(directory)
    return _Candidate(
        policies=policies,
        problems=(*compiler.inspect(policies, targets), *_uncounted(directory, policies)),
        cases=len(cases),
        broken=tuple(run_cases(compiler.engine(policies, ()), cases)),
    )


def _uncounted(directory: Path, policies: PolicySet) -> Iterator[PolicyProblem]:
    """Monitors in a set of observers: nobody would advance them, so they would stay at 0.

    And responses, which do nothing there.
    """
    if directory.name == OBSERVE:
        for monitor in policies.monitors:
            text = f"declares the monitor {monitor.name}, and only the set around it is counted for"
            yield PolicyProblem(file="monitors.toml", line=0, policy="", text=text)
        if policies.responses is not None:
            text = "declares responses, and nothing stops a workload that is only observed: what"
            text += " the set around it says is recorded"
            yield PolicyProblem(file=RESPONSES, line=0, policy="", text=text)


def _demand_usable(candidate: _Candidate) -> None:
    errors = candidate.errors()
    if errors:
        raise Misconfigured(
            f"The policies have {len(errors)} problem{'s' if len(errors) > 1 else ''}.",
            errors,
            hint="The set was not activated. `midflight check` shows the same without activating.",
        )


def _nothing(directory: Path) -> Misconfigured:
    return Misconfigured(
        "There are no policies to activate.",
        [f"{directory}: holds no file that ends in .cedar"],
        hint="`midflight init` writes the standard pack.",
    )


def _with_monitors(
    question: Question, policies: PolicySet | None
) -> tuple[Question, tuple[str, ...]]:
    """The question with a value for every monitor of a set, and those that it had none for."""
    known = question.run.monitors
    names = () if policies is None else (monitor.name for monitor in policies.monitors)
    missing = tuple(name for name in names if name not in known)
    if not missing:
        return question, ()
    run = msgspec.structs.replace(question.run, monitors=dict.fromkeys(missing, 0) | known)
    return msgspec.structs.replace(question, run=run), missing


def _noted(explanation: Explanation, note: str) -> Explanation:
    return Explanation(
        version=explanation.version,
        active=explanation.active,
        then=explanation.then,
        now=explanation.now,
        note=note,
    )


__all__ = ["NO_VERSION", "Explanation", "Policies", "Report", "check_directory"]
