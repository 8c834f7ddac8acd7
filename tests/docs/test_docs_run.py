"""Every page of the documentation, followed from top to bottom."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import PAGES, ROOT, blocks_of

TYPED = [page for page in PAGES if any(block.is_typed for block in blocks_of(page))]


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def checkout(tmp_path):
    """A place that looks like a checkout, so that outputs go to a temporary directory."""
    for name in ("scenarios", "device_graphs", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def typed(command, where):
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=where,
        env={**os.environ, "PATH": binaries},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_there_are_pages_to_follow():
    assert {"README.md", "docs/tutorial/first-scenario.md"} <= {name_of(page) for page in TYPED}


@pytest.mark.parametrize("page", TYPED, ids=name_of)
def test_page_can_be_followed(page, checkout):
    for block in blocks_of(page):
        if block.title:
            (checkout / block.title).write_text(block.text)
        elif block.language == "python":
            done = typed([sys.executable, "-c", block.text], checkout)
            assert done.returncode == 0, done.stderr
        elif block.language == "sh":
            done = typed(["bash", "-euc", block.text], checkout)
            assert done.returncode == 0, f"{block.text}\n{done.stderr}"
            assert done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_linked_file_is_there(page):
    targets = re.findall(r"\]\(([^)#\s]+?)(?:#[^)]*)?\)", page.read_text())
    generated = {"command-line.md", "scenario-keys.md"}
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert [target for target in missing if Path(target).name not in generated] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_in_blocks_that_are_run(page):
    """A command in an indented block would be followed by nobody."""
    assert re.findall(r"^    (?:flexsim|python) .*$", page.read_text(), re.MULTILINE) == []
