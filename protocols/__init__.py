"""How to talk to a device: one folder a protocol, each a sans-IO codec and a small driver behind `protocols.api`."""
