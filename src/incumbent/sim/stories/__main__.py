import sys

from incumbent.sim.stories.command import main

if __name__ == "__main__":
    sys.exit(main())
