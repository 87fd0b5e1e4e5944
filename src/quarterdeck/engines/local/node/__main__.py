"""`python -m quarterdeck.engines.local.node --home H`."""

import sys

from quarterdeck.engines.local.node.main import main

if __name__ == "__main__":
    sys.exit(main())
