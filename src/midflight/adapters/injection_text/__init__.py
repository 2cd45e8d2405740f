"""Rules that notice instructions in text, of libraries that do."""
