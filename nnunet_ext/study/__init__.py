"""Several trainers at equal steps or time, folds and seeds: one table, and rows that others can put beside theirs."""
