"""The kit of a deployment: a folder for each party with the scenario, its commands in order, and files for services."""
