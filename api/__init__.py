"""The REST API over `tuner.studies`, and the dashboard."""

from tuner.processors import take_one_thread

take_one_thread()  # here, since all of the server's programs load NumPy with what they import
