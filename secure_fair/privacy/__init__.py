"""The gate: it decides what is opened, to whom and with how much noise, and keeps count of what that adds up to."""
