"""Rendered demo data in the data sets' own layouts; nothing outside this package knows that the demo exists."""
