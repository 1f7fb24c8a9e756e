"""Storage: the study database, its tables and migrations, files of trials, API keys."""
