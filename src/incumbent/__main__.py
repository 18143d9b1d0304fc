"""`python -m incumbent` is the command line."""

from incumbent.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
