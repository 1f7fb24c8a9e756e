"""`tuner`, and `python -m tuner`. Neither the folder where the user stands nor the command's own holds modules of ours."""

import os
import sys


def main() -> None:
    """Runs a command, once those two folders are off the module path, where they would come before every library."""
    if not sys.flags.safe_path:
        del sys.path[0]
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if len(named) > 1 and "" in named:  # as in `PYTHONPATH=$PYTHONPATH:lib`, and it means the current folder
        kept = [folder for folder in named if folder]
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
        here = os.path.realpath(".")
        if here not in map(os.path.realpath, kept):
            sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != here]
    from tuner import installation
    from tuner.errors import Fault

    try:
        installation.check()
    except Fault as error:
        sys.exit(f"tuner: {error}")
    from tuner.commands.app import main as command

    command()


if __name__ == "__main__":
    main()
