"""Kill, fill the disk and start twice, ten times as often as the tests do.

    python benchmarks/soak.py                       # 200 kills of each program, about two hours
    python benchmarks/soak.py --kills 20 train rank

Each program is compared, file by file and bit by bit but for the clock, with a run that nobody
disturbed. The first difference ends it with exit code 1, and the folders are kept to be looked at.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("programs", nargs="*", default=list(faults.PROGRAMS), metavar="PROGRAM")
    parser.add_argument("--kills", type=int, default=200, help="of each program")
    parser.add_argument("--pairs", type=int, default=100, help="double starts of each program")
    parser.add_argument("--every", type=int, default=1, help="a full disk from each such step on")
    parser.add_argument("--seed", type=int, default=1, help="of the steps that are hit")
    given = parser.parse_args()
    if unknown := [name for name in given.programs if name not in faults.PROGRAMS]:
        parser.error(f"no program {', '.join(unknown)}: there are {', '.join(faults.PROGRAMS)}")
    plan = {
        "kills": (given.kills, given.seed),
        "full": (given.every,),
        "pairs": (given.pairs, given.seed),
    }
    for program in given.programs:
        for scenario, numbers in plan.items():
            if not numbers[0]:
                continue
            root, start = Path(tempfile.mkdtemp(prefix="soak-")), time.monotonic()
            try:
                said = faults.serve(scenario, program, root, *numbers)
            except AssertionError as error:
                sys.exit(f"{error}\nsee {root}")
            print(f"{said}: no difference ({time.monotonic() - start:.0f} s)", flush=True)
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
