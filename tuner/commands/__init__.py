"""The command line: a module a group of commands, their options, and what they print."""
