"""``python -m benchmarks``."""

import signal
import sys

from benchmarks.cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that children are ended.
    sys.exit(main())
