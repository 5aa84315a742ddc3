"""What happens before the server: what the machine has, what speaks on it, and what that needs."""
