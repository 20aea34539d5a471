"""Real servers as children of this process: started, watched, and never left behind."""
