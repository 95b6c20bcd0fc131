"""Pictures of results; they read files only. Drawn without pyplot, so nothing global changes and no display is used."""
