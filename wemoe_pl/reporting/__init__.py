"""The outcome of a run is presented here: results, tables, pictures, pages and dashboards."""
