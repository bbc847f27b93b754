"""Everything that speaks SQL: one module for each aggregate, functions that take a connection first."""
