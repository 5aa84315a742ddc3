"""Between the socket and the app: connections, their limits, and how the server ends."""
