"""`python -m tuner.die_with_parent MODULE [ARGUMENT]…`: a program that is told to stop, as by SIGTERM, once its input closes.

A pipe closes even when the process at its other end is killed, so what is started so never outlives who started it.
"""

import os
import runpy
import signal
import sys
import threading


def _stop_with_parent() -> None:
    main = threading.main_thread().ident
    assert main is not None

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock, held here, would abort the interpreter's own end
            pass
        signal.pthread_kill(main, signal.SIGTERM)  # there, so that it interrupts whatever the main thread waits for

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _stop_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
