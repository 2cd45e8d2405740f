"""The command line: verbs for people and scripts. It calls the control API and prints answers."""
