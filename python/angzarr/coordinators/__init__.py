"""The heart: commands, facts, queries and live streams over ports, bytes in and bytes out."""
