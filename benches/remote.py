"""A server whose only aggregate is elsewhere: its endpoint comes from the configuration."""

from angzarr import App

app = App()
