"""The authorization server as it is served: endpoints for programs, pages for people."""
