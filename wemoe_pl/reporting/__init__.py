"""Present the outcome of runs: results, tables, figures, pages and dashboards."""
