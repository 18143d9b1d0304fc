"""What `import incumbent` costs over a bare interpreter, what its first use costs on top, and what a command does.

Each sample starts two interpreters, one bare and one that imports, and takes the difference, so that a machine that
slows down in the middle slows both. Samples may be slightly negative where the difference is nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.report import case, parser, show  # noqa: E402  - the path comes first

BUDGET_MS = 60.0
CASES = {
    "import incumbent": "import incumbent",
    "import incumbent; incumbent.connect": "import incumbent; incumbent.connect",
    "import asyncio": "import asyncio",
    "incumbent --help": "from incumbent.cli import main; main(['--help'])",
    # All that a voter imports, and then it says that it has no name.
    "incumbent serve": "from incumbent.cli import main; main(['serve'])",
    "incumbent leader local://…": "from incumbent.cli import main; main(['leader', 'local://{directory}', 'e'])",
}


def run_ms(code: str) -> float:
    """From starting an interpreter to its end."""
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {code}"
    started = time.perf_counter_ns()
    subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True)
    return (time.perf_counter_ns() - started) / 1e6


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("-n", type=int, default=20, help="samples for each case (default 20)")
    options = arguments.parse_args()
    cases = []
    with TemporaryDirectory() as directory:
        for name, template in CASES.items():
            code = template.replace("{directory}", directory)
            run_ms(code)  # once for the bytecode
            samples = [run_ms(code) - run_ms("pass") for _ in range(options.n)]
            more = {"budget_ms": BUDGET_MS} if name == "import incumbent" else {}
            cases.append(case(name, samples, **more))
    show("import_time", cases, as_json=options.json)


if __name__ == "__main__":
    main()
