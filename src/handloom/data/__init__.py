"""Data files that ship with the package; each has a card beside it that states its origin and licence."""
