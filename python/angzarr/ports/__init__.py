"""Ports: Protocols that coordinators use and adapters implement."""
