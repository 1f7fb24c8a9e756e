"""The versions of our schema, oldest first."""
