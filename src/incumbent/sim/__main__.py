import sys

from incumbent.sim.command import main

if __name__ == "__main__":
    sys.exit(main())
