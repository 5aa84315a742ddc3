"""What happens before the server: what the machine has. Standard library and settings only."""
