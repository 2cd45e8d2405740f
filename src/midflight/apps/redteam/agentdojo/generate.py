"""Makes the cases: the benchmark's tasks, executed on its own environments, without a model.

Runs in an interpreter that has the benchmark. What a model would have called is the benchmark's
ground truth, repaired where that is wrong; what an attacker wrote is its own attack's text. The
time stands still, so the same versions make the same bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime as dt
import importlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from midflight.apps.redteam.agentdojo.facts import facts_of
from midflight.apps.redteam.agentdojo.kinds import KINDS, SUITES
from midflight.apps.redteam.agentdojo.play import USER, Play, calls_of, trace_of
from midflight.apps.redteam.agentdojo.repairs import REPAIRS, Repair

VERSION = "v1.2.2"
FIRST = "v1"
ADDRESSEE = "gpt-4o-2024-05-13"
"""The model that the attack's text addresses by name; none is run."""
NOW = dt.datetime(2024, 5, 15, 12, 0, 0)  # noqa: DTZ001 -- naive, as all times of the benchmark are
Case = dict[str, Any]


class Suite:
    """One suite of the benchmark, with its attack."""

    def __init__(self, name: str, *, attack: str, as_shipped: bool) -> None:
        """`name` and `attack` as the benchmark spells them."""
        load = importlib.import_module("agentdojo.task_suite.load_suites")
        attacks = importlib.import_module("agentdojo.attacks")
        execution = importlib.import_module("agentdojo.agent_pipeline.tool_execution")
        pipeline = importlib.import_module("agentdojo.agent_pipeline.ground_truth_pipeline")
        functions = importlib.import_module("agentdojo.functions_runtime")
        self.name = name
        self._call = functions.FunctionCall
        self._text = execution.tool_result_to_str
        self._suite = load.get_suite(VERSION, name)
        self._first = load.get_suite(FIRST, name)
        self._runtime = functions.FunctionsRuntime(self._suite.tools)
        nobody = pipeline.GroundTruthPipeline(None)
        nobody.name = ADDRESSEE
        self._attack = attacks.load_attack(attack, self._suite, nobody)
        self._as_shipped = as_shipped
        self._facts = facts_of(name, self._environment({}))

    def tools(self) -> list[dict[str, Any]]:
        """The manifest, shaped as MCP lists tools."""
        return [
            {
                "name": tool.name,
                "description": tool.description,
                "inputSchema": tool.parameters.model_json_schema(),
            }
            for tool in self._suite.tools
        ]

    def cases(self) -> Iterator[tuple[str, Case]]:
        """Every case, with its kind."""
        users = list(self._suite.user_tasks.values())
        injections = list(self._suite.injection_tasks.values())
        for user in users:
            yield "benign", self._benign(user)
        for injection in injections:
            alone = self._alone(injection)
            if alone["steps"]:
                yield "injection_only", alone
        for user in users:
            if self._vectors(user):
                for injection in injections:
                    yield from self._pair(user, injection)

    # Inside

    def _vectors(self, user: Any) -> list[str]:
        try:
            return self._attack.get_injection_candidates(user)
        except ValueError:
            return []  # it reads nothing that an attacker could have written

    def _repair(self, injection: Any) -> Repair | None:
        return None if self._as_shipped else REPAIRS.get((self.name, injection.ID))

    def _environment(self, vectors: dict[str, str]) -> Any:
        return self._suite.load_and_inject_default_environment(vectors)

    def _play(self, environment: Any, words: dict[str, str]) -> Play:
        return Play(environment, self._runtime, text=self._text, marks=tuple(words.values()))

    def _benign(self, user: Any) -> Case:
        play = self._play(user.init_environment(self._environment({})), {})
        play.play(calls_of(user, play.environment), USER)
        return {
            "id": f"{KINDS['benign']}-{self.name}-{user.ID}",
            "suite": self.name,
            "version": VERSION,
            "user_task": user.ID,
            "injection_task": None,
            "prompt": user.PROMPT,
            "difficulty": str(user.DIFFICULTY),
            "injectable_vectors": self._vectors(user),
            "steps": play.steps,
            "env_facts": self._facts,
            "final_output": user.GROUND_TRUTH_OUTPUT,
            "utility": self._useful(user, play),
        }

    def _alone(self, injection: Any) -> Case:
        play = self._play(self._environment({}), {})
        play.inject(injection, self._repair(injection))
        return {
            "id": f"{KINDS['injection_only']}-{self.name}-{injection.ID}",
            "suite": self.name,
            "version": VERSION,
            "in_v1": injection.ID in self._first.injection_tasks,
            "user_task": None,
            "injection_task": injection.ID,
            "injection_goal": injection.GOAL,
            **self._repaired(injection),
            "steps": play.steps,
            "env_facts": self._facts,
            "attack_succeeds": self._succeeds(injection, play),
        }

    def _pair(self, user: Any, injection: Any) -> Iterator[tuple[str, Case]]:
        words = self._attack.attack(user, injection)
        poisoned = self._environment(words)
        for kind in ("benign_poisoned", "attack", "attack_interleaved"):
            play = self._play(user.init_environment(copy.deepcopy(poisoned)), words)
            calls = calls_of(user, play.environment)
            succeeds = False
            if kind == "attack":
                play.play(calls, USER)
                play.inject(injection, self._repair(injection))
                succeeds = self._succeeds(injection, play)
            elif kind == "benign_poisoned":
                play.play(calls, USER)
            else:
                succeeds = self._interleave(play, calls, injection)
            yield (
                kind,
                {
                    "id": f"{KINDS[kind]}-{self.name}-{user.ID}-{injection.ID}",
                    "suite": self.name,
                    "version": VERSION,
                    "in_v1": user.ID in self._first.user_tasks
                    and injection.ID in self._first.injection_tasks,
                    "user_task": user.ID,
                    "injection_task": injection.ID,
                    "injection_goal": injection.GOAL,
                    "prompt": user.PROMPT,
                    "attack": self._attack.name,
                    "vectors": list(words),
                    **self._repaired(injection),
                    "steps": play.steps,
                    "env_facts": self._facts,
                    "utility": self._useful(user, play),
                    "attack_check_official": self._succeeds(injection, play),
                    "attack_succeeds": succeeds,
                },
            )

    def _interleave(self, play: Play, calls: list[Any], injection: Any) -> bool:
        """The injected calls come as soon as the agent has read the words; whether it worked."""
        for index, call in enumerate(calls):
            play.call(call, USER)
            if play.steps[-1]["poisoned"] or index == len(calls) - 1:
                play.inject(injection, self._repair(injection))
                succeeds = self._succeeds(injection, play)
                play.play(calls[index + 1 :], USER)
                return succeeds
        return False

    def _repaired(self, injection: Any) -> Case:
        repair = self._repair(injection)
        return {} if repair is None else {"repair": f"{repair.why}: {repair.what}"}

    def _useful(self, user: Any, play: Play) -> bool:
        return self._checked("user", user, play)

    def _succeeds(self, injection: Any, play: Play) -> bool:
        return self._checked("injection", injection, play)

    def _checked(self, kind: str, task: Any, play: Play) -> bool:
        by_trace, by_state = {
            "user": ("utility_from_traces", "utility"),
            "injection": ("security_from_traces", "security"),
        }[kind]
        said = (task.GROUND_TRUTH_OUTPUT, play.before, play.environment)
        trace = trace_of(play.steps, self._call)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # some of its checks print
                good = getattr(task, by_trace)(*said, trace)
                return bool(getattr(task, by_state)(*said) if good is None else good)
        except Exception:  # noqa: BLE001 -- a check that fails on a state it did not expect is a no
            return False


