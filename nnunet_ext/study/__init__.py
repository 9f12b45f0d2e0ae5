"""Several trainers at equal steps, folds and seeds: one table, and rows that others can put beside theirs."""
