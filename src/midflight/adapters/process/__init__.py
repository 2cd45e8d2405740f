"""What this process asks of the kernel for itself."""
