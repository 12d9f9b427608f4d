"""The package's version, which driver and executors have in common."""

VERSION = "0.1.0"
