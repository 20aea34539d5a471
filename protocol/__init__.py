"""The language of the swarm: messages, artifacts, subjects, codec and errors. Pure types, no I/O."""
