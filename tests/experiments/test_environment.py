"""What a result may depend on besides its configuration. Oracle: git itself, in a repository made for it."""

import shutil
import subprocess
from pathlib import Path

from holoprop.experiments import environment


def _git(folder: Path, *arguments: str) -> str:
    by = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *by, *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_the_commit_is_that_of_tracked_code_and_says_if_it_has_changed(tmp_path: Path) -> None:
    code = Path(shutil.copy(environment.__file__, tmp_path))
    _git(tmp_path, "init", "--quiet")
    # There, but not tracked: a package that is installed into a folder of some other repository.
    assert environment.commit(tmp_path) is None
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "--message", "x")
    head = _git(tmp_path, "rev-parse", "--short=12", "HEAD").strip()
    assert environment.commit(tmp_path) == head
    code.write_text("changed")
    assert environment.commit(tmp_path) == f"{head}-dirty"


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.commit() is None
