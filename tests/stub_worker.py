"""A worker's own process, with the stub trainer: `python tests/stub_worker.py ADDRESS NAME FOLDER`. A test may kill it.

It works for a server if the address is one's, else for a database.
"""

import sys
from pathlib import Path

from stub_study import STUB, deaf

from tuner import trainer
from tuner.client import Client
from tuner.storage.database import Database
from tuner.workers import publishing, watch
from tuner.workers.broker import DatabaseBroker
from tuner.workers.distant import ServerBroker
from tuner.workers.worker import Worker

if __name__ == "__main__":
    address, name, folder = sys.argv[1:]
    trainer.COMMAND = (sys.executable, str(STUB))
    publishing.PUBLISH_SECONDS = 0.0
    watch.BEAT_SECONDS = 0.1
    far = address.startswith("http")
    broker = ServerBroker(Client(address), name) if far else DatabaseBroker(Database(address), name)
    with Worker(broker, Path(folder), deaf) as worker:
        worker.serve()
