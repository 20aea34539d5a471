"""The coordinator: decides, appends, and lets effects out. Pure decisions inside, a thin shell around."""
