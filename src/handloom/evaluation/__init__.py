"""Metrics, scores and tables: reads files that the stages before have written."""
