"""The technician's bench: finding, identifying, reading and proving devices. Works through a running field half, or
opens the line itself."""
