"""``python -m benchmarks.child WORKLOAD PEER``: one peer that measures when told, by lines of JSON in and out."""

import ctypes
import json
import os
import signal
import sys
import traceback

from benchmarks.peers import LeftOutError
from benchmarks.runner import EndOfMeasurement, Record, serve
from benchmarks.workloads import find

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """However the parent ends: a process that is stopped would not notice."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve the process at the other end of standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children.
    _die_with_parent()
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Whatever a library prints is no answer.

    def talk(answer: Record) -> Record:
        print(json.dumps(answer), file=channel, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EndOfMeasurement
        command: Record = json.loads(line)
        return command

    workload, peer = sys.argv[1:]
    try:
        serve(find(workload), peer, talk)
    except EndOfMeasurement:
        return
    except LeftOutError as word:
        talk({"left_out": str(word)})
    except Exception as error:
        traceback.print_exc()
        last = str(error).strip().splitlines() or [""]
        talk({"left_out": f"{peer} is left out of {workload}: {type(error).__name__}: {last[-1]}"})


if __name__ == "__main__":
    main()
