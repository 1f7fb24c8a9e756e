"""The REST API over `tuner.studies`, and the dashboard."""
