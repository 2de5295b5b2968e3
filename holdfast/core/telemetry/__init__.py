"""What a running process says of itself: metrics, logs and traces, each in a module of its own."""
