"""Where people are known: OpenID providers."""
