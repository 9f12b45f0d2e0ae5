"""Scores as the papers print them: overlap metrics, HD95, aggregates, comparisons and figures."""
