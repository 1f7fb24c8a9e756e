"""Cost of starting: seconds and memory of each program's imports, beside one that imports everything at once.

    python -m benchmarks.import_time --repeats 5

Prints one JSON object: medians of processes of their own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

PROGRAMS = {
    "python": "pass",
    "tuner --help": "import tuner.commands.app",
    "tuner show": "import tuner.commands.app, tuner.studies.study, tuner.commands.render",
    "worker": "import tuner.workers.worker",
    "worker that asks gp-map": "import tuner.workers.worker, tuner.studies.optuna_bridge, tuner.samplers.gp_mcmc",
    "api": "import api.app",
    "trainer": "import trainers.runs",
    "naive: all of it": "import tuner.commands.app, tuner.workers.worker, optuna, scipy, torch, botorch, fastapi, plotly",
}
MEASURE = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"


def measured(code: str, repeats: int) -> dict[str, float] | None:
    """Seconds and megabytes; none where a package is missing."""
    taken, megabytes = [], 0
    for _ in range(repeats):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", f"{code}; {MEASURE}"], capture_output=True, text=True)
        taken.append(time.perf_counter() - started)
        if done.returncode:
            return None
        megabytes = int(done.stdout)
    return {"seconds": round(statistics.median(taken), 3), "megabytes": megabytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    found = {name: measured(code, arguments.repeats) for name, code in PROGRAMS.items()}
    print(json.dumps({"cores": os.cpu_count(), "python": sys.version.split()[0], **found}))


if __name__ == "__main__":
    main()
