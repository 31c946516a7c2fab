"""The running gateway: field half, sending half, center, and what people run."""

VERSION = "0.1.0"
