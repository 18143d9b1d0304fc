"""The examples on the first page run as they are pasted, but for the directory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
DIRECTORY = "local:///tmp/app"


@pytest.mark.slow
def test_the_examples_of_the_readme_lead_one_after_the_other(tmp_path: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    tokens: list[int] = []
    for number, example in enumerate(examples):
        assert DIRECTORY in example
        script = tmp_path / f"example{number}.py"
        script.write_text(example.replace(DIRECTORY, f"local://{tmp_path}/app"))
        with subprocess.Popen(
            [sys.executable, "-u", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
            finally:
                process.kill()
        assert said.startswith("leading; "), said
        tokens.append(int(said.split()[-1]))
    assert tokens[0] < tokens[1]
