"""Real guests for the tests: what is installed, how a guest is started, and how it is captured."""
