"""What finished trials tell: fronts, tables, tests of differences, plots."""
