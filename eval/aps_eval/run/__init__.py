"""Making rows: the grid, matched budgets, and every answer that is not there yet."""
