"""A poker room as event streams: pokerkit has the rules, angzarr the history. Begin at app.py."""
