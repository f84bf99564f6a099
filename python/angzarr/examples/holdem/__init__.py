"""Poker hands as event streams: pokerkit has the rules, angzarr the history."""
