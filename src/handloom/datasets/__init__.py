"""Readers of the data sets in their original layouts, and the typed samples they give."""
