"""The verbs over HTTP, beside health and metrics: one thread with a loop and connections of its own."""
