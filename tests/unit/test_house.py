"""Rules of the house that no linter knows: what may stand in the repository, and in what form."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "midflight"

# Made by tools, each with a rule in .gitignore.
MADE = {
    ".git", ".venv", ".tools", ".cache", ".hypothesis", ".pytest_cache", ".ruff_cache",
    ".import_linter_cache", "__pycache__", "node_modules", "dist", "results",
}  # fmt: skip

# Put together here, so that this file does not say what it forbids.
INDEX_HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "yarn" + "pkg.com",
    "crates" + ".io",
]
LEFT_OVER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
# Names of benchmarks, and what stands in them and nowhere else: no word of everyday English.
BENCHMARK_WORDS = [
    "agentdojo", "taubench", "tau-bench", "tau_bench", "bfcl", "injecagent", "agentdyn",
    "injection_task", "user_task", "important_instructions", "<information>",
    "bluesparrow", "emma.johnson", "mark.black", "GorillaFileSystem", "TwitterAPI",
    "get_most_recent_transactions", "send_direct_message", "exchange_delivered_order_items",
    "modify_pending_order", "return_delivered_order_items", "get_received_emails",
    "search_contacts_by_name", "schedule_transaction", "update_scheduled_transaction",
    "reserve_hotel", "get_webpage", "post_webpage", "invite_user_to_slack",
    "cancel_calendar_event", "add_calendar_event_participants", "update_reservation_flights",
    "transfer_to_human_agents", "displayCarStatus", "get_user_id_from_username",
]  # fmt: skip
MACHINE_PATHS = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"]


def texts(*, but: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of every file of the repository that is text."""
    for path in sorted(ROOT.rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if not path.is_file() or MADE.intersection(path.parts) or name == but:
            continue
        try:
            yield name, path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def modules() -> list[Path]:
    """Every module of the package that is imported by name; Alembic executes its own."""
    scripts = SOURCE / "adapters" / "store" / "migrations"
    return [path for path in sorted(SOURCE.rglob("*.py")) if scripts not in path.parents]


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def exported(tree: ast.Module) -> list[str] | None:
    """The names in a module's `__all__`, or None if it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def definitions(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


# What stands in the repository


def test_no_file_names_a_package_index() -> None:
    # Whoever installs chooses the index; a lock file must not send them elsewhere.
    found = [(name, host) for name, text in texts() for host in INDEX_HOSTS if host in text]
    assert found == []


def test_nothing_is_left_for_later() -> None:
    locks = {"tests/conformance/package-lock.json"}  # hashes may spell anything
    found = [name for name, text in texts() if LEFT_OVER.search(text) and name not in locks]
    assert found == []


def test_no_file_names_a_path_of_one_machine() -> None:
    found = [(name, path) for name, text in texts() for path in MACHINE_PATHS if path in text]
    assert found == []


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert importlib.import_module("midflight").__version__ == project["version"]


# Of benchmarks: names of tools, tasks and people that no general rule would spell. Parted, so that
# this file does not hold them either.
BENCHMARK_WORDS = [
    "update_scheduled" + "_transaction", "get_most_recent" + "_transactions", "get_ib" + "an",
    "search_calendar" + "_events", "get_unread" + "_emails", "post_web" + "page",
    "invite_user_to" + "_slack", "read_channel" + "_messages", "reserve_ho" + "tel",
    "exchange_delivered_order" + "_items", "update_reservation" + "_flights", "Gor" + "illa",
    "injection" + "_task_", "user" + "_task_", "blue" + "sparrow", "mark." + "black",
    "US1330000001212" + "12121212", "tau_" + "retail", "bfc" + "l", "multi_turn" + "_base",
]  # fmt: skip


def test_nothing_that_decides_knows_a_benchmark() -> None:
    # Only the code that makes a benchmark's cases may name what is in it.
    generator = SOURCE / "apps" / "redteam" / "agentdojo"
    kinds = {".py", ".cedar", ".json", ".toml"}
    found = [
        (path.relative_to(SOURCE).as_posix(), word)
        for path in sorted(SOURCE.rglob("*"))
        if path.suffix in kinds and generator not in path.parents
        for word in BENCHMARK_WORDS
        if word.lower() in path.read_text().lower()
    ]
    assert found == []


def test_no_rule_knows_what_it_is_measured_with() -> None:
    # Rules that name a benchmark's tools or people would be measured on what they were told.
    measures = {"apps/redteam", "apps/cli/redteam.py"}
    found = [
        (name, word)
        for path in sorted(SOURCE.rglob("*"))
        if path.is_file() and path.suffix in {".py", ".cedar", ".md", ".toml", ".json"}
        if not (name := path.relative_to(SOURCE).as_posix()).startswith(tuple(measures))
        for word in BENCHMARK_WORDS
        if word.lower() in path.read_text("utf-8").lower()
    ]
    assert found == []


# Modules


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_module_says_what_it_is_and_what_is_public(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "no docstring"
    public = [node for node in definitions(tree.body) if not node.name.startswith("_")]
    names = exported(tree)
    is_program = path.stem == "__main__" or 'if __name__ == "__main__":' in path.read_text()
    if not is_program and (public or path.stem != "__init__"):
        assert names is not None, "no __all__"
    assert names is None or names == list(dict.fromkeys(names)), "a name stands twice"
    for node in public:
        assert ast.get_docstring(node), f"{node.name} has no docstring"
        if isinstance(node, ast.ClassDef):
            for method in definitions(node.body):
                has_words = method.name.startswith("_") or ast.get_docstring(method)
                overridden = any("override" in ast.unparse(d) for d in method.decorator_list)
                assert has_words or overridden, f"{node.name}.{method.name} has no docstring"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_what_a_module_exports_is_there(path: Path) -> None:
    if path.stem == "__main__":
        return
    module = importlib.import_module(name_of(path))
    missing = [name for name in getattr(module, "__all__", []) if not hasattr(module, name)]
    assert missing == []


def test_imports_run_one_way() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_only_composition_constructs_adapters() -> None:
    allowed = ("apps/compose", "testing", "adapters/")
    found = [
        name
        for path in modules()
        if not (name := path.relative_to(SOURCE).as_posix()).startswith(allowed)
        and "midflight.adapters" in path.read_text()
    ]
    assert found == []


# Dependencies


PINNED = re.compile(r"^([a-z0-9._-]+)(?:\[[a-z0-9,]+\])?==(\S+)", re.MULTILINE)
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def pinned(name: str) -> dict[str, str]:
    return dict(PINNED.findall((ROOT / "requirements" / name).read_text()))


def wanted(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=; ]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_a_hash(lock: Path) -> None:
    text = lock.read_text()
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)
    packages = [block for block in blocks if PINNED.match(block)]
    assert packages
    assert [block.split()[0] for block in packages if "--hash=sha256:" not in block] == []
    assert not re.search(r"^\s*(-|\w+\s*@)(?!-hash)", text.replace("    --hash", ""), re.MULTILINE)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, dev = pinned("runtime.txt"), pinned("dev.txt")
    assert wanted(settings["project"]["dependencies"]) <= runtime.keys()
    groups = settings["dependency-groups"].values()
    assert {name for group in groups for name in wanted(group)} <= dev.keys()
    # Tests run on what is shipped.
    assert runtime.items() <= dev.items()


def test_the_npm_lock_has_hashes_and_no_addresses() -> None:
    lock = json.loads((ROOT / "tests" / "conformance" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name


# Commands and tests


def test_every_command_of_the_makefile_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"^\.PHONY: (\S+)", makefile, re.MULTILINE):
        assert re.search(rf"^{name}:.*## \S", makefile, re.MULTILINE), name


def test_tests_live_in_rooms_and_their_names_are_told_apart() -> None:
    rooms = {
        "attacks",
        "conformance",
        "contracts",
        "functional",
        "fuzz",
        "policies",
        "properties",
        "unit",
    }
    paths = [p for p in (ROOT / "tests").rglob("test_*.py") if not MADE.intersection(p.parts)]
    assert {path.relative_to(ROOT / "tests").parts[0] for path in paths} <= rooms
    assert [
        p for p in (ROOT / "tests").rglob("__init__.py") if not MADE.intersection(p.parts)
    ] == []


def sleeps(node: ast.AST) -> Iterator[int]:
    """Lines that sleep, but for `sleep(0)` and for peers that go on for ever at a pace."""
    if isinstance(node, ast.While) and ast.unparse(node.test) == "True":
        return
    is_sleep = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("sleep")
    if is_sleep and [ast.unparse(argument) for argument in node.args] != ["0"]:
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from sleeps(child)


def test_no_test_waits_for_the_clock() -> None:
    # asyncio.sleep(0) lets others run; anything longer is a guess about how fast a machine is.
    found = [
        f"{path.name}:{line}"
        for path in (ROOT / "tests").rglob("test_*.py")
        if not MADE.intersection(path.parts)
        for line in sleeps(ast.parse(path.read_text()))
    ]
    assert found == []
