"""What our server serves in front of the published client's handlers: nothing of its own."""

from angzarr import App

app = App()
