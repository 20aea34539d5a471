"""One module per verb, named like it, with its click command as `command`."""
