"""What people build into their own agents. It needs nothing but Python's own library."""
