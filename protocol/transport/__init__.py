"""How messages travel: one small contract, JetStream and memory behind it."""
