"""What the README's figures come from: one command each. Not installed, not part of the tests' time."""
