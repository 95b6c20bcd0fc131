"""Pictures of results. Drawn without pyplot, so nothing global changes and no display is used."""
