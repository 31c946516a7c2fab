"""The field half: owns the buses, judges every reading, fills the spool. It never opens a way to the internet."""
