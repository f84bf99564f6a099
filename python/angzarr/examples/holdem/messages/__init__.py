"""Commands and events, one module per aggregate. Players and tables go by their names."""
