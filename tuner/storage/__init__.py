"""What is kept where: the study database, its tables and migrations, files of trials, API keys."""
