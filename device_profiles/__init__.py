"""What devices are, as data: one TOML file a device under its family, found by gateway.site.library. No code."""