class _StillModule:
    """Stands in for the `datetime` module: its clock shows `NOW`, its values are true ones."""

    class _Still:
        @staticmethod
        def now() -> dt.datetime:
            return NOW

        def __call__(self, *parts: Any) -> dt.datetime:
            return dt.datetime(*parts)  # noqa: DTZ001 -- as above

        def __getattr__(self, name: str) -> Any:
            return getattr(dt.datetime, name)

    datetime = _Still()

    def __getattr__(self, name: str) -> Any:
        return getattr(dt, name)


def stop_time() -> None:
    """Let the benchmark's clock stand at `NOW`, for its tools stamp what they make."""
    for name in ("email_client", "cloud_drive_client", "calendar_client"):
        module: Any = importlib.import_module(f"agentdojo.default_suites.v1.tools.{name}")
        module.datetime = _StillModule()


def read_faster() -> None:
    """Let the benchmark read its environments with the compiled YAML reader, where there is one.

    It reads one for every case; the reader in Python takes ten times as long for the same values.
    """
    yaml: Any = importlib.import_module("yaml")
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def write(
    folder: Path, suites: list[str], *, attack: str, as_shipped: bool, progress: TextIO
) -> None:
    """Write `KIND.jsonl` and `tools.json` to the folder, and to `progress` how far it is."""
    stop_time()
    read_faster()
    made = 0
    manifest: dict[str, Any] = {}
    with contextlib.ExitStack() as files:
        out = {
            kind: files.enter_context((folder / f"{kind}.jsonl").open("w", encoding="utf-8"))
            for kind in KINDS
        }
        for name in suites:
            suite = Suite(name, attack=attack, as_shipped=as_shipped)
            manifest[name] = suite.tools()
            for kind, case in suite.cases():
                json.dump(case, out[kind], ensure_ascii=False)
                out[kind].write("\n")
                made += 1
                if made % 25 == 0:
                    progress.write(json.dumps({"suite": name, "made": made}) + "\n")
                    progress.flush()
    text = json.dumps(manifest, ensure_ascii=False, indent=1)
    (folder / "tools.json").write_text(text + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Parse the driver's arguments and write."""
    parser = argparse.ArgumentParser(prog="generate")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suite", action="append", choices=SUITES)
    parser.add_argument("--attack", required=True)
    parser.add_argument("--as-shipped", action="store_true")
    given = parser.parse_args(arguments)
    write(
        given.folder,
        given.suite or list(SUITES),
        attack=given.attack,
        as_shipped=given.as_shipped,
        progress=sys.stdout,
    )


__all__ = ["Suite", "main", "read_faster", "stop_time", "write"]
