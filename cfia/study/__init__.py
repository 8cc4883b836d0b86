"""Studies: which systems make which table, what is missing of them, and the tables themselves."""
