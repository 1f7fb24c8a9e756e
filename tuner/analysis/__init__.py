"""Analysis of finished trials: fronts, tables, tests of differences, plots."""
