"""Running an evaluation: the grid, matched budgets, and the missing answers."""
