"""``python -m penstock.demo``."""

import sys

from penstock.demo.main import main

if __name__ == "__main__":
    sys.exit(main())
