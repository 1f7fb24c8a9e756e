"""Programs that make the README's figures: one command each. Not installed, not part of the tests' time."""
