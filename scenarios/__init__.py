"""What is run: scenario files, the launcher and the command line."""
