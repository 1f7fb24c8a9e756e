"""Studies and how they go on: definitions, trials, proposals, moves between databases."""
