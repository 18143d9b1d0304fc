"""``python -m incumbent.sim.stories``: play stories, show what differs, or write it down."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from incumbent.errors import InvalidInput
from incumbent.sim.stories.runner import difference, retell

STORIES: Final = Path("tests/stories")


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 when every story is told as it stands there (or was rewritten), 1 when not, 2 when there are none."""
    parser = argparse.ArgumentParser(prog="python -m incumbent.sim.stories", description=__doc__)
    parser.add_argument("--rewrite", action="store_true", help="write today's trace into the files")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help=f"default: {STORIES}/*.story")
    options = parser.parse_args(arguments)
    files: list[Path] = options.files or sorted(STORIES.glob("*.story"))
    if not files:
        sys.stderr.write(f"no stories in {STORIES}: name files, or go to the repository's root\n")
        return 2
    failed = sum(not _play(path, rewrite=options.rewrite) for path in files)
    sys.stdout.write(f"{len(files)} stories, {failed} not as expected\n")
    return 1 if failed else 0


def _play(path: Path, *, rewrite: bool) -> bool:
    """Whether the story is fine, or is now."""
    try:
        text = path.read_text(encoding="utf-8")
        if rewrite:
            told = retell(str(path), text)
            if told != text:
                path.write_text(told, encoding="utf-8")
                sys.stdout.write(f"rewritten: {path}\n")
            return True
        found = difference(str(path), text)
    except InvalidInput as error:
        sys.stdout.write(f"{error}\n")
        return False
    except Exception as error:
        where = getattr(error, "__notes__", [])
        sys.stdout.write("\n".join([*where, f"{type(error).__name__}: {error}"]) + "\n")
        return False
    sys.stdout.write(found)
    return not found
